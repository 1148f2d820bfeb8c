"""Deployments: a model version becomes an endpoint of a stage, is tested there, and is replaced or rolled back.

* `settings`: how a model is deployed (``deployments.yaml``); `plan`: what is deployed where, named by its content.
* `states`: the states of a deployment, and what an engine says about an endpoint.
* `target`: what an engine provides, `DeploymentTarget`.
* `driver`: the commands, the same for every engine; `ledger`: what was deployed, and by whom.
* `recording` and `replay`: the deployment test, from requests that are kept with a version (`recorded`).

An engine's plugin imports these names from here. `docs/deployments.md` walks through a deployment.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.deployments.plan import DeploymentPlan, ModelReference, Stage, check_names, endpoint_name
    from mlops_core.deployments.recorded import RecordedRequest, recorded_requests
    from mlops_core.deployments.recording import ensure_requests
    from mlops_core.deployments.settings import DeploymentSettings, Shift, TrafficSettings
    from mlops_core.deployments.states import DeploymentState, EndpointPhase, EndpointStatus
    from mlops_core.deployments.target import DeploymentTarget, EndpointAnswer, EndpointRequest, MonthlyCost
    from mlops_core.workspace.model_versions import ApprovalStatus

_MODULES = {
    "plan": ("ApprovalStatus", "DeploymentPlan", "ModelReference", "Stage", "check_names", "endpoint_name"),
    "recorded": ("RecordedRequest", "recorded_requests"),
    "recording": ("ensure_requests",),
    "settings": ("DeploymentSettings", "Shift", "TrafficSettings"),
    "states": ("DeploymentState", "EndpointPhase", "EndpointStatus"),
    "target": ("DeploymentTarget", "EndpointAnswer", "EndpointRequest", "MonthlyCost"),
}
_ORIGIN = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ApprovalStatus",
    "DeploymentPlan",
    "DeploymentSettings",
    "DeploymentState",
    "DeploymentTarget",
    "EndpointAnswer",
    "EndpointPhase",
    "EndpointRequest",
    "EndpointStatus",
    "ModelReference",
    "MonthlyCost",
    "RecordedRequest",
    "Shift",
    "Stage",
    "TrafficSettings",
    "check_names",
    "endpoint_name",
    "ensure_requests",
    "recorded_requests",
]


def __getattr__(name: str) -> object:
    if name not in _ORIGIN:
        raise AttributeError(f"module 'mlops_core.deployments' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mlops_core.deployments.{_ORIGIN[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
