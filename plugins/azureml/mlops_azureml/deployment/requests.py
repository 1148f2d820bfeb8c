"""The bodies of requests for an endpoint and its deployments, and the same as YAML for ``az ml``.

An endpoint has one deployment for each plan, blue beside green. The name of a plan is longer than the service allows,
so a deployment has a short one, and the plan's name is a tag.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from mlops_azureml.compiler.yaml_text import to_yaml
from mlops_azureml.machines import machines
from mlops_azureml.serving.container import HEALTH_PATH, PORT, SCORING_PATH
from mlops_core.runners.remote.machines import smallest_machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.deployments import DeploymentPlan

Json = Any

CONFIGURATION = "mlops_configuration"
"""Tag of a deployment: the name of its plan."""
_ENDPOINT = re.compile(r"[a-zA-Z](?:[a-zA-Z0-9-]{1,30})[a-zA-Z0-9]\Z")
_LACKING = {
    "autoscaling": "rules of Azure Monitor scale an endpoint; set instances, or add the rules yourself",
    "capture": "data collection is a setting of the service's own server",
    "encryption_key": "it is that of the workspace",
}


def deployment_name(plan: DeploymentPlan) -> str:
    """Return the name of a plan's deployment: a letter and the beginning of a digest of the plan's name.

    Two plans of one endpoint are never equal in it, as the name of a plan follows from its content.
    """
    return f"m{hashlib.sha256(plan.name.encode()).hexdigest()[:15]}"


def setting_faults(plan: DeploymentPlan, *, image: str | None) -> Iterator[str]:
    """Yield what the service does not have, one line each."""
    settings = plan.settings
    if not _ENDPOINT.match(plan.endpoint):
        yield (
            f"endpoint '{plan.endpoint}' is not a valid name here; expected 3 to 32 letters, digits and hyphens, a "
            "letter first: set endpoint in deployments.yaml"
        )
    for name, reason in _LACKING.items():
        if getattr(settings, name):
            yield f"{name}: the runner 'azureml' does not set it: {reason}"
    if settings.network is not None and (settings.network.subnets or settings.network.security_groups):
        yield "network: subnets and security groups are those of the workspace; only is_isolated is supported"
    if settings.alarms.names:
        yield "alarms.names: the runner 'azureml' watches the answers of the model only; remove them"
    if image is None:
        yield (
            "no serving image: build it with mlops package --runner azureml --serve, push it, and set "
            "workspace.serving_image in azureml.yaml, or MLOPS_SERVING_IMAGE"
        )


def instance_type(plan: DeploymentPlan) -> str:
    """Return the cheapest VM size that has what a machine of the plan needs.

    Raises:
        PipelineError: none is large enough.
    """
    return smallest_machine(plan.settings.resources(), machines(), step=str(plan)).name


def endpoint_body(plan: DeploymentPlan, *, location: str, traffic: Mapping[str, int]) -> dict[str, Json]:
    """Return the request that creates an endpoint or moves its traffic.

    Args:
        plan: what is deployed.
        location: region of the workspace.
        traffic: deployment -> share in percent.
    """
    is_isolated = plan.settings.network is not None and plan.settings.network.is_isolated
    return {
        "location": location,
        "identity": {"type": "SystemAssigned"},
        "tags": {"use_case": plan.model.use_case, "stage": str(plan.stage), **plan.settings.tags},
        "properties": {
            "authMode": "Key",
            "description": f"{plan.model.use_case}, {plan.stage}",
            "publicNetworkAccess": "Disabled" if is_isolated else "Enabled",
            "traffic": dict(traffic),
        },
    }


def environment_properties(image: str) -> dict[str, Json]:
    """Return the environment of the serving image, with the routes that the service calls."""
    route = {"path": HEALTH_PATH, "port": PORT}
    return {
        "image": image,
        "isAnonymous": True,
        "inferenceConfig": {
            "livenessRoute": route,
            "readinessRoute": route,
            "scoringRoute": {"path": SCORING_PATH, "port": PORT},
        },
    }


def deployment_body(plan: DeploymentPlan, *, location: str, model: str, environment: str) -> dict[str, Json]:
    """Return the request that creates a plan's deployment.

    Args:
        plan: what is deployed.
        location: region of the workspace.
        model: resource id of the model version.
        environment: resource id of the environment.
    """
    probe = {"initialDelay": "PT10S", "period": "PT10S", "timeout": "PT5S", "successThreshold": 1}
    failures = max(3, round(plan.settings.start_timeout_s / 10))
    return {
        "location": location,
        "sku": {"name": "Default", "capacity": plan.settings.instances},
        "tags": {CONFIGURATION: plan.name, "version": str(plan.model.version), **plan.settings.tags},
        "properties": {
            "endpointComputeType": "Managed",
            "model": model,
            "environmentId": environment,
            "instanceType": instance_type(plan),
            "environmentVariables": {"USECASE_NAME": plan.model.use_case, **plan.settings.environment},
            "requestSettings": {"requestTimeout": "PT1M30S", "maxConcurrentRequestsPerInstance": 8},
            "livenessProbe": {**probe, "failureThreshold": 30},
            "readinessProbe": {**probe, "failureThreshold": failures},
            "scaleSettings": {"scaleType": "Default"},
            "appInsightsEnabled": False,
        },
    }


def endpoint_yaml(plan: DeploymentPlan, *, traffic: Mapping[str, int]) -> str:
    """Return the endpoint as ``az ml online-endpoint create --file`` reads it."""
    data: dict[str, Json] = {
        "$schema": "https://azuremlschemas.azureedge.net/latest/managedOnlineEndpoint.schema.json",
        "name": plan.endpoint,
        "auth_mode": "key",
        "traffic": dict(traffic),
        "tags": {"use_case": plan.model.use_case, "stage": str(plan.stage), **plan.settings.tags},
    }
    return to_yaml(data)


def deployment_yaml(plan: DeploymentPlan, *, model: str, image: str) -> str:
    """Return the deployment as ``az ml online-deployment create --file`` reads it.

    Args:
        plan: what is deployed.
        model: name and version of the registered model, ``azureml:NAME:VERSION``.
        image: the serving image.
    """
    route = {"path": HEALTH_PATH, "port": PORT}
    data: dict[str, Json] = {
        "$schema": "https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json",
        "name": deployment_name(plan),
        "endpoint_name": plan.endpoint,
        "model": model,
        "environment": {
            "image": image,
            "inference_config": {
                "liveness_route": route,
                "readiness_route": route,
                "scoring_route": {"path": SCORING_PATH, "port": PORT},
            },
        },
        "instance_type": instance_type(plan),
        "instance_count": plan.settings.instances,
        "environment_variables": {"USECASE_NAME": plan.model.use_case, **plan.settings.environment},
        "request_settings": {"request_timeout_ms": 90_000, "max_concurrent_requests_per_instance": 8},
        "tags": {CONFIGURATION: plan.name, "version": str(plan.model.version), **plan.settings.tags},
    }
    return to_yaml(data)
