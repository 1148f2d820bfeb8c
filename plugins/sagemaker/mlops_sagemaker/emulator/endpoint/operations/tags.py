"""The operations for tags, of the resources of the endpoint and of those that moto keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.sagemaker.models import sagemaker_backends

from mlops_sagemaker.emulator.endpoint.protocol.errors import ValidationError
from mlops_sagemaker.emulator.endpoint.protocol.listing import page
from mlops_sagemaker.emulator.endpoint.state import merged_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_sagemaker.emulator.endpoint.state import Region

    Request = Mapping[str, Any]
    Response = dict[str, Any]
    IsEndpoint = Callable[[Region, str], bool]
    """Returns whether an ARN is that of an endpoint."""


def add_tags(region: Region, request: Request, *, is_endpoint: IsEndpoint) -> Response:
    """``AddTags``: a tag replaces one with the same key."""
    arn = request["ResourceArn"]
    tags = merged_tags(arn, _tags(region, arn, is_endpoint), request["Tags"])
    _keep(region, arn, tags, is_endpoint)
    return {"Tags": _listed(tags)}


def delete_tags(region: Region, request: Request, *, is_endpoint: IsEndpoint) -> Response:
    """``DeleteTags``; keys that the resource does not have are ignored."""
    arn = request["ResourceArn"]
    tags = {key: value for key, value in _tags(region, arn, is_endpoint).items() if key not in request["TagKeys"]}
    _keep(region, arn, tags, is_endpoint)
    return {}


def list_tags(region: Region, request: Request, *, is_endpoint: IsEndpoint) -> Response:
    """``ListTags``."""
    return page(request, _listed(_tags(region, request["ResourceArn"], is_endpoint)), name="Tags")


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tags(region: Region, arn: str, is_endpoint: IsEndpoint) -> dict[str, str]:
    """Return the tags of a resource.

    Raises:
        ValidationError: there is no such resource.
    """
    if _is_own(region, arn) or is_endpoint(region, arn):
        return region.tags.get(arn, {})
    resource = _of_moto(region, arn)
    if resource is None:
        raise ValidationError(f"The resource {arn} does not exist.")
    return {tag["Key"]: tag["Value"] for tag in resource.tags or ()}


def _keep(region: Region, arn: str, tags: dict[str, str], is_endpoint: IsEndpoint) -> None:
    if _is_own(region, arn) or is_endpoint(region, arn):
        region.tags[arn] = tags
    else:
        _of_moto(region, arn).tags = _listed(tags)


def _is_own(region: Region, arn: str) -> bool:
    return (
        any(arn == pipeline.arn or arn in pipeline.executions for pipeline in region.pipelines.values())
        or any(arn == group.arn for group in region.groups.values())
        or arn in region.packages
        or any(arn == each.arn for each in (*region.models.values(), *region.configurations.values()))
        or any(arn == job.properties[f"{job.kind}JobArn"] for job in region.jobs.values())
    )


def _of_moto(region: Region, arn: str) -> Any:
    """Return a resource that moto keeps, for example an experiment; None if there is none."""
    backend = sagemaker_backends[region.account][region.name]
    places = (
        backend.experiments,
        backend.trials,
        backend.trial_components,
    )
    resources = (resource for place in places for resource in place.values())
    return next((resource for resource in resources if getattr(resource, "arn", None) == arn), None)
