"""Data sets: labels, splits, the catalogue and what is synthetic in it, inspection, the store of features."""
