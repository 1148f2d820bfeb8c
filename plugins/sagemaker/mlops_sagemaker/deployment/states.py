"""What the service says about an endpoint, as core knows it.

A deployment that the service has finished still has to be finished by us: scaling, tags, old alarms. The last thing
written is the tag `CONFIGURATION_TAG` of the endpoint, so an endpoint whose tag is not that of its configuration is
still baking. Endpoints that were not made by us have no such tag and no such configuration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_core.deployments import EndpointPhase, EndpointStatus
from mlops_core.runners import RunnerError
from mlops_sagemaker.deployment.requests import CONFIGURATION_TAG, NO_CONFIGURATION
from mlops_sagemaker.deployment.versions import is_missing

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from mlops_sagemaker.service.account import Account

_UPDATING = ("Updating", "SystemUpdating")
_PHASES = {
    "InService": EndpointPhase.IN_SERVICE,
    "Deleting": EndpointPhase.DELETING,
    "Failed": EndpointPhase.FAILED,
    "OutOfService": EndpointPhase.FAILED,
    "UpdateRollbackFailed": EndpointPhase.FAILED,
}
_WHOLE = 100
_OURS = re.compile(r"-[0-9a-f]{12}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEndpoint:
    """An endpoint as it was described.

    Attributes:
        description: the response of ``DescribeEndpoint``; empty if there is no such endpoint.
        tags: its tags.
    """

    name: str
    description: Mapping[str, Any]
    tags: Mapping[str, str]

    @property
    def exists(self) -> bool:
        """Whether there is an endpoint."""
        return bool(self.description)

    @property
    def configuration(self) -> str:
        """Name of its endpoint configuration: the old one during an update."""
        return str(self.description.get("EndpointConfigName", ""))

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.description["EndpointArn"])

    @property
    def in_service_since(self) -> dt.datetime:
        """When it was changed last."""
        moment: dt.datetime = self.description["LastModifiedTime"]
        return moment

    @property
    def state(self) -> str:
        """Status in the words of the service."""
        return str(self.description.get("EndpointStatus", ""))

    @property
    def is_finished(self) -> bool:
        """Whether nothing has to be done after the service has finished."""
        is_ours = bool(_OURS.search(self.configuration)) and self.configuration.startswith(f"{self.name}-")
        return not is_ours or self.tags.get(CONFIGURATION_TAG) == self.configuration

    @property
    def is_first(self) -> bool:
        """Whether we created it, and no configuration was in service before this one."""
        return self.tags.get(CONFIGURATION_TAG) == NO_CONFIGURATION

    @property
    def former(self) -> str:
        """Name of the configuration that we finished last; empty if there is none."""
        tag = self.tags.get(CONFIGURATION_TAG, "")
        return "" if tag == NO_CONFIGURATION else tag


def look(account: Account, endpoint: str) -> SeenEndpoint:
    """Return an endpoint as it is now.

    Raises:
        RunnerError: the service refuses.
    """
    try:
        description = account.call("sagemaker", "describe_endpoint", EndpointName=endpoint)
        listed = list(account.pages("sagemaker", "list_tags", "Tags", ResourceArn=description["EndpointArn"]))
    except RunnerError as error:
        if is_missing(error):
            return SeenEndpoint(name=endpoint, description={}, tags={})
        raise
    return SeenEndpoint(name=endpoint, description=description, tags={each["Key"]: each["Value"] for each in listed})


def status_of(seen: SeenEndpoint, *, region: str) -> EndpointStatus:
    """Return the status of an endpoint."""
    if not seen.exists:
        return EndpointStatus(endpoint=seen.name, phase=EndpointPhase.ABSENT)
    base = EndpointStatus(
        endpoint=seen.name,
        phase=_PHASES.get(seen.state, EndpointPhase.STARTING),
        configuration=seen.configuration,
        reason=" ".join(str(seen.description.get("FailureReason", "")).split()),
        address=f"https://runtime.sagemaker.{region}.amazonaws.com/endpoints/{seen.name}/invocations",
    )
    if seen.state in _UPDATING or seen.state == "RollingBack":
        return _changing(base, seen)
    if seen.state == "Creating":
        return replace(base, configuration="", pending=seen.configuration)
    if seen.state == "InService" and not seen.is_finished:
        return replace(
            base,
            phase=EndpointPhase.BAKING,
            configuration=seen.former,
            pending=seen.configuration,
            pending_percent=_WHOLE,
        )
    return base


def _changing(base: EndpointStatus, seen: SeenEndpoint) -> EndpointStatus:
    pending = seen.description.get("PendingDeploymentSummary") or {}
    variants = pending.get("ProductionVariants") or [{}]
    stages = [each["Status"] for each in variants[0].get("VariantStatus") or ()]
    desired, current = (float(variants[0].get(name) or 0) for name in ("DesiredWeight", "CurrentWeight"))
    percent = round(_WHOLE * min(1.0, current / desired)) if desired else 0
    phase = EndpointPhase.STARTING
    if seen.state == "RollingBack":
        phase = EndpointPhase.ROLLING_BACK
    elif percent >= _WHOLE or "Deleting" in stages:  # the old fleet is deleted last
        phase = EndpointPhase.BAKING
    elif percent or "Baking" in stages or "ActivatingTraffic" in stages:
        phase = EndpointPhase.SHIFTING
    name = str(pending.get("EndpointConfigName", ""))
    return replace(base, phase=phase, pending=name, pending_percent=percent)
