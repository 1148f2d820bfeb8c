"""Managed online endpoints: a registered model is deployed beside the old one, and traffic moves to it."""
