"""Puts book and agreement together: an embedded ledger or an institution's replica."""
