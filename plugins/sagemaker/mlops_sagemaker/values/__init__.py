"""Rules for single values: durations, names that are written to scripts and paths."""
