"""Netting of obligations and settlement instructions."""
