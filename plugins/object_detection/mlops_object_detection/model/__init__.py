"""The detector: network, targets, training, tiles, and its file format."""
