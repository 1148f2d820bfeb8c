"""The runner of this machine keeps every promise of a runner."""

from mlops_core.testing import RunnerContract


class TestLocal(RunnerContract):
    runner = "local"
