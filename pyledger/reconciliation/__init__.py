"""Matching of two records of the same events and the life of the breaks."""
