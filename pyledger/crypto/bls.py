"""BLS12-381 votes and quorum certificates: keys, validator sets, collecting votes, checking chains of certificates.

Scheme: draft-irtf-cfrg-bls-signature with proof of possession, over blst. Two suites: ``min-sig`` (signatures of 48
bytes, keys of 96; the default) and ``min-pk`` (keys of 48 bytes, signatures of 96; as Ethereum and Chia use it).
A signature is made for one purpose (vote, timeout, proof of possession), each with a domain separation tag of its own.
Every signature is checked for subgroup membership and refused at infinity, alone and in batches.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn

from pyledger import _core
from pyledger.errors import InputError, ProofError, SignatureError

__all__ = [
    "MESSAGE_BYTES_MAX",
    "VALIDATORS_MAX",
    "WEIGHT_MAX",
    "Purpose",
    "QuorumCertificate",
    "SecretKey",
    "Suite",
    "ValidatorSet",
    "Vote",
    "VoteCollector",
    "aggregate_signatures",
    "verify_aggregate",
    "verify_chain",
    "verify_votes",
]

Suite = Literal["min-sig", "min-pk"]
Purpose = Literal["vote", "timeout"]

MESSAGE_BYTES_MAX: Final = 1024
"""Longest message that a certificate carries."""
VALIDATORS_MAX: Final = 4096
"""Largest validator set."""
WEIGHT_MAX: Final = (1 << 32) - 1
"""Largest weight of a validator; so the total of a set is below 2**44, far from any overflow."""

_SUITES: Final[dict[int, Suite]] = {1: "min-sig", 2: "min-pk"}
_SCHEMES: Final[dict[str, int]] = {name: scheme for scheme, name in _SUITES.items()}
_PURPOSES: Final[dict[str, int]] = {"vote": 0, "timeout": 1}
_KEY_BYTES: Final[dict[str, int]] = {"min-sig": 96, "min-pk": 48}
_SIGNATURE_BYTES: Final[dict[str, int]] = {"min-sig": 48, "min-pk": 96}
_HASH_TAG: Final = b"pyledger/validators/v1\0"


def _number_of(name: str, table: dict[str, int], what: str) -> int:
    if name not in table:
        raise InputError(f"{what}: expected one of {', '.join(table)}, got {name!r}")
    return table[name]


def _check_message(message: bytes) -> bytes:
    if not 1 <= len(message) <= MESSAGE_BYTES_MAX:
        raise InputError(f"message: expected 1 to {MESSAGE_BYTES_MAX} bytes, got {len(message)}")
    return bytes(message)


class SecretKey:
    """A validator's secret key. It signs and is wiped from memory when it goes; it cannot be read, copied or pickled.

    The bytes that it is made from stay the caller's, and Python wipes no bytes.

    Parameters
    ----------
    Made by `generate`, `from_seed` or `from_bytes`, never directly.
    """

    __slots__ = ("_native", "_suite", "public_key")

    _native: _core.BlsSecretKey
    _suite: Suite
    public_key: bytes
    """Compressed public key, 96 bytes (min-sig) or 48 (min-pk)."""

    def __init__(self) -> None:
        raise TypeError("SecretKey: use SecretKey.generate, from_seed or from_bytes")

    @classmethod
    def _wrap(cls, native: _core.BlsSecretKey, suite: Suite) -> SecretKey:
        key = object.__new__(cls)
        key._native = native
        key._suite = suite
        key.public_key = native.public_key(_number_of(suite, _SCHEMES, "suite"))
        return key

    @classmethod
    def generate(cls, suite: Suite = "min-sig") -> SecretKey:
        """Make a key from the operating system's randomness."""
        return cls._wrap(_core.BlsSecretKey.generate(), suite)

    @classmethod
    def from_seed(cls, seed: bytes, suite: Suite = "min-sig") -> SecretKey:
        """Derive a key from secret bytes (KeyGen of draft-irtf-cfrg-bls-signature-05, section 2.3, no key_info).

        Parameters
        ----------
        seed : bytes
            At least 32 bytes of secret randomness. The same seed gives the same key.
        suite : {"min-sig", "min-pk"}

        Raises
        ------
        InputError
            If the seed is shorter than 32 bytes.
        """
        native = _core.BlsSecretKey.from_seed(bytes(seed))
        if native is None:
            raise InputError(f"seed: expected at least 32 bytes, got {len(seed)}")
        return cls._wrap(native, suite)

    @classmethod
    def from_bytes(cls, data: bytes, suite: Suite = "min-sig") -> SecretKey:
        """Read a key: a big-endian integer of 32 bytes in [1, r - 1].

        Raises
        ------
        InputError
            If it is not that; zero is refused.
        """
        native = _core.BlsSecretKey.from_bytes(bytes(data))
        if native is None:
            raise InputError("secret key: expected 32 bytes, a big-endian integer in [1, r - 1]")
        return cls._wrap(native, suite)

    @property
    def suite(self) -> Suite:
        """The suite it signs in."""
        return self._suite

    @property
    def proof_of_possession(self) -> bytes:
        """Proof that the holder of the public key knows this key: 48 bytes (min-sig) or 96 (min-pk)."""
        return self._native.proof_of_possession(_SCHEMES[self._suite])

    def sign(self, message: bytes, purpose: Purpose = "vote") -> bytes:
        """Sign a message.

        Parameters
        ----------
        message : bytes
        purpose : {"vote", "timeout"}
            A signature for one purpose never verifies for another.

        Returns
        -------
        bytes
            48 bytes (min-sig) or 96 (min-pk).
        """
        return self._native.sign(_SCHEMES[self._suite], _number_of(purpose, _PURPOSES, "purpose"), bytes(message))

    def __repr__(self) -> str:
        return f"SecretKey(suite={self._suite!r}, public_key={self.public_key.hex()[:16]}...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("SecretKey: cannot be pickled or copied")


