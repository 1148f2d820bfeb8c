"""Deployment strategies: what a ``DeploymentConfig`` says about shares of the traffic, waits and alarms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.protocol.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_sagemaker.emulator.endpoint.inference.fleets import Fleet

_ALL_AT_ONCE, _CANARY, _LINEAR = "ALL_AT_ONCE", "CANARY", "LINEAR"
_INSTANCES = "INSTANCE_COUNT"
_LIMIT_S = 28_800
_LARGEST_CANARY = 0.5
_STEPS = (0.1, 0.5)
_BATCHES = (0.05, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How the traffic of an endpoint is shifted to its new fleet.

    Attributes:
        shares: share of the new fleet after each step; the last one is 1.
        wait_s: baking time after each step but the last.
        termination_wait_s: baking time after the last step.
        limit_s: time limit of the whole deployment.
        alarms: alarms that roll it back.
        back: shares of the new fleet on the way back.
    """

    shares: tuple[float, ...] = (1.0,)
    wait_s: float = 0.0
    termination_wait_s: float = 0.0
    limit_s: float = float(_LIMIT_S)
    alarms: tuple[str, ...] = ()
    back: tuple[float, ...] = (0.0,)


def strategy_of(config: Mapping[str, Any] | None, *, blue: Fleet, green: Fleet) -> Strategy:
    """Return the strategy of a ``DeploymentConfig``; all at once if there is none.

    Raises:
        ValidationError: the service refuses the configuration.
    """
    if not config:
        return Strategy()
    alarms = _alarms(config)
    bluegreen, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if bluegreen and rolling:
        raise ValidationError("DeploymentConfig: BlueGreenUpdatePolicy and RollingUpdatePolicy cannot be used together")
    if not bluegreen and not rolling:
        if alarms:
            raise ValidationError("DeploymentConfig: AutoRollbackConfiguration needs an update policy")
        return Strategy()
    strategy = _rolling(rolling, alarms, blue, green) if rolling else _blue_green(bluegreen or {}, alarms, blue, green)
    waits_s = strategy.wait_s * (len(strategy.shares) - 1) + strategy.termination_wait_s
    if waits_s >= strategy.limit_s:
        raise ValidationError(
            f"DeploymentConfig: MaximumExecutionTimeoutInSeconds {strategy.limit_s:g} must exceed all waits together, "
            f"{waits_s:g} s"
        )
    return strategy


def _alarms(config: Mapping[str, Any]) -> tuple[str, ...]:
    listed = (config.get("AutoRollbackConfiguration") or {}).get("Alarms") or ()
    return tuple(each["AlarmName"] for each in listed if each.get("AlarmName"))


def _blue_green(policy: Mapping[str, Any], alarms: tuple[str, ...], blue: Fleet, green: Fleet) -> Strategy:
    routing = policy["TrafficRoutingConfiguration"]
    kind, canary, step = routing["Type"], routing.get("CanarySize"), routing.get("LinearStepSize")
    if (kind == _CANARY) is not bool(canary) or (kind == _LINEAR) is not bool(step):
        raise ValidationError(
            "DeploymentConfig: CanarySize belongs to the type CANARY, LinearStepSize to LINEAR, neither to ALL_AT_ONCE"
        )
    if kind != _ALL_AT_ONCE:
        _require_same_variants(blue, green)
    shares: tuple[float, ...] = (1.0,)
    if canary:
        share = _share(canary, blue, name="CanarySize")
        if share > _LARGEST_CANARY:
            raise ValidationError("DeploymentConfig: CanarySize must be at most 50 % of the instances")
        shares = (share, 1.0)
    elif step:
        shares = _in_steps(_limited(step, blue, name="LinearStepSize", limits=_STEPS))
    return Strategy(
        shares=shares,
        wait_s=float(routing["WaitIntervalInSeconds"]),
        termination_wait_s=float(policy.get("TerminationWaitInSeconds") or 0),
        limit_s=float(policy.get("MaximumExecutionTimeoutInSeconds") or _LIMIT_S),
        alarms=alarms,
    )


def _rolling(policy: Mapping[str, Any], alarms: tuple[str, ...], blue: Fleet, green: Fleet) -> Strategy:
    if len(blue.variants) > 1 or len(green.variants) > 1:
        raise ValidationError("DeploymentConfig: RollingUpdatePolicy cannot be used with several variants")
    _require_same_variants(blue, green)
    shares = _in_steps(_limited(policy["MaximumBatchSize"], blue, name="MaximumBatchSize", limits=_BATCHES))
    size = policy.get("RollbackMaximumBatchSize")
    back = _share(size, blue, name="RollbackMaximumBatchSize") if size else 1.0
    wait_s = float(policy["WaitIntervalInSeconds"])
    return Strategy(
        shares=shares,
        wait_s=wait_s,
        termination_wait_s=wait_s,
        limit_s=float(policy.get("MaximumExecutionTimeoutInSeconds") or _LIMIT_S),
        alarms=alarms,
        back=tuple(1 - share for share in _in_steps(back)),
    )


def _require_same_variants(blue: Fleet, green: Fleet) -> None:
    names = [sorted(variant.name for variant in fleet.variants) for fleet in (blue, green)]
    if names[0] != names[1]:
        raise ValidationError(
            f"DeploymentConfig: the new endpoint configuration must have the same variants; it has "
            f"{', '.join(names[1])}, the endpoint has {', '.join(names[0])}"
        )


def _limited(size: Mapping[str, Any], blue: Fleet, *, name: str, limits: tuple[float, float]) -> float:
    share = _share(size, blue, name=name)
    if not limits[0] <= share <= limits[1]:
        raise ValidationError(
            f"DeploymentConfig: {name} must be {limits[0]:.0%} to {limits[1]:.0%} of the instances; it is {share:.0%}"
        )
    return share


def _share(size: Mapping[str, Any], blue: Fleet, *, name: str) -> float:
    value = size["Value"]
    if size["Type"] != _INSTANCES:
        if value > 100:
            raise ValidationError(f"DeploymentConfig: {name} must be at most 100 %; it is {value} %")
        return float(value) / 100
    return min(1.0, float(value) / max(1, blue.instances))


def _in_steps(step: float) -> tuple[float, ...]:
    return tuple(_steps(step))


def _steps(step: float) -> Iterator[float]:
    count = math.ceil(1 / step - 1e-9)
    for number in range(1, count):
        yield round(step * number, 9)
    yield 1.0
