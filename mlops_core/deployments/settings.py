"""How a model is deployed: the file ``deployments.yaml``, with one section for each stage.

Every setting is optional and neutral: an engine maps it to its own, or refuses it by name before anything is created
(`DeploymentTarget.faults`). The file is loaded like every configuration, so errors name the line.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import pydantic

from mlops_core.config import KeyFaultError, Section, UseCaseConfig
from mlops_core.pipeline.resources import Resources

SETTINGS_FILE = "deployments.yaml"
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class Shift(StrEnum):
    """How traffic moves from the old model to the new one."""

    ALL_AT_ONCE = "all-at-once"
    CANARY = "canary"
    LINEAR = "linear"


class TrafficSettings(Section):
    """How traffic moves.

    Attributes:
        shift: ``all-at-once``; ``canary``: a first share, then the rest; ``linear``: in equal steps.
        percent: the share of a canary (at most 50), or the size of a linear step.
        interval_s: time between two steps, in which alarms are watched.
        bake_s: time after the last step in which alarms are watched and the old model is kept.
    """

    shift: Shift = Shift.ALL_AT_ONCE
    percent: Annotated[int, pydantic.Field(ge=1, le=50)] = 10
    interval_s: Annotated[float, pydantic.Field(ge=0, le=3600)] = 60
    bake_s: Annotated[float, pydantic.Field(ge=0, le=3600)] = 60

    def shares(self) -> tuple[int, ...]:
        """Return the percentage of the traffic that the new model has after each step; the last is 100.

        Example:
            >>> TrafficSettings(shift=Shift.LINEAR, percent=40).shares()
            (40, 80, 100)
        """
        if self.shift is Shift.ALL_AT_ONCE:
            return (100,)
        if self.shift is Shift.CANARY:
            return (self.percent, 100)
        return (*range(self.percent, 100, self.percent), 100)


class AlarmSettings(Section):
    """What ends a deployment and brings the old model back, judged on the answers of the new model only.

    Attributes:
        max_error_rate: share of requests that the model fails to answer (5xx); None not to watch.
        max_p99_ms: 99th percentile of the time that an answer takes; None not to watch.
        refuses_constant_answers: whether equal answers to different requests are an alarm, and a fault in the test.
        min_requests: number of requests to the new model before a rate, a percentile or equality is judged.
        names: further alarms, which exist at the engine.
    """

    max_error_rate: Share | None = 0.01
    max_p99_ms: Positive | None = None
    refuses_constant_answers: bool = True
    min_requests: Annotated[int, pydantic.Field(ge=1, le=100_000)] = 20
    names: tuple[str, ...] = ()


class AutoscalingSettings(Section):
    """Between which numbers of machines an endpoint scales.

    Attributes:
        min_instances: at least.
        max_instances: at most.
        requests_per_minute: of each machine, which scaling aims at.
        scale_in_cooldown_s: time between two reductions.
        scale_out_cooldown_s: time between two extensions.
    """

    min_instances: Annotated[int, pydantic.Field(ge=1)] = 1
    max_instances: Annotated[int, pydantic.Field(ge=1)]
    requests_per_minute: Positive
    scale_in_cooldown_s: Annotated[int, pydantic.Field(ge=0)] = 300
    scale_out_cooldown_s: Annotated[int, pydantic.Field(ge=0)] = 300

    @pydantic.model_validator(mode="after")
    def _check_order(self) -> AutoscalingSettings:
        if self.max_instances < self.min_instances:
            raise KeyFaultError("max_instances", f"is less than min_instances ({self.min_instances})")
        return self


class CaptureSettings(Section):
    """Which requests are written down, with their answers.

    Attributes:
        to: folder or address.
        percent: share of the requests.
    """

    to: Annotated[str, pydantic.StringConstraints(min_length=1)]
    percent: Annotated[int, pydantic.Field(ge=1, le=100)] = 100


class NetworkSettings(Section):
    """The network in which an endpoint's machines are.

    Attributes:
        subnets: their ids.
        security_groups: their ids.
        is_isolated: the machines reach no other network.
    """

    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    is_isolated: bool = False


class ReplaySettings(Section):
    """What the deployment test expects of an endpoint that answers the recorded requests.

    Attributes:
        tolerance: the most that a score, a box or a number may differ from the recorded one.
        max_p99_ms: 99th percentile of the time that an answer may take; None for no limit.
    """

    tolerance: NotNegative = 1e-3
    max_p99_ms: Positive | None = None


class DeploymentSettings(Section):
    """How a model is deployed to one stage.

    Attributes:
        endpoint: name of the endpoint; derived from use case and stage where it is empty.
        instances: number of machines; with `autoscaling`, at the start.
        cpus: processor cores of each.
        memory_gb: main memory of each, in GB.
        gpus: accelerators of each.
        start_timeout_s: time in which a new machine must become ready.
        timeout_s: time that the whole deployment may take; it must exceed all waits together.
        traffic: how traffic moves to the new model.
        alarms: what brings the old model back.
        replay: what the deployment test expects.
        autoscaling: None for a fixed number of machines.
        capture: None to capture no requests.
        network: None for the engine's default.
        encryption_key: name or address of the key that encrypts disks and captured requests; empty for none.
        tags: further tags of everything that is created.
        environment: environment variables of the server.
        max_monthly_cost: in US dollars; a deployment whose estimate is higher is refused.
    """

    endpoint: str = ""
    instances: Annotated[int, pydantic.Field(ge=1, le=1000)] = 1
    cpus: Positive = 2
    memory_gb: Positive = 4
    gpus: Annotated[int, pydantic.Field(ge=0)] = 0
    start_timeout_s: Annotated[float, pydantic.Field(ge=1, le=3600)] = 240
    timeout_s: Annotated[float, pydantic.Field(ge=1, le=28_800)] = 3600
    traffic: TrafficSettings = TrafficSettings()
    alarms: AlarmSettings = AlarmSettings()
    replay: ReplaySettings = ReplaySettings()
    autoscaling: AutoscalingSettings | None = None
    capture: CaptureSettings | None = None
    network: NetworkSettings | None = None
    encryption_key: str = ""
    tags: dict[str, str] = pydantic.Field(default_factory=dict)
    environment: dict[str, str] = pydantic.Field(default_factory=dict)
    max_monthly_cost: NotNegative | None = None

    @pydantic.model_validator(mode="after")
    def _check_time(self) -> DeploymentSettings:
        traffic = self.traffic
        waits = traffic.interval_s * (len(traffic.shares()) - 1) + traffic.bake_s
        if self.timeout_s <= waits:
            raise KeyFaultError("timeout_s", f"must exceed the waits of the shift and the baking ({waits:g} s)")
        return self

    def resources(self) -> Resources:
        """Return what each machine must have."""
        return Resources(cpus=self.cpus, memory_gb=self.memory_gb, gpus=self.gpus)


class DeploymentsFile(UseCaseConfig):
    """The content of ``deployments.yaml``.

    Attributes:
        staging: where a version is tested before somebody approves it.
        production: where an approved version answers.
    """

    staging: DeploymentSettings = DeploymentSettings()
    production: DeploymentSettings = DeploymentSettings(traffic=TrafficSettings(shift=Shift.CANARY))

    @pydantic.field_validator("production", mode="before")
    @classmethod
    def _keep_the_canary(cls, value: object) -> object:
        """Let a section that sets other values of the traffic keep production's shift."""
        traffic = value.get("traffic", {}) if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(traffic, dict):
            return value
        return {**value, "traffic": {"shift": Shift.CANARY, **traffic}}

    @pydantic.model_validator(mode="after")
    def _check_sections(self) -> DeploymentsFile:
        if "gate" in self.model_fields_set:
            raise KeyFaultError("gate", f"is not a section of {SETTINGS_FILE}; sections: staging, production")
        return self
