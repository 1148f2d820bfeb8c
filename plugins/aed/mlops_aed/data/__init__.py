"""Data sets: catalogue, generated data, labels, splits, inspection, extraction and storage of features."""