class ValidatorSet:
    """The validators of an epoch: public keys with proven possession, and voting weights.

    Parameters
    ----------
    public_keys : sequence of bytes
        1 to 4096 compressed keys of the suite, no two alike. A validator's index is its place here.
    weights : sequence of int
        A weight for each, 1 to 2**32 - 1 (`WEIGHT_MAX`); so their total is below 2**44.
    proofs : sequence of bytes
        A proof of possession for each (`SecretKey.proof_of_possession`).
    suite : {"min-sig", "min-pk"}
    threads : int
        Threads for the checks; 0 for all CPUs.

    Raises
    ------
    InputError
        If the lengths disagree, or a weight or encoding is not valid.
    SignatureError
        If a key or a proof is not valid; the message names the validator.

    Notes
    -----
    `to_bytes`, little-endian: u8 scheme (1 min-sig, 2 min-pk) | u16 n | n times u64 weight, key, proof. One set has one
    encoding. `hash` is SHA-256 over the tag ``pyledger/validators/v1`` + zero byte, then these bytes.
    """

    __slots__ = ("_bytes", "_native", "_suite", "hash", "quorum_weight", "size", "total_weight")

    _native: _core.BlsValidators
    _bytes: bytes
    _suite: Suite
    size: int
    """Number of validators."""
    total_weight: int
    quorum_weight: int
    """Smallest weight above two thirds of the total."""
    hash: bytes
    """SHA-256 of the set, 32 bytes."""

    def __init__(
        self,
        public_keys: Sequence[bytes],
        weights: Sequence[int],
        proofs: Sequence[bytes],
        suite: Suite = "min-sig",
        *,
        threads: int = 0,
    ) -> None:
        self._load(_encode_validators(public_keys, weights, proofs, suite), suite, threads)

    @classmethod
    def from_bytes(cls, data: bytes, *, threads: int = 0) -> ValidatorSet:
        """Read a set and check it as the constructor does, proofs included.

        Raises
        ------
        InputError
            If the bytes are not exactly one set.
        SignatureError
            If a key or a proof is not valid.
        """
        suite = _SUITES.get(data[0]) if data else None
        if suite is None:
            raise InputError("validator set: unknown scheme")
        self = object.__new__(cls)
        self._load(bytes(data), suite, threads)
        return self

    def _load(self, encoded: bytes, suite: Suite, threads: int) -> None:
        read = _core.bls_read_validators(_SCHEMES[suite], encoded, threads)
        if isinstance(read, tuple):
            raise _validator_error(*read)
        self._native = read
        self._bytes = encoded
        self._suite = suite
        self.size = int.from_bytes(encoded[1:3], "little")
        self.total_weight = read.total_weight()
        self.quorum_weight = read.quorum_weight()
        self.hash = hashlib.sha256(_HASH_TAG + encoded).digest()

    @property
    def suite(self) -> Suite:
        """The suite of its keys."""
        return self._suite

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """The keys, in order."""
        return tuple(key for _, key, _ in self._entries())

    @property
    def weights(self) -> tuple[int, ...]:
        """The weights, in order."""
        return tuple(weight for weight, _, _ in self._entries())

    @property
    def proofs(self) -> tuple[bytes, ...]:
        """The proofs of possession, in order."""
        return tuple(proof for _, _, proof in self._entries())

    def index_of(self, public_key: bytes) -> int:
        """Give the index of a key; raise InputError if it is not in the set."""
        try:
            return self.public_keys.index(public_key)
        except ValueError:
            raise InputError("public key: not in the validator set") from None

    def to_bytes(self) -> bytes:
        """Give the canonical bytes of the set."""
        return self._bytes

    def _entries(self) -> Iterator[tuple[int, bytes, bytes]]:
        return struct.iter_unpack(f"<Q{_KEY_BYTES[self._suite]}s{_SIGNATURE_BYTES[self._suite]}s", self._bytes[3:])

    def __len__(self) -> int:
        return self.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValidatorSet) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"ValidatorSet({self.size} validators, suite={self._suite!r}, hash={self.hash.hex()[:16]}...)"

    def __reduce__(self) -> tuple[object, ...]:
        return (ValidatorSet.from_bytes, (self._bytes,))


