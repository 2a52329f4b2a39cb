# cython: language_level=3, boundscheck=False, wraparound=False
"""Multilateral netting over columns."""
