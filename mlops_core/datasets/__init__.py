"""Data sets: the catalogue, splits, digests, and how files are fetched."""
