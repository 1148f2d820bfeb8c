"""The VM sizes of computes, their prices, and the compute and size of each step."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_azureml.settings import SERVERLESS, StepSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_azureml.settings import CompileSettings
    from mlops_core import Pipeline, Step
    from mlops_core.runners.remote.costs import Prices
    from mlops_core.runners.remote.machines import Machine, StepMachine

_MACHINES = Path(__file__).with_name("machines.yaml")
_PRICES = Path(__file__).with_name("prices.yaml")


@functools.cache
def machines() -> tuple[Machine, ...]:
    """Return the VM sizes with their list prices."""
    import yaml

    from mlops_core.runners.remote.machines import Machine

    prices = load_price_table().instances
    sizes = yaml.safe_load(_MACHINES.read_text(encoding="utf-8"))
    return tuple(Machine(name=name, usd_hour=prices[name], **size) for name, size in sizes.items())


def load_price_table(path: Path | None = None) -> Prices:
    """Return the price table in a file; without a path, the one that this package ships."""
    from mlops_core.runners.remote.costs import load_prices

    return load_prices(path or _PRICES)


def compute_of(step: Step, settings: CompileSettings) -> str:
    """Return the compute of a step: from the settings, or the cluster for steps with or without accelerators."""
    overrides = settings.steps.get(step.search or step.name) or StepSettings()
    default = settings.computes.gpu if step.resources.gpus else settings.computes.cpu
    return overrides.compute or (SERVERLESS if overrides.instance_type else default)


def instance_type(step: Step, settings: CompileSettings) -> str:
    """Return the VM size of a step: from the settings, or the cheapest one that fits its resources.

    Raises:
        PipelineError: no size is large enough.
    """
    from mlops_core.runners.remote.machines import smallest_machine

    overrides = settings.steps.get(step.search or step.name) or StepSettings()
    return overrides.instance_type or smallest_machine(step.resources, machines(), step=step.name).name


def step_machines(pipeline: Pipeline, settings: CompileSettings) -> Mapping[str, StepMachine]:
    """Return the VM size, disk size and timeout of each step, by step name.

    The size of a cluster is not in the settings; it is estimated by the cheapest one that fits the step.

    Raises:
        PipelineError: no VM size is large enough for a step.
    """
    from mlops_core.runners.remote.machines import StepMachine

    sizes = {}
    for step in pipeline.steps:
        overrides = settings.steps.get(step.search or step.name) or StepSettings()
        sizes[step.name] = StepMachine(
            name=instance_type(step, settings),
            disk_gb=step.resources.disk_gb,
            timeout_s=overrides.timeout_s or step.resources.timeout_s,
        )
    return sizes
