"""Commands that show and maintain the workspace."""