def _validator_error(reason: str, index: int) -> InputError | SignatureError:
    if reason.startswith("validator set"):
        return InputError(reason)
    error = InputError if "weight" in reason else SignatureError
    return error(f"validator {index}: {reason}")


def _encode_validators(
    public_keys: Sequence[bytes], weights: Sequence[int], proofs: Sequence[bytes], suite: Suite
) -> bytes:
    scheme = _number_of(suite, _SCHEMES, "suite")
    if not 1 <= len(public_keys) <= VALIDATORS_MAX:
        raise InputError(f"public_keys: expected 1 to {VALIDATORS_MAX}, got {len(public_keys)}")
    if not len(public_keys) == len(weights) == len(proofs):
        raise InputError(
            f"expected as many weights and proofs as keys ({len(public_keys)}), got {len(weights)} and {len(proofs)}"
        )
    parts = [struct.pack("<BH", scheme, len(public_keys))]
    for index, (key, weight, proof) in enumerate(zip(public_keys, weights, proofs, strict=True)):
        if len(key) != _KEY_BYTES[suite] or len(proof) != _SIGNATURE_BYTES[suite]:
            raise InputError(
                f"validator {index}: expected a key of {_KEY_BYTES[suite]} and a proof of "
                f"{_SIGNATURE_BYTES[suite]} bytes, got {len(key)} and {len(proof)}"
            )
        if not 0 < weight <= WEIGHT_MAX:
            raise InputError(f"validator {index}: expected a weight in [1, {WEIGHT_MAX}], got {weight}")
        parts += [weight.to_bytes(8, "little"), key, proof]
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Vote:
    """One validator's signature on a message.

    Parameters
    ----------
    message : bytes
        1 to 1024 bytes.
    validator : int
        Index in the validator set.
    signature : bytes
        48 bytes (min-sig) or 96 (min-pk).
    """

    message: bytes
    validator: int
    signature: bytes

    def verify(self, validators: ValidatorSet, purpose: Purpose = "vote") -> None:
        """Raise SignatureError unless this validator signed the message for this purpose."""
        verify_votes(validators, [self], purpose)


def verify_votes(
    validators: ValidatorSet, votes: Sequence[Vote], purpose: Purpose = "vote", *, threads: int = 1
) -> None:
    """Check votes on any messages together, each proven by itself.

    Raises
    ------
    SignatureError
        If one is not right; the message names the first found, by its place in `votes`.
    """
    for place, vote in enumerate(votes):
        if not 0 <= vote.validator < validators.size:
            raise SignatureError(f"vote {place}: there is no validator {vote.validator}")
    fault = _core.bls_verify_votes(
        validators._native,
        [vote.validator for vote in votes],
        [vote.message for vote in votes],
        [vote.signature for vote in votes],
        _number_of(purpose, _PURPOSES, "purpose"),
        threads,
    )
    if fault is not None:
        reason, place = fault
        raise SignatureError(f"vote {place} of validator {votes[place].validator}: {reason}")


