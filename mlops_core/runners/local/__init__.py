"""The local runner: each step in its own process on this machine."""
