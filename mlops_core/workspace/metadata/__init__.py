"""Facts about models as files and tags that other programs read."""
