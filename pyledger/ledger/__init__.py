"""The book: blocks, posting, proofs, journal, audit."""
