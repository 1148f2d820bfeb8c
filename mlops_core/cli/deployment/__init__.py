"""``mlops deploy`` and ``mlops deployments``."""
