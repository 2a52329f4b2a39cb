"""How institutions agree on the next block: votes, certificates, the two-chain protocol."""
