"""Raw layouts, labels, splits, and generated data sets."""
