"""Serving a registered model in a managed online deployment: the command of the image (`container`)."""
