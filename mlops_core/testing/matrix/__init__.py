"""The matrix of use cases and runners: its cells and its page."""
