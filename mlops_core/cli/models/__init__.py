"""``mlops models``."""
