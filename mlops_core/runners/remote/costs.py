"""How long a run may take and what it may cost before it starts: machines, a price table, and earlier durations.

A step's duration is the median of its last executions, on the same engine first, then on this machine. One that was
never executed counts with its timeout: the most that it can cost. Storage, requests and transfers are not counted.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pydantic

from mlops_core.config import UseCaseConfig
from mlops_core.config_files.loading import load_config
from mlops_core.errors import UsageError, did_you_mean
from mlops_core.quantities import format_duration
from mlops_core.use_cases.searches import is_selection
from mlops_core.workspace.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.pipeline import Pipeline, Step
    from mlops_core.runners.remote.machines import StepMachine
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.store import Store

_HOURS_A_MONTH = 730
_RUNS = 20
"""Number of recent runs of a use case from which durations are taken."""
_SHOWN = 3


class Prices(UseCaseConfig):
    """A price table, in US dollars.

    Attributes:
        region: region of the prices.
        volume_gb_month: price of 1 GB of disk per month.
        instances: machine -> price per hour.
    """

    region: str = ""
    volume_gb_month: float = pydantic.Field(default=0.0, ge=0)
    instances: dict[str, pydantic.NonNegativeFloat] = pydantic.Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEstimate:
    """Duration and cost of one step.

    Attributes:
        name: name of the step.
        instances: number of machines, including that of a merge.
        instance_type: kind of machine.
        duration_s: duration of the step.
        basis: origin of the duration: ``the service``, ``this machine`` or ``its timeout``.
        usd: cost; None where the table has no price of the machine.
    """

    name: str
    instances: int
    instance_type: str
    duration_s: float
    basis: str
    usd: float | None

    @property
    def is_known(self) -> bool:
        """Whether the step was executed before."""
        return self.basis != _TIMEOUT


_TIMEOUT = "its timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Duration and cost of a run.

    Attributes:
        steps: estimates in the order of execution.
        duration_s: duration of the longest chain of steps.
        region: region of the prices.
    """

    steps: tuple[StepEstimate, ...]
    duration_s: float
    region: str

    @property
    def usd(self) -> float:
        """Cost of all steps with a price, in US dollars."""
        return sum(step.usd or 0.0 for step in self.steps)

    def __str__(self) -> str:
        """Return the estimate as one line."""
        unknown = [step.name for step in self.steps if not step.is_known]
        priceless = sorted({step.instance_type for step in self.steps if step.usd is None})
        how = "by the durations of earlier runs"
        if unknown:
            how = f"at most, by the timeouts of {_listed(unknown)}, never executed before"
        text = f"about {format_duration(self.duration_s)} and {_dollars(self.usd)} {how}; prices of {self.region}"
        return f"{text}; no price of {_listed(priceless)}" if priceless else text


def load_prices(path: Path) -> Prices:
    """Read a price table.

    Raises:
        ConfigError: the file is not a price table.
    """
    model = load_config(Prices, default=None, path=path, environ={}).model
    assert isinstance(model, Prices)  # noqa: S101  for mypy: load_config has validated it
    return model


def estimate_cost(
    request: RunRequest, machines: Mapping[str, StepMachine], *, runner: str, store: Store, prices: Prices
) -> Estimate:
    """Return how long a run may take and what it may cost; steps that the engine will reuse count as executed.

    Args:
        request: the run.
        machines: step -> its machine.
        runner: name of the runner, whose earlier runs come first.
        store: the workspace with the earlier runs.
        prices: the price table.
    """
    use_case = request.use_case.name
    durations_s = _runner_durations_s(store, use_case, runner=runner)
    steps = {}
    for step in request.pipeline.ordered():
        if is_selection(step):  # takes a second, or is the engine's own
            continue
        machine = machines[step.name]
        duration_s, basis = _duration(step, machine, durations_s, store=store, use_case=use_case)
        steps[step.name] = _step_estimate(step, machine, prices, duration_s=duration_s, basis=basis)
    longest_s = _longest_s(request.pipeline, {name: step.duration_s for name, step in steps.items()})
    return Estimate(steps=tuple(steps.values()), duration_s=longest_s, region=prices.region or "an unnamed region")


def check_cost(estimate: Estimate, prices: Prices, *, max_cost: float | None) -> None:
    """Refuse a run that may cost more than the limit.

    Args:
        estimate: of the run.
        prices: the table by which it was made.
        max_cost: in US dollars; None for no limit.

    Raises:
        UsageError: the run may cost more, or the table lacks a price and a limit was set.
    """
    if max_cost is None:
        return
    for step in estimate.steps:
        if step.usd is None:
            hint = did_you_mean(step.instance_type, prices.instances) or ";"
            raise UsageError(
                f"step '{step.name}': no price of {step.instance_type}{hint} --max-cost needs one: give a table with "
                "--prices"
            )
    if estimate.usd > max_cost:
        dearest = max(estimate.steps, key=lambda step: step.usd or 0.0)
        raise UsageError(
            f"the run may cost {_dollars(estimate.usd)}, more than --max-cost {max_cost:g}; most of it step "
            f"'{dearest.name}': {dearest.instances} x {dearest.instance_type} for "
            f"{format_duration(dearest.duration_s)} by {dearest.basis}, {_dollars(dearest.usd or 0.0)}; choose a "
            f"smaller machine, lower steps.{dearest.name}.timeout_s, or raise the limit"
        )


def _step_estimate(step: Step, machine: StepMachine, prices: Prices, *, duration_s: float, basis: str) -> StepEstimate:
    instances = step.shards + (1 if step.shards > 1 else 0)
    volume = machine.disk_gb * prices.volume_gb_month / _HOURS_A_MONTH
    hourly = prices.instances.get(machine.name)
    usd = None if hourly is None else instances * (hourly + volume) * duration_s / 3600
    return StepEstimate(
        name=step.name, instances=instances, instance_type=machine.name, duration_s=duration_s, basis=basis, usd=usd
    )


def _duration(
    step: Step, machine: StepMachine, durations_s: Mapping[str, float], *, store: Store, use_case: str
) -> tuple[float, str]:
    if step.name in durations_s:
        return durations_s[step.name], "the service"
    local_s = store.step_cache.expected_duration_s(use_case, step.name)
    if local_s is not None:
        return local_s, "this machine"
    return machine.timeout_s * (step.resources.retries + 1), _TIMEOUT


def _runner_durations_s(store: Store, use_case: str, *, runner: str) -> dict[str, float]:
    durations_s: dict[str, list[float]] = {}
    for run in store.runs.newest(use_case=use_case, limit=_RUNS):
        if run.runner != runner:
            continue
        for step in store.runs.load(run.run_id).steps:
            if step.status is StepStatus.DONE:
                durations_s.setdefault(step.name, []).append(step.duration_s)
    return {name: statistics.median(values) for name, values in durations_s.items()}


def _longest_s(pipeline: Pipeline, durations_s: Mapping[str, float]) -> float:
    ends: dict[str, float] = {}
    for step in pipeline.ordered():
        ends[step.name] = durations_s.get(step.name, 0.0) + max((ends[name] for name in step.needs), default=0.0)
    return max(ends.values())


def _dollars(usd: float) -> str:
    return f"{usd:.2f} USD" if usd >= 0.01 or not usd else "less than 0.01 USD"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


__all__ = ["Estimate", "Prices", "StepEstimate", "check_cost", "estimate_cost", "load_prices"]