def aggregate_signatures(signatures: Sequence[bytes], suite: Suite = "min-sig") -> bytes:
    """Add up signatures of any keys on any messages.

    Parameters
    ----------
    signatures : sequence of bytes
        1 to 4096 signatures of the suite.
    suite : {"min-sig", "min-pk"}

    Raises
    ------
    SignatureError
        If one is not a valid point (the message names it by its place), or they cancel out.
    """
    _check_count(signatures, "signatures")
    made = _core.bls_aggregate(_number_of(suite, _SCHEMES, "suite"), list(signatures))
    if isinstance(made, tuple):
        reason, place = made
        raise SignatureError(reason if place == len(signatures) else f"signature {place}: {reason}")
    return made


def verify_aggregate(
    public_keys: Sequence[bytes],
    messages: Sequence[bytes],
    signature: bytes,
    purpose: Purpose = "vote",
    suite: Suite = "min-sig",
) -> None:
    """Check the sum of one signature by each key on its own message (AggregateVerify of the draft, section 2.9).

    The sum is proven, not each signature in it. Possession of every key must have been proven before (`ValidatorSet`
    does that); without it, a key chosen to cancel others forges sums.

    Parameters
    ----------
    public_keys, messages : sequence of bytes
        As many messages as keys, 1 to 4096; messages may repeat.
    signature : bytes
    purpose : {"vote", "timeout"}
    suite : {"min-sig", "min-pk"}

    Raises
    ------
    SignatureError
        If a key or the signature is not valid.
    """
    _check_count(public_keys, "public_keys")
    if len(messages) != len(public_keys):
        raise InputError(f"messages: expected {len(public_keys)}, one for each key, got {len(messages)}")
    scheme = _number_of(suite, _SCHEMES, "suite")
    tag = _core.bls_tag(scheme, _number_of(purpose, _PURPOSES, "purpose"))
    fault = _core.bls_verify_aggregate(scheme, list(public_keys), list(messages), signature, tag)
    if fault is not None:
        reason, place = fault
        raise SignatureError(f"{'signature' if place == len(public_keys) else f'public key {place}'}: {reason}")


def _check_count(items: Sequence[bytes], name: str) -> None:
    if not 1 <= len(items) <= VALIDATORS_MAX:
        raise InputError(f"{name}: expected 1 to {VALIDATORS_MAX}, got {len(items)}")


class VoteCollector:
    """Gathers votes on one message until they make a quorum certificate.

    Votes are decoded as they come and checked together when a certificate is asked for: their sum first, and each one
    only if the sum is wrong. Bad votes are then found by halving, dropped and named in `rejected`.

    Parameters
    ----------
    validators : ValidatorSet
    message : bytes
        What is voted on, 1 to 1024 bytes.
    purpose : {"vote", "timeout"}
    threads : int
        Threads for the checks; 0 for all CPUs.
    """

    def __init__(
        self, validators: ValidatorSet, message: bytes, purpose: Purpose = "vote", *, threads: int = 1
    ) -> None:
        self.validators: Final = validators
        self.message: Final = _check_message(message)
        self._native = _core.BlsVotes(validators._native, self.message, _number_of(purpose, _PURPOSES, "purpose"))
        self._threads = threads
        self._lock = threading.Lock()
        self._rejected: list[int] = []

    def add(self, validator: int, signature: bytes) -> None:
        """Take a vote. A repeated vote changes nothing.

        A second, different signature of one validator is checked at once and the right one stays, so nobody can shut a
        validator out by sending a wrong vote in its name first.

        Raises
        ------
        SignatureError
            If the vote is refused: no such validator, not a valid encoding, or not the one right signature.
        """
        if not 0 <= validator < self.validators.size:
            raise SignatureError(f"vote of validator {validator}: expected 0 to {self.validators.size - 1}")
        with self._lock:
            reason = self._native.add(validator, bytes(signature))
        if reason is not None:
            raise SignatureError(f"vote of validator {validator}: {reason}")

    def sign(self, secret_key: SecretKey) -> None:
        """Vote with the key of a validator, for whoever holds it. Such a vote is right as it is made: not checked.

        Raises
        ------
        InputError
            If no validator has this key.
        """
        validator = self.validators.index_of(secret_key.public_key)
        with self._lock:
            self._native.sign(validator, secret_key._native)

    @property
    def weight(self) -> int:
        """Weight of the votes held, checked or not."""
        with self._lock:
            return self._native.weight()

    @property
    def rejected(self) -> tuple[int, ...]:
        """Validators in whose name a bad vote was found and dropped, in the order of discovery."""
        return tuple(self._rejected)

    def certificate(self) -> QuorumCertificate | None:
        """Give a certificate of all votes held, or None while they are no quorum.

        The sum of the votes is proven, not each vote: validators who work together can send votes that are right only
        in sum. Use `proven_votes` for votes that must stand alone.
        """
        with self._lock:
            if self._native.weight() < self.validators.quorum_weight:
                return None
            self._rejected += self._native.settle(self._threads)
            if self._native.weight() < self.validators.quorum_weight:
                return None
            encoded = self._native.certificate()
        return QuorumCertificate.from_bytes(encoded) if encoded else None

    def proven_votes(self) -> tuple[Vote, ...]:
        """Prove each vote held by itself (up to 2**-64), drop and name the bad ones, and give the rest."""
        with self._lock:
            self._rejected += self._native.prove(self._threads)
            return tuple(
                Vote(self.message, index, self._native.signature(index))
                for index in range(self.validators.size)
                if self._native.has(index)
            )


