"""A ledger engine that institutions share: signed, proven and certified double entry."""

from __future__ import annotations

try:
    from pyledger import _core as _core
except ModuleNotFoundError as error:
    if error.name != "pyledger._core":
        raise
    raise ImportError(
        "pyledger._core is missing: this is the source tree, not an installed pyledger; "
        "run 'pip install .' and start Python outside the checkout"
    ) from None

from pyledger.crypto import hashing as hashing
from pyledger.crypto import merkle as merkle
