"""Configuration files: YAML with line numbers, files of other programs, and a configuration as it was loaded."""