@dataclass(frozen=True, slots=True)
class QuorumCertificate:
    """Proof that a quorum of a validator set signed a message: the message, who signed, and one signature.

    Read it with `from_bytes`, make it with `VoteCollector`. Being one says nothing yet: call `verify`.

    Parameters
    ----------
    encoded : bytes
        Its canonical bytes; all other attributes are read from them.

    Raises
    ------
    InputError
        If the bytes are not exactly one certificate in its one encoding.

    Notes
    -----
    Bytes, little-endian: u8 scheme (1 min-sig, 2 min-pk) | u8 purpose (0 vote, 1 timeout) | u16 validators | u16
    message bytes | message | bitmap of ceil(validators / 8) bytes | aggregate signature. Bit i % 8 of bitmap byte i / 8
    stands for validator i; padding bits are zero.
    """

    encoded: bytes = field(repr=False)
    suite: Suite = field(init=False, compare=False)
    purpose: Purpose = field(init=False, compare=False)
    validators: int = field(init=False, compare=False)
    """Number of validators in the set."""
    message: bytes = field(init=False, compare=False)
    bitmap: bytes = field(init=False, compare=False)
    signature: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        encoded = bytes(self.encoded)
        parts = _core.bls_read_certificate(encoded)
        if isinstance(parts, str):
            raise InputError(parts)
        scheme, purpose, validators, message, bitmap, signature = parts
        write = object.__setattr__
        write(self, "encoded", encoded)
        write(self, "suite", _SUITES[scheme])
        write(self, "purpose", "timeout" if purpose else "vote")
        write(self, "validators", validators)
        write(self, "message", message)
        write(self, "bitmap", bitmap)
        write(self, "signature", signature)

    @classmethod
    def from_bytes(cls, data: bytes) -> QuorumCertificate:
        """Read a certificate; the same as the constructor."""
        return cls(data)

    def to_bytes(self) -> bytes:
        """Give the canonical bytes."""
        return self.encoded

    @property
    def signers(self) -> tuple[int, ...]:
        """Indices of the validators that signed, rising."""
        return tuple(i for i in range(self.validators) if self.bitmap[i >> 3] >> (i & 7) & 1)

    def verify(self, validators: ValidatorSet, purpose: Purpose = "vote") -> None:
        """Raise ProofError unless a quorum of `validators` signed the message for this purpose.

        That `message` says what the caller believes is for the caller to check.
        """
        verify_chain([self], validators, purpose=purpose, threads=1)


def verify_chain(
    certificates: Iterable[QuorumCertificate],
    validators: ValidatorSet,
    *,
    purpose: Purpose = "vote",
    threads: int = 0,
) -> None:
    """Check many certificates of one validator set together, several times faster than one by one.

    A random linear combination of all (64-bit coefficients from the operating system), grouped by signers or by
    absent validators, whichever takes fewer pairings. A wrong certificate passes with probability 2**-64 or less.

    Parameters
    ----------
    certificates : iterable of QuorumCertificate
        How their messages follow from one another is for the caller to check.
    validators : ValidatorSet
    purpose : {"vote", "timeout"}
    threads : int
        0 for all CPUs.

    Raises
    ------
    ProofError
        If one is not right; the message names the first found, by its place.
    """
    encoded = [certificate.encoded for certificate in certificates]
    fault = _core.bls_verify_certificates(
        validators._native, encoded, _number_of(purpose, _PURPOSES, "purpose"), threads
    )
    if fault is not None:
        reason, place = fault
        raise ProofError(f"certificate {place} of {len(encoded)}: {reason}")
