"""The client side of a node's socket: attest batches, hand them in, wait until they are final."""

from __future__ import annotations

import itertools
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pyledger import errors
from pyledger.crypto.keys import SigningKey
from pyledger.errors import AuthorisationError, InputError, LedgerError, StorageError
from pyledger.ledger import signing
from pyledger.ledger.batches import (
    AccountBatch,
    Attest,
    AttestedBatch,
    KeyBatch,
    Submission,
    TransferBatch,
    batch_kind,
    batch_leaf_hashes,
)
from pyledger.ledger.commands import KIND_MANDATE
from pyledger.ledger.genesis import Genesis
from pyledger.node.folder import GENESIS_FILE
from pyledger.node.ingress import SOCKET_NAME
from pyledger.node.submissions import encode_submission
from pyledger.node.wire import (
    ANSWERS,
    Answer,
    Attester,
    Failed,
    FindAttester,
    Finished,
    NextSequence,
    Request,
    Sequence,
    StatusAnswer,
    StatusRequest,
    Submit,
    read_frame,
    write_frame,
)
from pyledger.types import KeyRole

__all__ = ["FinalResult", "NodeClient"]


@dataclass(frozen=True, slots=True)
class FinalResult:
    """What became of a batch; it is final.

    Parameters
    ----------
    height : int
        The final block in which it was executed.
    results : NDArray[uint32], shape (n,)
        A code for each record, 0 = took effect. 2**32 - 1: it did not, and this node did not see why. Key indexes for
        keys.
    """

    height: int
    results: NDArray[np.uint32]


