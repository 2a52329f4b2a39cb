"""Finance workflows over the double-entry core."""
