"""Slow, plain Python twins of the natives: the oracle of the differential tests."""
