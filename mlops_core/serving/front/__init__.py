"""The front process: receives requests, refuses what it must, and leaves all computing to the workers."""
