"""An engine's machines, and the smallest one that has what a step needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlops_core.pipeline import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One kind of machine.

    Attributes:
        name: as the engine calls it.
        cpus: processor cores.
        memory_gb: main memory, in GB.
        gpus: accelerators.
        usd_hour: list price of one hour, in US dollars; only the order of prices matters here.
        is_default: chosen for steps that do not name a machine; False for machines with burst credits and the like.
    """

    name: str
    cpus: float
    memory_gb: float
    gpus: int = 0
    usd_hour: float = 0.0
    is_default: bool = True

    def has(self, resources: Resources) -> bool:
        """Return whether a step with these needs fits."""
        return self.cpus >= resources.cpus and self.memory_gb >= resources.memory_gb and self.gpus >= resources.gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMachine:
    """The machine of one step, after the engine's settings.

    Attributes:
        name: of the machine.
        disk_gb: disk space, in GB.
        timeout_s: of one attempt of the step.
    """

    name: str
    disk_gb: float
    timeout_s: float


def smallest_machine(resources: Resources, machines: Iterable[Machine], *, step: str) -> Machine:
    """Return the cheapest default machine that has what a step needs; the first of equally cheap ones by name.

    Args:
        resources: what the step needs.
        machines: what the engine has.
        step: the step's name, for the message.

    Raises:
        PipelineError: no machine is large enough.
    """
    candidates = [machine for machine in machines if machine.is_default]
    fitting = [machine for machine in candidates if machine.has(resources)]
    if not fitting:
        largest = max(candidates, key=lambda machine: (machine.gpus, machine.memory_gb, machine.cpus))
        raise PipelineError(
            f"step '{step}' needs {resources.cpus:g} CPUs, {resources.memory_gb:g} GB and {resources.gpus} GPUs; no "
            f"machine in the table is that large (for example {largest.name}: {largest.cpus:g} CPUs, "
            f"{largest.memory_gb:g} GB, {largest.gpus} GPUs); name a machine for the step in the runner's settings"
        )
    return min(fitting, key=lambda machine: (machine.usd_hour, machine.gpus, machine.memory_gb, machine.name))
