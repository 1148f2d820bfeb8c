"""PROBE, the use case with which runners are checked: each step reports to the kit and does what the kit answers."""
