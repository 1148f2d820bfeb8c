"""The job of a run in its workspace, as core follows it."""
