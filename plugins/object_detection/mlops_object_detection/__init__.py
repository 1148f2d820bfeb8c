"""Object detection as a use case of mlops; `plugin` implements its hooks."""
