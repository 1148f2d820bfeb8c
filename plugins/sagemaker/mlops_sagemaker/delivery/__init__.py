"""Files that a project needs to deliver a use case: CI files."""
