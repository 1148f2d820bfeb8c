"""A use case whose samples are files, and whose models can be made to fail, to be slow, or to give one answer."""
