"""The machine types of SageMaker jobs, their prices, and the choice of a machine for a step."""

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
    """Return the machine types with their list prices."""
    prices = load_price_table().instances
    sizes = yaml.safe_load(_MACHINES.read_text(encoding="utf-8"))
    return tuple(Machine(name=name, usd_hour=prices[name], **size) for name, size in sizes.items())


def load_price_table(path: Path | None = None) -> Prices:
    """Return the price table in a file; without a path, the one that this package ships."""
    return load_prices(path or _PRICES)


def instance_type(step: Step, settings: StepSettings) -> str:
    """Return the instance type of a step: from the settings, or the cheapest one that fits its resources.

    Raises:
        PipelineError: no machine type is large enough.
    """
    return settings.instance_type or smallest_machine(step.resources, machines(), step=step.name).name


def step_machines(pipeline: Pipeline, settings: CompileSettings) -> Mapping[str, StepMachine]:
    """Return the machine, disk size and timeout of each step, by step name.

    Raises:
        PipelineError: no machine type is large enough for a step.
    """
    machines_by_step = {}
    for step in pipeline.steps:
        overrides = settings.steps.get(step.name) or StepSettings()
        machines_by_step[step.name] = StepMachine(
            name=instance_type(step, overrides),
            disk_gb=overrides.volume_gb or step.resources.disk_gb,
            timeout_s=overrides.timeout_s or step.resources.timeout_s,
        )
    return machines_by_step
