"""What ``DescribeEndpoint`` says about an endpoint and its deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.state import present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.endpoint.inference.deployments import Deployment
    from mlops_sagemaker.emulator.endpoint.inference.endpoints import HostedEndpoint
    from mlops_sagemaker.emulator.endpoint.inference.fleets import Fleet, Variant

    Response = dict[str, Any]


def summary(endpoint: HostedEndpoint) -> Response:
    """Return an endpoint as ``ListEndpoints`` lists it."""
    return {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.created,
        "LastModifiedTime": endpoint.modified,
    }


def described(endpoint: HostedEndpoint) -> Response:
    """Return the response of ``DescribeEndpoint``; call it with the lock of the endpoint."""
    fleet = endpoint.fleet
    response = {
        **summary(endpoint),
        "EndpointConfigName": fleet.configuration.name,
        "FailureReason": endpoint.failure,
        "LastDeploymentConfig": endpoint.last_config,
        "DataCaptureConfig": _capture(fleet.section("DataCaptureConfig"), status=endpoint.status),
        "AsyncInferenceConfig": fleet.section("AsyncInferenceConfig") or None,
        "PendingDeploymentSummary": _pending(endpoint.deployment) if endpoint.deployment else None,
        "ShadowProductionVariants": [_variant(each, fleet) for each in fleet.shadows] or None,
    }
    return present(response) | {"ProductionVariants": [_variant(each, fleet) for each in fleet.variants]}


def _variant(variant: Variant, fleet: Fleet) -> Response:
    response: Response = {
        "VariantName": variant.name,
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.weight,
        "CurrentInstanceCount": variant.instances,
        "DesiredInstanceCount": variant.instances,
    }
    if variant.image:
        image = {"SpecifiedImage": variant.image, "ResolvedImage": variant.image}
        response["DeployedImages"] = [{**image, "ResolutionTime": fleet.configuration.created}]
    return response


def _pending(deployment: Deployment) -> Response:
    status = present({"Status": deployment.stage, "StatusMessage": deployment.message, "StartTime": deployment.since})
    variants = []
    for variant in deployment.green.variants:
        weight = variant.weight * deployment.green.share
        variants.append(
            {
                **_variant(variant, deployment.green),
                "CurrentWeight": weight,
                "InstanceType": variant.instance_type,
                "VariantStatus": [status],
            }
        )
    return {
        "EndpointConfigName": deployment.green.configuration.name,
        "ProductionVariants": variants,
        "StartTime": deployment.started,
    }


def _capture(settings: Mapping[str, Any], *, status: str) -> Response | None:
    if not settings:
        return None
    is_enabled = bool(settings.get("EnableCapture"))
    return present(
        {
            "EnableCapture": is_enabled,
            "CaptureStatus": "Started" if is_enabled and status != "Creating" else "Stopped",
            "CurrentSamplingPercentage": settings["InitialSamplingPercentage"],
            "DestinationS3Uri": settings["DestinationS3Uri"],
            "KmsKeyId": settings.get("KmsKeyId"),
        }
    )
