"""Hashes, trees, signatures and keys: safe interfaces over the natives."""
