"""A native engine whose transfers leave memory as soon as they can: the smallest window, the smallest segments.

It stands for `_core.Engine` in any test: after each call it writes what took effect to a file, as a block would, tells
the engine where it lies, and seals.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from pyledger import _core
from pyledger.types import TransferFlags


class SealedEngine:
    """The engine's interface, with sealing after each batch.

    Parameters
    ----------
    folder : Path
        For blocks and segments.
    window : int
        Transfers that stay in memory.
    run : int
        Transfers of a segment.
    """

    def __init__(self, folder: Path, window: int = 8, run: int = 4, seed: int = 0, engine: Any = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.engine = _core.Engine() if engine is None else engine
        self.folder = folder
        self.window, self.run = window, run
        self.random = random.Random(seed)
        if engine is None:
            self.engine.open_store(str(folder))
        self.begin_file()

    def begin_file(self) -> None:
        number = len(list(self.folder.glob("*.blocks")))
        self.blocks = self.folder / f"{number}.blocks"
        self.blocks.touch()
        self.file = self.engine.add_block_file(str(self.blocks))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def create_transfers(self, records: Any, signers: Any, signature_ok: Any, first_timestamp: int, **rest: Any) -> Any:
        outcome = self.engine.create_transfers(records, signers, signature_ok, first_timestamp, **rest)
        return self.took_effect(records, first_timestamp, outcome)

    def create_transfers_attested(
        self, records: Any, institution: int, sequence: int, ok: bool, first_timestamp: int, **rest: Any
    ) -> Any:
        outcome = self.engine.create_transfers_attested(records, institution, sequence, ok, first_timestamp, **rest)
        return self.took_effect(records, first_timestamp, outcome)

    def took_effect(self, records: Any, first_timestamp: int, outcome: Any) -> Any:
        codes, effects = outcome
        taken = np.flatnonzero(codes == 0)
        self.write_block(stamped(records, first_timestamp)[taken], effects[taken])
        self.seal_all()
        return outcome

    def write_block(self, records: Any, effects: Any) -> None:
        if len(records) == 0:
            return
        if self.random.random() < 0.05:
            self.begin_file()
        with self.blocks.open("ab") as file:
            file.write(bytes(self.random.randrange(1, 9)))
            records_offset = file.tell()
            file.write(records.tobytes())
            effects_offset = 0
            if not np.array_equal(records["amount"], effects):
                effects_offset = file.tell()
                file.write(effects.tobytes())
        self.engine.add_block(self.file, records_offset, effects_offset, len(records))

    def seal_all(self) -> None:
        while self.engine.seal(self.window, self.run):
            while self.random.random() < 0.7 and self.engine.tidy_store():
                pass


def stamped(records: Any, first_timestamp: int) -> Any:
    """The records with the timestamps of their events, as a block keeps them."""
    records = records.copy()
    times = np.arange(first_timestamp, first_timestamp + len(records), dtype=np.uint64)
    imported = records["flags"] & TransferFlags.IMPORTED != 0
    records["timestamp"] = np.where(imported, records["timestamp"], times)
    return records
