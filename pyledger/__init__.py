"""A ledger engine that institutions share: signed, proven and certified double entry."""

from __future__ import annotations

import importlib
import importlib.metadata

try:
    importlib.import_module("pyledger._core")
except ModuleNotFoundError as error:
    if error.name != "pyledger._core":
        raise
    raise ImportError(
        "pyledger._core is missing: this is the source tree, not an installed pyledger; "
        "run 'pip install .' and start Python outside the checkout"
    ) from None

from pyledger.crypto import bls, ed25519, keys
from pyledger.crypto import hashing as hashing
from pyledger.crypto import merkle as merkle
from pyledger.errors import (
    AuthorisationError,
    ConsensusError,
    InputError,
    LedgerError,
    PostingError,
    ProofError,
    SignatureError,
    StateError,
    StorageError,
)
from pyledger.ledger import signing
from pyledger.ledger.genesis import Currency, Genesis, Institution
from pyledger.ledger.queries import Balance, TransferState
from pyledger.node.embedded import Ledger
from pyledger.node.keeping import Keeping
from pyledger.node.membership import InstitutionKeys
from pyledger.node.pipeline import Limits, Receipt
from pyledger.node.verification import (
    trust_after,
    verify_balance,
    verify_evidence,
    verify_history,
    verify_receipt,
)
from pyledger.types import (
    ACCOUNT,
    NO_KEY,
    TRANSFER,
    U128,
    AccountFlags,
    AuthorityResult,
    CreateAccountResult,
    CreateTransferResult,
    KeyRole,
    TransferFlags,
    make_accounts,
    make_transfers,
    u128_array,
    u128_int,
    u128_ints,
)
from pyledger.verifier import Trust, VerifiedAbsence, VerifiedBalance, VerifiedHistory, VerifiedTransfer

__version__ = importlib.metadata.version("pyledger")

__all__ = [
    "ACCOUNT",
    "NO_KEY",
    "TRANSFER",
    "U128",
    "AccountFlags",
    "AuthorisationError",
    "AuthorityResult",
    "Balance",
    "ConsensusError",
    "CreateAccountResult",
    "CreateTransferResult",
    "Currency",
    "Genesis",
    "InputError",
    "Institution",
    "InstitutionKeys",
    "Keeping",
    "KeyRole",
    "Ledger",
    "LedgerError",
    "Limits",
    "PostingError",
    "ProofError",
    "Receipt",
    "SignatureError",
    "StateError",
    "StorageError",
    "TransferFlags",
    "TransferState",
    "Trust",
    "VerifiedAbsence",
    "VerifiedBalance",
    "VerifiedHistory",
    "VerifiedTransfer",
    "__version__",
    "bls",
    "ed25519",
    "hashing",
    "keys",
    "make_accounts",
    "make_transfers",
    "merkle",
    "signing",
    "trust_after",
    "u128_array",
    "u128_int",
    "u128_ints",
    "verify_balance",
    "verify_evidence",
    "verify_history",
    "verify_receipt",
]
