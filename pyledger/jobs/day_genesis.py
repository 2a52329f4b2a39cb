"""The genesis of a day folder's chain: its members and currencies are those of ``day.json``."""

from __future__ import annotations

from pyledger.formats.day_header import DayHeader
from pyledger.ledger.genesis import Currency, Genesis, Institution

__all__ = ["day_genesis"]


def day_genesis(header: DayHeader) -> Genesis:
    """Build the genesis that a day's transfers were signed for; the listed files do not enter it."""
    return Genesis(
        name=header.chain_name,
        time_ns=header.genesis_time_ns,
        currencies=tuple(Currency(entry.ledger, entry.code, entry.decimals) for entry in header.currencies),
        institutions=tuple(
            Institution(
                member.bic,
                bytes.fromhex(member.validator_key),
                bytes.fromhex(member.proof_of_possession),
                bytes.fromhex(member.attestation_key),
            )
            for member in header.institutions
        ),
        block_transfers_max=header.block_transfers_max,
    )
