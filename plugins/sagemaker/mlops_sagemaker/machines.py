"""The machines of SageMaker's jobs, their prices, and which one a step gets."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from mlops_core.runners.remote.costs import load_prices
from mlops_core.runners.remote.machines import Machine, StepMachine, smallest_machine
from mlops_sagemaker.settings import StepSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core import Pipeline, Step
    from mlops_core.runners.remote.costs import Prices
    from mlops_sagemaker.settings import CompileSettings

_MACHINES = Path(__file__).with_name("machines.yaml")
_PRICES = Path(__file__).with_name("prices.yaml")


@functools.cache
def machines() -> tuple[Machine, ...]:
    """Return the machines with their list prices."""
    prices = list_prices().instances
    sizes = yaml.safe_load(_MACHINES.read_text(encoding="utf-8"))
    return tuple(Machine(name=name, usd_hour=prices[name], **size) for name, size in sizes.items())


def list_prices() -> Prices:
    """Return the price table that ships with the package."""
    return load_prices(_PRICES)


def instance_type(step: Step, changed: StepSettings) -> str:
    """Return the instance type of a step: that of the settings, else the cheapest one that fits.

    Raises:
        PipelineError: no machine is large enough.
    """
    return changed.instance_type or smallest_machine(step.resources, machines(), step=step.name).name


def step_machines(pipeline: Pipeline, settings: CompileSettings) -> Mapping[str, StepMachine]:
    """Return step -> its machine, disk and timeout.

    Raises:
        PipelineError: no machine is large enough for a step.
    """
    chosen = {}
    for step in pipeline.steps:
        changed = settings.steps.get(step.name) or StepSettings()
        chosen[step.name] = StepMachine(
            name=instance_type(step, changed),
            disk_gb=changed.volume_gb or step.resources.disk_gb,
            timeout_s=changed.timeout_s or step.resources.timeout_s,
        )
    return chosen
