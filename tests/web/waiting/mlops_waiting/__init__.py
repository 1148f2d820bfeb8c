"""A use case whose training waits until a file exists, and shows meanwhile what it does."""
