"""Data assets: named versions of data sets."""
