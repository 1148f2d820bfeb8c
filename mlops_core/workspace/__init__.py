"""The workspace: runs, artifacts, the step cache, the model registry, and their housekeeping."""
