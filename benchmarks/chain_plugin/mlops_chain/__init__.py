"""A use case for measurements: steps that pass a small array, in a chain or side by side."""
