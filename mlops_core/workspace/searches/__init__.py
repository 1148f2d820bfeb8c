"""The searches of a run: what became of their trials."""
