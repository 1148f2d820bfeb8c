"""Deployments: how an endpoint changes from one fleet to another, in a thread of its own.

The new fleet is started beside the old one and gets its share of the traffic step by step. While it bakes, the alarms
are watched: one of them, a fleet that does not start, or the time limit rolls the deployment back. Requests are
answered by one of the two at any moment.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.state import now
from mlops_sagemaker.emulator.faults import StepStopped

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from mlops_sagemaker.emulator.endpoint.inference.fleets import Fleet
    from mlops_sagemaker.emulator.endpoint.inference.strategies import Strategy

_POLL_S = 0.05


@dataclass(slots=True, kw_only=True)
class Deployment:
    """A deployment that is under way.

    Attributes:
        green: the new fleet.
        stage: status of its variants, a term of the service.
        message: text for the stage.
        started: when it began.
        since: when the stage began.
    """

    green: Fleet
    strategy: Strategy
    config: Mapping[str, Any] | None
    stage: str = "Creating"
    message: str = ""
    started: dt.datetime = field(default_factory=now)
    since: dt.datetime = field(default_factory=now)


class RolledBackError(Exception):
    """A deployment must be rolled back; the text is the failure reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a deployment needs from its endpoint.

    Attributes:
        start: starts a fleet; returns why that failed, empty if it is ready.
        shift: gives the new fleet a share of the traffic.
        announce: notes a new stage with its message.
        alarming: returns the alarms that are or were in alarm since a moment of `time.time`.
        time_scale: factor for all waits and limits.
    """

    start: Callable[[Fleet], str]
    shift: Callable[[float], None]
    announce: Callable[[str, str], None]
    alarming: Callable[[tuple[str, ...], float], list[str]]
    time_scale: float


def carry_out(deployment: Deployment, around: Surroundings) -> None:
    """Start the new fleet and give it all traffic.

    Raises:
        RolledBackError: the deployment failed; the new fleet may still have traffic.
        StepStopped: the endpoint was stopped.
    """
    strategy, begun = deployment.strategy, time.time()
    deadline = time.monotonic() + strategy.limit_s * around.time_scale
    around.announce("Creating", "")
    failure = around.start(deployment.green)
    if failure:
        raise RolledBackError(failure)
    _require_quiet(deployment, around, begun)
    for number, share in enumerate(strategy.shares, start=1):
        around.announce("ActivatingTraffic", f"Shifting {share:.0%} of the traffic")
        around.shift(share)
        is_last = number == len(strategy.shares)
        wait_s = strategy.termination_wait_s if is_last else strategy.wait_s
        what = "TerminationWaitInSeconds" if is_last else "WaitIntervalInSeconds"
        if wait_s:
            around.announce("Baking", f"Baking for {what} ({wait_s:g} seconds)")
        _bake(deployment, around, begun=begun, wait_s=wait_s * around.time_scale, deadline=deadline)


def _bake(deployment: Deployment, around: Surroundings, *, begun: float, wait_s: float, deadline: float) -> None:
    end = time.monotonic() + wait_s
    while True:
        _require_quiet(deployment, around, begun)
        moment = time.monotonic()
        if moment >= deadline:
            raise RolledBackError("The deployment exceeded MaximumExecutionTimeoutInSeconds")
        if moment >= end:
            return
        if deployment.green.stopped.wait(min(_POLL_S, end - moment)):
            raise StepStopped


def _require_quiet(deployment: Deployment, around: Surroundings, begun: float) -> None:
    alarms = around.alarming(deployment.strategy.alarms, begun) if deployment.strategy.alarms else []
    if alarms:
        raise RolledBackError(
            f"One or more configured alarm(s) for endpoint deployment went into alarm: {', '.join(alarms)}"
        )
