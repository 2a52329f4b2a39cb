"""Evidence that a node keeps: files that show, to anyone with the validator set, that a validator contradicted itself.

One file for each validator, round and kind, made durable when it is found. `pyledger verify` checks it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pyledger.consensus.evidence import Contradiction, Evidence
from pyledger.errors import StorageError
from pyledger.formats.atomic import make_folder, write_atomic

__all__ = ["Contradictions"]

_FILES_MAX: Final = 1000


class Contradictions:
    """A folder of evidence.

    Parameters
    ----------
    folder : Path
        Made when there is something to keep.

    Notes
    -----
    At most 1,000 files: a validator that contradicts itself in every round proves nothing new, and fills no disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count: int | None = None

    def keep(self, name: str, found: Contradiction, evidence: Evidence) -> Path | None:
        """Make a file durable, and give its path; None if the like is kept already, or there are as many as may be.

        Parameters
        ----------
        name : str
            BIC of the validator.
        found : Contradiction
        evidence : Evidence

        Raises
        ------
        StorageError
            If it can't be written.
        """
        path = self._folder / f"{name}-{found.epoch}-{found.round}-{found.kind}.evidence"
        if path.exists() or self._files_count() >= _FILES_MAX:
            return None
        make_folder(self._folder)
        write_atomic(path, evidence.to_bytes())
        self._count = self._files_count() + 1
        return path

    def _files_count(self) -> int:
        if self._count is None:
            try:
                self._count = sum(1 for _ in self._folder.glob("*.evidence"))
            except OSError as error:
                raise StorageError(f"{self._folder}: {error.strerror}") from error
        return self._count
