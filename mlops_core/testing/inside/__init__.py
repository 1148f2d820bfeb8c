"""What runs inside the processes that `mlops_core.testing.processes` starts, beside the plugin's own code."""
