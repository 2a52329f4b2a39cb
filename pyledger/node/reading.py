"""The part of `pyledger.Ledger` that answers: balances, histories, transfers, blocks, the change feed, proofs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyledger.consensus.light_client import Segment
from pyledger.crypto.arguments import require_integer, require_number
from pyledger.crypto.keys import SigningKey
from pyledger.errors import InputError, ProofError, StateError
from pyledger.ledger import queries
from pyledger.ledger.blocks import Block, Header
from pyledger.ledger.book import Book
from pyledger.ledger.feed import BlockRows, follow
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.journal import Journal
from pyledger.ledger.parquet import Exported, export_blocks
from pyledger.ledger.proofs import Finality, encode_balance_proof, encode_consistency_proof, encode_receipt
from pyledger.ledger.queries import Balance, Queries, TransferState
from pyledger.ledger.tiles import PublishedLog, publish_log
from pyledger.node.certified import Evidence, decode_payload, evidence_of
from pyledger.node.finality import changes_since, finality_of
from pyledger.types import TransferFlags

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Reading"]


class Reading:
    """Questions about durable blocks and the state after them, for a class that holds both."""

    genesis: Genesis
    _book: Book
    _headers: list[Header]
    _journal: Journal
    _queries: Queries

    @abstractmethod
    def _reading(self) -> AbstractContextManager[None]:
        """Hold writers off."""

    @abstractmethod
    def _reading_linked(self) -> AbstractContextManager[None]:
        """The same, with the state tree and the headers up to the state in memory."""

    @abstractmethod
    def _institution(self, bic: str | None) -> int:
        """Number of an institution."""

    @abstractmethod
    def refresh(self) -> int:
        """Take in the blocks that became durable since."""

    @abstractmethod
    def seal(self) -> Header:
        """Append an empty block."""

    @property
    def height(self) -> int:
        """Height of the last durable block, 0 before the first."""
        return len(self._headers)

    @property
    def final_height(self) -> int:
        """Height of the last final block, 0 before the first: its child is certified in the next round."""
        return next((height for height in range(self.height - 1, 0, -1) if self._child_is_next(height)), 0)

    @property
    def tip(self) -> bytes:
        """Hash of the last durable block; of the genesis before the first."""
        return self._headers[-1].hash if self._headers else self.genesis.hash

    @property
    def keys_count(self) -> int:
        """Number of registered keys; the first ones are the institutions' attestation keys."""
        with self._reading():
            return self._book.keys_count

    @property
    def size_bytes(self) -> int:
        """Bytes of all blocks on disk."""
        return self._journal.size_bytes

    def header(self, height: int) -> Header:
        """Header of the block at a height in [1, `height`]."""
        self._require_height("height", height)
        return self._headers[height - 1]

    def block(self, height: int) -> Block:
        """Block at a height in [1, `height`], read from the journal."""
        self._require_height("height", height)
        return decode_payload(self._journal.read(height))[0]

    def balance(self, account_id: int, *, height: int | None = None, time_ns: int | None = None) -> Balance:
        """Totals of an account: now, or as they were after the block at a height, or at a time.

        Parameters
        ----------
        account_id : int
        height : int, optional
            In [0, `height`].
        time_ns : int, optional
            Nanoseconds since 1970 UTC: after all transfers with timestamps up to it. A pending transfer that expired
            counts until the time of the block that released it.

        Raises
        ------
        InputError
            If the account did not exist (then).
        """
        require_number("account_id", account_id, 128)
        return self._queries.balance(account_id, height, time_ns)

    def account_places(self, account_ids: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Institution and ledger of each account id (dtype U128); NO_KEY and 0 where there is no such account."""
        with self._reading():
            return queries.account_places(self._book, account_ids)

    def resolved(self, transfers: NDArray[Any]) -> NDArray[Any]:
        """Records that took effect, with what posting or voiding ones took over from their pending transfers."""
        resolving = (
            transfers["flags"] & (TransferFlags.POST_PENDING_TRANSFER | TransferFlags.VOID_PENDING_TRANSFER) != 0
        )
        if not resolving.any():
            return transfers
        full = transfers.copy()
        with self._reading():
            found, _ = self._book.engine.lookup_transfers(np.ascontiguousarray(transfers["id"][resolving]))
        full[resolving] = found
        return full

    def accounts(self) -> pa.Table:
        """All accounts in order of creation, with balances, owner key and institution, as an Arrow table."""
        with self._reading():
            return queries.accounts_table(self._book)

    def transfer(self, transfer_id: int) -> TransferState:
        """A transfer that took effect, where it stands and what became of it; InputError if none did with this id."""
        require_number("transfer_id", transfer_id, 128)
        return self._queries.transfer(transfer_id)

    def transfers_by_id(self, transfer_ids: Iterable[int] | NDArray[Any]) -> pa.Table:
        """One row for each id, in order; all but the id is null where no transfer took effect with it.

        Parameters
        ----------
        transfer_ids : iterable of int, or NDArray, shape (n,), dtype U128

        Returns
        -------
        pyarrow.Table
            Columns as `transfers`, then status (NONE, PENDING, POSTED, VOIDED, EXPIRED), resolved_by (id of the
            transfer that posted or voided it) and expired_height.
        """
        return self._queries.transfers_by_id(transfer_ids)

    def transfers(
        self,
        heights: tuple[int, int] | None = None,
        *,
        ledger: int | None = None,
        code: int | None = None,
        institution: str | None = None,
        first_time_ns: int | None = None,
        last_time_ns: int | None = None,
    ) -> pa.RecordBatchReader:
        """Transfers that took effect and that all filters let through, in order, as a stream of Arrow batches.

        Parameters
        ----------
        heights : tuple of (first, last), optional
            Of blocks, both included; all by default.
        ledger, code : int, optional
        institution : str, optional
            BIC of the institution that keeps the debit account or the credit account.
        first_time_ns, last_time_ns : int, optional
            Of timestamps, both included.

        Returns
        -------
        pyarrow.RecordBatchReader
            A batch for each block that has such transfers, read as it is asked for; the columns are those of
            docs/parquet-schema.md. Any reader of `__arrow_c_stream__` takes it whole. pyarrow's own `to_pylist` of a
            timestamp in nanoseconds needs pandas: cast it to int64 first.
        """
        index = None if institution is None else self._institution(institution)
        return self._queries.transfers(heights, ledger, code, index, first_time_ns, last_time_ns)

    def history(
        self,
        account_id: int,
        *,
        first_time_ns: int | None = None,
        last_time_ns: int | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Entries of an account, newest first, each with the account's balances after it.

        Parameters
        ----------
        account_id : int
        first_time_ns, last_time_ns : int, optional
            Of entries, both included.
        limit : int, optional
            The newest so many of them.

        Returns
        -------
        pyarrow.Table
            Columns of `pyledger.ledger.statement.statement_schema`. The time it takes grows with the account's entries
            from now back to the oldest one wanted.

        Raises
        ------
        InputError
            If there is no such account.
        """
        require_number("account_id", account_id, 128)
        return self._queries.history(account_id, first_time_ns, last_time_ns, limit)

    def tail(self, from_height: int = 1, *, wait: float | None = None) -> Iterator[BlockRows]:
        """Follow the ledger: each block from a height on, in order and once, as soon as it is durable.

        To go on after a stop, ask from the height after the last one that was dealt with. In a ledger that is open
        read-only it follows the process that writes.

        Parameters
        ----------
        from_height : int, optional
            From 1; it may not exist yet.
        wait : float, optional
            Seconds to wait for a further block before it ends; 0 gives what is there. Without end by default.

        Yields
        ------
        BlockRows
            Header, and Arrow batches of the accounts, expiries and transfers.
        """
        return follow(self.refresh, self._queries.rows, from_height, wait)

    def export_parquet(
        self,
        folder: str | Path,
        heights: tuple[int, int] | None = None,
        *,
        blocks_per_file: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> Exported:
        """Write blocks as Parquet files (docs/parquet-schema.md); goes on where an earlier call stopped.

        Parameters
        ----------
        folder : str or Path
            New, empty, or of an earlier export of this ledger that began at the same height.
        heights : tuple of (first, last), optional
            Of blocks, both included; all by default.
        blocks_per_file : int, optional
        progress : callable, optional
            Called with the height after each block.

        Raises
        ------
        InputError
            If the folder holds something else.
        StorageError
            If a file can't be written; those that are finished stay.
        """
        wanted = self._queries.heights(heights)
        rows = self._queries.rows
        return export_blocks(Path(folder), self.genesis, self._headers, rows, wanted, blocks_per_file, progress)

    def export_log(
        self,
        folder: str | Path,
        key: SigningKey,
        *,
        origin: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> PublishedLog:
        """Write the history log up to the last final block as a tiled log (docs/history-log.md); goes on where it was.

        Any web server can serve the folder, and any client of C2SP tlog-tiles can check it.

        Parameters
        ----------
        folder : str or Path
            New, empty, or of an earlier export of this ledger with the same origin and key.
        key : SigningKey
            Signs the checkpoint. Use one key for one log only.
        origin : str, optional
            The log's name: where it is served, without the scheme. ``pyledger/`` and the chain id by default.
        progress : callable, optional
            Called with the height after each bundle of blocks.

        Raises
        ------
        InputError
            If the folder holds something else or another log, or the origin has spaces or plus signs.
        SignatureError
            If the folder's checkpoint is not signed by this key.
        StorageError
            If a file can't be written; the checkpoint stays as it was.
        """
        headers, size = self._headers, self.final_height

        def entry(index: int) -> bytes:
            return headers[index].to_bytes()

        name = f"pyledger/{self.genesis.chain_id.hex()}" if origin is None else origin
        return publish_log(Path(folder), self._book.history, size, entry, name, key, progress)

    def prove(self, transfer_id: int, *, trusted_epoch: int = 0) -> bytes:
        """Receipt of a transfer that took effect; `pyledger.verify_receipt` checks it offline.

        If the transfer stands in the newest block, an empty block is appended to make it final.

        Parameters
        ----------
        transfer_id : int
        trusted_epoch : int, optional
            Epoch of the validators that the reader trusts; the genesis' by default. Changes of validators since then
            go with the receipt.

        Raises
        ------
        ProofError
            If no such transfer took effect.
        StateError
            If its block is not final and the ledger is open read-only.
        """
        require_number("transfer_id", transfer_id, 128)
        height, index = self._locate(transfer_id)
        final = self._final(height, trusted_epoch)
        return encode_receipt(self.block(height), final, index, self._book.public_key)

    def prove_balance(self, account_id: int, *, trusted_epoch: int = 0) -> bytes:
        """Proof of what an account holds now, or that there is no such account; `pyledger.verify_balance` checks it.

        It is about the state after the newest block, or after the one before if that is the same. If neither is final,
        an empty block is appended to make it so.

        Parameters
        ----------
        account_id : int
            In [1, 2**128 - 2].
        trusted_epoch : int, optional
            As for `prove`.

        Raises
        ------
        StateError
            If there is no block yet, or no final one with this state and the ledger is open read-only.
        """
        require_integer("account_id", account_id)
        with self._reading_linked():
            height, state_proof = self._book.height, self._book.prove_account(account_id)
        if height == 0:
            raise StateError("the ledger has no block yet, so no state that could be final")
        if height > 1 and self._headers[height - 2].state_root == self._headers[height - 1].state_root:
            height -= 1
        return encode_balance_proof(self._final(height, trusted_epoch), account_id, state_proof)

    def prove_history(self, old_height: int, height: int, *, trusted_epoch: int = 0) -> bytes:
        """Proof that the chain up to one block is the beginning of the chain up to another.

        `pyledger.verify_history` checks it offline. If the other one is the newest block, an empty block is appended to
        make it final.

        Parameters
        ----------
        old_height, height : int
            1 <= old_height <= height <= `Ledger.height`.
        trusted_epoch : int, optional
            As for `prove`.

        Raises
        ------
        StateError
            If there are no such blocks, or the newest one is not final and the ledger is open read-only.
        """
        for name, value in (("old_height", old_height), ("height", height)):
            require_integer(name, value)
        if not 1 <= old_height <= height <= self.height:
            raise StateError(f"expected heights in order in [1, {self.height}], got {old_height} and {height}")
        old, new = self._final(old_height, trusted_epoch), self._final(height, trusted_epoch)
        return encode_consistency_proof(old, new, self._book.history.prove_consistency(old_height, height))

    def changes_of_validators(self, trusted_epoch: int = 0) -> list[Segment]:
        """What shows who took over since an epoch, for `pyledger.trust_after`: a segment for each change.

        Parameters
        ----------
        trusted_epoch : int, optional
            Epoch of the validators that the reader trusts.

        Raises
        ------
        InputError
            If the chain has not come to that epoch.
        """
        epoch = self._book.authority.office.at(self._book.height + 1).epoch
        if not 0 <= trusted_epoch <= epoch:
            raise InputError(f"trusted_epoch: expected 0 to {epoch}, that of the next block, got {trusted_epoch}")
        changes = changes_since(self._headers, self._evidence_at, trusted_epoch, epoch)
        return [Segment(tuple(entries), successors) for entries, successors in changes]

    # Inside ----------------------------------------------------------------------------------------------------------

    def _require_height(self, name: str, height: int) -> None:
        require_integer(name, height)
        if not 1 <= height <= len(self._headers):
            raise StateError(f"{name}: expected a height in [1, {len(self._headers)}], got {height}")

    def _evidence_at(self, height: int) -> Evidence:
        return evidence_of(self._journal.read(height))

    def _child_is_next(self, height: int) -> bool:
        """Whether a block's child is of the next round, so that their certificates make it final."""
        block, child = self._headers[height - 1], self._headers[height]
        return (child.epoch, child.round) == (block.epoch, block.round + 1)

    def _final(self, height: int, trusted_epoch: int = 0) -> Finality:
        if height == self.height and not self._journal.read_only:
            self.seal()
        return finality_of(self._headers, self._evidence_at, height, trusted_epoch)

    def _locate(self, transfer_id: int) -> tuple[int, int]:
        """Height and index of a transfer that took effect."""
        place = self._queries.place(transfer_id)
        if place is None:
            raise ProofError(f"transfer {transfer_id}: did not take effect in this ledger")
        return place
