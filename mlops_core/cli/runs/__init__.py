"""``mlops runs``."""
