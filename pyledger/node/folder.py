"""The names of what lies in a ledger's folder (docs/journal-format.md)."""

from __future__ import annotations

from typing import Final

__all__ = ["EVIDENCE_FOLDER", "GENESIS_FILE", "JOURNAL_FOLDER", "SEGMENTS_FOLDER", "SNAPSHOTS_FOLDER", "TRUST_FILE"]

GENESIS_FILE: Final = "genesis"
TRUST_FILE: Final = "trust.json"
JOURNAL_FOLDER: Final = "journal"
SEGMENTS_FOLDER: Final = "segments"
SNAPSHOTS_FOLDER: Final = "snapshots"
EVIDENCE_FOLDER: Final = "evidence"