class NodeClient:
    """A connection to the node that runs in a data folder; a context manager. Calls from one thread at a time.

    Parameters
    ----------
    folder : str or Path
        The node's data folder.
    attestation_key : SigningKey, optional
        An Ed25519 key that attests for the institution, of the genesis or registered since (`KeyRole.ATTESTER`), for
        batches without signatures of their own. It stays here.

    Raises
    ------
    StorageError
        If no node answers there.
    AuthorisationError
        If the node knows of no institution that the key attests for.
    """

    def __init__(self, folder: str | Path, attestation_key: SigningKey | None = None) -> None:
        self._folder = Path(folder)
        self._key = attestation_key
        self._numbers = itertools.count(1)
        self._answers: dict[int, Answer] = {}
        try:
            self.genesis = Genesis.read(self._folder / GENESIS_FILE)
        except StorageError as error:
            raise StorageError(f"no node answers here: {error}") from error.__cause__
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(str((self._folder / SOCKET_NAME).absolute()))
        except OSError as error:
            self._connection.close()
            raise StorageError(f"{self._folder}: no node answers here: {error.strerror or error}") from error
        try:
            self._attest = None if attestation_key is None else self._find_attester(attestation_key)
        except BaseException:
            self._connection.close()
            raise

    def register_keys(
        self,
        public_keys: NDArray[np.uint8],
        proofs: NDArray[np.uint8],
        *,
        roles: KeyRole = KeyRole.HOLDER,
        valid_from: int = 0,
    ) -> NDArray[np.uint32]:
        """Register Ed25519 keys of the institution and its customers; returns their key indexes.

        Parameters
        ----------
        public_keys : NDArray[uint8], shape (n, 32)
        proofs : NDArray[uint8], shape (n, 64)
            `pyledger.signing.prove_possession`.
        roles : KeyRole, optional
        valid_from : int, optional
            First height at which they count; that of their block if it is later.
        """
        batch = KeyBatch(public_keys, proofs, self._unsigned(), int(roles), valid_from)
        return self.wait(self.submit(self._attested(batch))).results

    def create_accounts(
        self, accounts: NDArray[Any], *, owners: NDArray[np.uint32] | None = None
    ) -> NDArray[np.uint32]:
        """Open accounts at the institution; returns a `CreateAccountResult` for each.

        Parameters
        ----------
        accounts : NDArray, shape (n,), dtype ACCOUNT
        owners : NDArray[uint32], shape (n,), optional
            Key index of each owner; that of the attestation key by default.
        """
        batch = AccountBatch.of(accounts, owners, self._unsigned())
        return self.wait(self.submit(self._attested(batch))).results

    def post(
        self,
        transfers: NDArray[Any],
        *,
        signers: NDArray[np.uint32] | None = None,
        signatures: NDArray[np.uint8] | None = None,
    ) -> FinalResult:
        """Post transfers, each signed or all attested with the institution's key; returns when they are final."""
        return self.wait(self.submit_transfers(transfers, signers=signers, signatures=signatures))

    def submit_transfers(
        self,
        transfers: NDArray[Any],
        *,
        signers: NDArray[np.uint32] | None = None,
        signatures: NDArray[np.uint8] | None = None,
    ) -> int:
        """Hand in transfers without waiting; gives a number for `wait`."""
        if signers is None and signatures is None:
            return self.submit(self._attested(TransferBatch(transfers, attest=self._unsigned())))
        return self.submit(TransferBatch(transfers, signers, signatures))

    def submit(self, submission: Submission) -> int:
        """Hand in a signed or attested submission without waiting; gives a number for `wait`."""
        return self.submit_bytes(encode_submission(submission))

    def submit_bytes(self, content: bytes) -> int:
        """Hand in an encoded submission without waiting; gives a number for `wait`."""
        return self._send(Submit(next(self._numbers), content))

    def wait(self, number: int) -> FinalResult:
        """Wait until the submission of this number is final.

        Raises
        ------
        InputError, AuthorisationError, SignatureError, StateError
            If it was refused as a whole.
        StorageError
            If the node went away; ask for its transfers after it is back, or hand in the same bytes again.
        """
        answer = self._wait(number)
        assert isinstance(answer, Finished)
        return FinalResult(answer.height, np.frombuffer(answer.results, "<u4"))

    def status(self) -> dict[str, Any]:
        """What `pyledger status` shows."""
        answer = self._wait(self._send(StatusRequest(next(self._numbers))))
        assert isinstance(answer, StatusAnswer)
        return answer.fields

    def attest(self, submission: AttestedBatch, sequence: int) -> Submission:
        """The submission, attested under a sequence with the institution's key."""
        attest = self._unsigned()
        assert self._key is not None
        if isinstance(submission, TransferBatch) and submission.controllers is not None:
            raise InputError("controllers: attest the batch with pyledger.signing, which takes their public keys")
        chain_id, kind = self.genesis.chain_id, batch_kind(submission)
        hashes = batch_leaf_hashes(chain_id, submission)
        signature = signing.sign_batch(self._key, kind, chain_id, attest.institution, sequence, hashes)
        return replace(submission, attest=replace(attest, sequence=sequence, signature=signature))

    def next_sequence(self, kind: int) -> int:
        """Sequence that the institution's next batch of a kind must carry, behind those that wait."""
        return self._next(self._unsigned().institution, kind)

    def next_order(self, key: int) -> int:
        """Sequence that the next order of a key (by index) must carry, behind those that wait."""
        return self._next(key, KIND_MANDATE)

    def _next(self, number: int, kind: int) -> int:
        request = NextSequence(next(self._numbers), number, kind)
        answer = self._wait(self._send(request))
        assert isinstance(answer, Sequence)
        return answer.sequence

    def close(self) -> None:
        """End the connection; what was handed in goes its way."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _find_attester(self, key: SigningKey) -> Attest:
        answer = self._wait(self._send(FindAttester(next(self._numbers), key.public_key)))
        assert isinstance(answer, Attester)
        return Attest(answer.institution, 0, bytes(64), signer=answer.key)

    def _unsigned(self) -> Attest:
        """An attestation to be: says for which institution and with which key."""
        if self._attest is None:
            raise AuthorisationError("expected signers and signatures, or an attestation key")
        return self._attest

    def _attested(self, submission: AttestedBatch) -> Submission:
        return self.attest(submission, self.next_sequence(batch_kind(submission)))

    def _send(self, request: Request) -> int:
        try:
            write_frame(self._connection, request)
        except OSError as error:
            raise StorageError(f"{self._folder}: the node went away: {error.strerror or error}") from error
        return request.number

    def _wait(self, number: int) -> Answer:
        while number not in self._answers:
            try:
                answer = read_frame(self._connection, ANSWERS)
            except OSError as error:
                raise StorageError(f"{self._folder}: the node went away: {error.strerror or error}") from error
            if answer is None:
                raise StorageError(f"{self._folder}: the node went away before it answered")
            self._answers[answer.number] = answer
        answer = self._answers.pop(number)
        if isinstance(answer, Failed):
            raise _error_of(answer)
        return answer


def _error_of(failed: Failed) -> LedgerError:
    kind = getattr(errors, failed.error, None) if failed.error in errors.__all__ else None
    return kind(failed.reason) if kind is not None else LedgerError(failed.reason)
