"""Follows a chain from a trusted validator set by headers and certificates alone: no blocks, no state.

What it is given comes in segments: headers in a row, each with its certificate, within one epoch. All certificates of
a segment are checked in one equation (`bls.verify_chain`). A segment may begin anywhere above the last final header,
so two headers are enough to reach any height of the epoch in office, and a few for each change of validators.

Whoever follows from an old set trusts that its validators have not sold their keys since: start from a set that was in
office within the time for which they are bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import msgspec

from pyledger.consensus.application import Header
from pyledger.consensus.certificates import ZERO_HASH
from pyledger.consensus.messages import statement_of
from pyledger.consensus.wire import read_canonical
from pyledger.crypto import bls
from pyledger.errors import InputError, ProofError, SignatureError

__all__ = ["LightClient", "Segment"]

_SEGMENT_BYTES_MAX: Final = 1 << 26


class Segment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Headers in a row with their certificates.

    Parameters
    ----------
    entries : tuple of (bytes, bytes)
        Header and `bls.QuorumCertificate` bytes, heights rising by one. At least two: what the last ones certify in
        successive rounds is final, and everything below it.
    next_validators : bytes
        `bls.ValidatorSet` bytes of the set that takes over, if one of the headers ends the epoch; else empty.
    """

    entries: tuple[tuple[bytes, bytes], ...]
    next_validators: Annotated[bytes, msgspec.Meta(max_length=1 << 20)] = b""

    def to_bytes(self) -> bytes:
        """Give its one encoding."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Segment:
        """Read a segment; InputError unless the bytes are exactly one, in its one encoding."""
        segment: Segment = read_canonical(data, msgspec.msgpack.Decoder(cls), _SEGMENT_BYTES_MAX, "segment")
        return segment


class LightClient:
    """What somebody knows of a chain who trusts a validator set.

    Parameters
    ----------
    chain_id : bytes
    validators : ValidatorSet
        In office in `epoch`.
    final_hash : bytes
        A header known to be final; the genesis hash to begin with.
    read_header : callable
        Decodes a header (`pyledger.ledger.blocks.Header.from_bytes`).
    epoch, height : int
        Of that header; an epoch's own validators count from the header after its predecessor's last.
    threads : int
        Threads for certificates; 0 for all CPUs.

    Attributes
    ----------
    epoch, height, hash
        Of the last final header, or of the epoch that begins after it.
    validators : ValidatorSet
        In office there. With it, `verify_receipt` checks receipts of that epoch.
    """

    def __init__(
        self,
        chain_id: bytes,
        validators: bls.ValidatorSet,
        final_hash: bytes,
        read_header: Callable[[bytes], Header],
        *,
        epoch: int = 0,
        height: int = 0,
        threads: int = 0,
    ) -> None:
        self.chain_id: Final = chain_id
        self.validators = validators
        self.hash = final_hash
        self.epoch = epoch
        self.height = height
        self._read_header = read_header
        self._threads = threads

    def advance(self, segment: Segment) -> list[Header]:
        """Check a segment and go on to its last final header.

        Returns
        -------
        list of Header
            Those that are final now, rising.

        Raises
        ------
        ProofError
            If it does not show what it should; nothing is taken from it then.
        """
        headers = self._read(segment)
        self._check_links(headers)
        self._check_certificates(headers, segment)
        final = _final(headers)
        last = final[-1]
        ends = last.next_validators_hash != last.validators_hash
        if bool(segment.next_validators) != ends:
            raise ProofError(f"height {last.height}: expected the next validators where an epoch ends, and only there")
        validators = self._next_validators(last, segment.next_validators) if ends else self.validators
        self.epoch, self.validators = last.epoch + ends, validators
        self.height, self.hash = last.height, last.hash
        return final

    def _read(self, segment: Segment) -> list[Header]:
        if len(segment.entries) < 2:
            raise ProofError("segment: expected two headers or more")
        try:
            return [self._read_header(header) for header, _ in segment.entries]
        except InputError as error:
            raise ProofError(f"segment: {error}") from None

    def _check_links(self, headers: list[Header]) -> None:
        """Each header stands on the one before, in this epoch, with closing ones behind its end and nowhere else."""
        first = headers[0]
        if first.height <= self.height or (first.height == self.height + 1 and first.parent != self.hash):
            raise ProofError(f"height {first.height}: does not stand on the final header at {self.height}")
        before = None
        for header in headers:
            place = (header.chain_id, header.epoch, header.validators_hash)
            if place != (self.chain_id, self.epoch, self.validators.hash):
                raise ProofError(f"height {header.height}: of another chain, epoch or validator set")
            if before is not None and (header.parent, header.height) != (before.hash, before.height + 1):
                raise ProofError(f"height {header.height}: does not stand on the header before")
            if _is_closing(header) != (before is not None and before.next_validators_hash != before.validators_hash):
                raise ProofError(f"height {header.height}: a closing header stands behind the end of an epoch, only")
            before = header

    def _check_certificates(self, headers: list[Header], segment: Segment) -> None:
        certificates = []
        for header, (_, encoded) in zip(headers, segment.entries, strict=True):
            try:
                certificate = bls.QuorumCertificate(encoded)
            except InputError as error:
                raise ProofError(f"height {header.height}: {error}") from None
            if certificate.message != statement_of(header).to_bytes():
                raise ProofError(f"height {header.height}: the certificate is for something else")
            certificates.append(certificate)
        bls.verify_chain(certificates, self.validators, threads=self._threads)

    def _next_validators(self, last: Header, encoded: bytes) -> bls.ValidatorSet:
        try:
            validators = bls.ValidatorSet.from_bytes(encoded, threads=self._threads)
        except (InputError, SignatureError) as error:
            raise ProofError(f"height {last.height}: the next validators: {error}") from None
        if validators.hash != last.next_validators_hash:
            raise ProofError(f"height {last.height}: the next validators are not those that its header names")
        return validators


def _is_closing(header: Header) -> bool:
    return header.next_validators_hash == ZERO_HASH


def _final(headers: list[Header]) -> list[Header]:
    """Two-chain rule: certified in rounds r and r + 1, the parent is final, and all below it, up to an epoch's end."""
    count = max(
        (place + 1 for place in range(len(headers) - 1) if headers[place].round + 1 == headers[place + 1].round),
        default=0,
    )
    final = [header for header in headers[:count] if not _is_closing(header)]
    if not final:
        raise ProofError("segment: nothing in it is certified in two successive rounds")
    return final
