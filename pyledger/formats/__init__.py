"""Readers and writers of the files that banks exchange."""
