"""A use case with a search: the threshold between short and long words is found by trials."""
