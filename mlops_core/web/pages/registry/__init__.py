"""The pages of the registry: models, their versions, and what is decided about them."""
