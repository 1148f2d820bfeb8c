"""What a run may take and cost before it starts: machines, a table of prices, and how long its steps took before.

A step's duration is the median of its last executions, in the service first, then on this machine. One that was never
executed counts with its timeout: the most that it can cost. Storage in S3, requests and transfers are not counted.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic
from mlops_sagemaker.settings import StepSettings

from mlops_core.config import UseCaseConfig, load_config
from mlops_core.errors import UsageError, did_you_mean
from mlops_core.quantities import format_duration
from mlops_core.workspace.records import StepStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_sagemaker.settings import CompileSettings

    from mlops_core.pipeline import Pipeline, Step
    from mlops_core.runners import RunRequest
    from mlops_core.runners.remote.options import RunnerOptions
    from mlops_core.workspace.store import Store

_TABLE = Path(__file__).with_name("prices.yaml")
_HOURS_A_MONTH = 730
_RUNS = 20
"""So many of the last runs of a use case are looked at."""
_SHOWN = 3


class Prices(UseCaseConfig):
    """A table of prices, in US dollars.

    Attributes:
        region: for which they were listed.
        volume_gb_month: a GB of a machine's disk for a month.
        instances: machine -> an hour of it.
    """

    region: str = ""
    volume_gb_month: float = pydantic.Field(default=0.0, ge=0)
    instances: dict[str, pydantic.NonNegativeFloat] = pydantic.Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEstimate:
    """What one step may take and cost.

    Attributes:
        name: of the step.
        instances: machines at once, with that of a merge.
        instance_type: of each.
        duration_s: of the step.
        basis: where the duration is from: ``the service``, ``this machine`` or ``its timeout``.
        usd: None where the table has no price of the machine.
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
    """What a run may take and cost.

    Attributes:
        steps: in the order of execution.
        duration_s: along the longest chain of steps.
        region: of the prices.
    """

    steps: tuple[StepEstimate, ...]
    duration_s: float
    region: str

    @property
    def usd(self) -> float:
        """Of all steps with a price."""
        return sum(step.usd or 0.0 for step in self.steps)

    def __str__(self) -> str:
        """Return it in one line."""
        unknown = [step.name for step in self.steps if not step.is_known]
        priceless = sorted({step.instance_type for step in self.steps if step.usd is None})
        how = "by the durations of earlier runs"
        if unknown:
            how = f"at most, by the timeouts of {_listed(unknown)}, never executed before"
        text = f"about {format_duration(self.duration_s)} and {_dollars(self.usd)} {how}; prices of {self.region}"
        return f"{text}; no price of {_listed(priceless)}" if priceless else text


def load_prices(path: Path | None = None) -> Prices:
    """Return a table of prices; the one that comes along where none is named.

    Raises:
        ConfigError: it is none.
    """
    model = load_config(Prices, default=None, path=path or _TABLE, environ={}).model
    assert isinstance(model, Prices)  # noqa: S101  for mypy: load_config has validated it
    return model


def estimate_cost(request: RunRequest, settings: CompileSettings, *, store: Store, prices: Prices) -> Estimate:
    """Return what a run may take and cost; steps that the service will reuse count as executed."""
    service = _service_durations(store, request.use_case.name)
    steps = {}
    for step in request.pipeline.ordered():
        changed = settings.steps.get(step.name) or StepSettings()
        duration_s, basis = _duration(step, changed, service, store=store, use_case=request.use_case.name)
        steps[step.name] = _step_estimate(step, changed, prices, duration_s=duration_s, basis=basis)
    longest_s = _longest_s(request.pipeline, {name: step.duration_s for name, step in steps.items()})
    return Estimate(steps=tuple(steps.values()), duration_s=longest_s, region=prices.region or "an unnamed region")


def check_cost(
    request: RunRequest,
    settings: CompileSettings,
    *,
    store: Store,
    options: RunnerOptions,
    note: Callable[[str], None],
) -> Estimate:
    """Say what a run may take and cost; refuse what may cost more than the options allow.

    Raises:
        UsageError: it may, or the table lacks a price and a limit was set.
        ConfigError: the table of prices is wrong.
    """
    prices = load_prices(options.prices)
    estimate = estimate_cost(request, settings, store=store, prices=prices)
    note(f"estimate: {estimate}")
    if options.max_cost is None:
        return estimate
    for step in estimate.steps:
        if step.usd is None:
            hint = did_you_mean(step.instance_type, prices.instances) or ";"
            raise UsageError(
                f"step '{step.name}': no price of {step.instance_type}{hint} --max-cost needs one: give a table with "
                "--prices"
            )
    if estimate.usd > options.max_cost:
        dearest = max(estimate.steps, key=lambda step: step.usd or 0.0)
        raise UsageError(
            f"the run may cost {_dollars(estimate.usd)}, more than --max-cost {options.max_cost:g}; most of it step "
            f"'{dearest.name}': {dearest.instances} x {dearest.instance_type} for "
            f"{format_duration(dearest.duration_s)} by {dearest.basis}, {_dollars(dearest.usd or 0.0)}; choose a "
            f"smaller machine, lower steps.{dearest.name}.timeout_s, or raise the limit"
        )
    return estimate


def _step_estimate(step: Step, changed: StepSettings, prices: Prices, *, duration_s: float, basis: str) -> StepEstimate:
    kind = changed.instance_type or step.resources.instance_type
    instances = step.shards + (1 if step.shards > 1 else 0)
    volume = (changed.volume_gb or step.resources.volume_gb) * prices.volume_gb_month / _HOURS_A_MONTH
    hourly = prices.instances.get(kind)
    usd = None if hourly is None else instances * (hourly + volume) * duration_s / 3600
    return StepEstimate(
        name=step.name, instances=instances, instance_type=kind, duration_s=duration_s, basis=basis, usd=usd
    )


def _duration(
    step: Step, changed: StepSettings, service: Mapping[str, float], *, store: Store, use_case: str
) -> tuple[float, str]:
    if step.name in service:
        return service[step.name], "the service"
    local = store.step_cache.expected_duration_s(use_case, step.name)
    if local is not None:
        return local, "this machine"
    timeout_s = changed.timeout_s or step.resources.timeout_s
    return timeout_s * (step.resources.retries + 1), _TIMEOUT


def _service_durations(store: Store, use_case: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for run in store.runs.newest(use_case=use_case, limit=_RUNS):
        if run.runner != "sagemaker":
            continue
        for step in store.runs.load(run.run_id).steps:
            if step.status is StepStatus.DONE:
                found.setdefault(step.name, []).append(step.duration_s)
    return {name: statistics.median(durations) for name, durations in found.items()}


def _longest_s(pipeline: Pipeline, durations_s: Mapping[str, float]) -> float:
    ends: dict[str, float] = {}
    for step in pipeline.ordered():
        ends[step.name] = durations_s[step.name] + max((ends[name] for name in step.needs), default=0.0)
    return max(ends.values())


def _dollars(usd: float) -> str:
    return f"{usd:.2f} USD" if usd >= 0.01 or not usd else "less than 0.01 USD"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


__all__ = ["Estimate", "Prices", "StepEstimate", "check_cost", "estimate_cost", "load_prices"]
