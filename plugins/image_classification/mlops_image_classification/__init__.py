"""Image classification: one plugin, and a use case for each of its default configurations."""
