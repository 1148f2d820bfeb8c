"""The operations of models: ``CreateModel`` and its relatives, and how a model names its containers.

A container is spelled out in the request, or is that of a model package, whose environment the request can extend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.protocol.errors import ValidationError
from mlops_sagemaker.emulator.endpoint.protocol.listing import in_order, is_between, page
from mlops_sagemaker.emulator.endpoint.state import StoredResource, now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.endpoint.state import Region

    Request = Mapping[str, Any]
    Response = dict[str, Any]

_NOT_DESCRIBED = ("Tags",)


def create_model(region: Region, request: Request) -> Response:
    """``CreateModel``.

    Raises:
        ValidationError: it exists, names no container or both kinds, or a model package that does not exist.
    """
    name = request["ModelName"]
    arn = region.arn("model", name)
    if name in region.models:
        raise ValidationError(f'Cannot create already existing model "{arn}".')
    if bool(request.get("PrimaryContainer")) is bool(request.get("Containers")):
        raise ValidationError("Exactly one of PrimaryContainer and Containers must be set.")
    for container in _containers(request):
        if "ModelPackageName" in container:
            _package(region, container)
        elif not container.get("Image"):
            raise ValidationError("A container without ModelPackageName must have an Image.")
    region.add_tags(arn, request.get("Tags"))
    kept = {member: value for member, value in request.items() if member not in _NOT_DESCRIBED}
    region.models[name] = StoredResource(name=name, arn=arn, created=now(), request=kept)
    return {"ModelArn": arn}


def describe_model(region: Region, request: Request) -> Response:
    """``DescribeModel``."""
    model = _existing(region, request["ModelName"])
    described = {"EnableNetworkIsolation": False, **model.request}
    return {**described, "ModelArn": model.arn, "CreationTime": model.created}


def delete_model(region: Region, request: Request) -> Response:
    """``DeleteModel``; endpoints that serve it already keep their copy, as in the service."""
    model = _existing(region, request["ModelName"])
    del region.models[model.name]
    region.tags.pop(model.arn, None)
    return {}


def list_models(region: Region, request: Request) -> Response:
    """``ListModels``."""
    matching = [
        model
        for model in region.models.values()
        if request.get("NameContains", "") in model.name
        and is_between(request, model.created, after="CreationTimeAfter", before="CreationTimeBefore")
    ]
    keys = {"Name": lambda model: model.name, "CreationTime": lambda model: model.created}
    ordered = in_order(matching, request, keys=keys, default="CreationTime", is_descending=True)
    listed = [{"ModelName": each.name, "ModelArn": each.arn, "CreationTime": each.created} for each in ordered]
    return page(request, listed, name="Models")


def find_model(region: Region, name: str) -> Mapping[str, Any] | None:
    """Return the container or containers of a model, those of a model package spelled out; None if it does not exist.

    Raises:
        ValidationError: its model package has been deleted since.
    """
    model = region.models.get(name)
    if model is None:
        return None
    containers = [_spelled_out(region, each) for each in _containers(model.request)]
    return {"PrimaryContainer": containers[0]} if len(containers) == 1 else {"Containers": containers}


def _existing(region: Region, name: str) -> StoredResource:
    model = region.models.get(name)
    if model is None:
        raise ValidationError(f'Could not find model "{region.arn("model", name)}".')
    return model


def _containers(request: Request) -> list[Mapping[str, Any]]:
    primary = request.get("PrimaryContainer")
    return [primary] if primary else list(request.get("Containers") or ())


def _package(region: Region, container: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the container of the model package that a container names.

    Raises:
        ValidationError: the package does not exist, or has not exactly one container.
    """
    name = str(container["ModelPackageName"])
    package = region.packages.get(name if name.startswith("arn:") else region.arn("model-package", name.lower()))
    if package is None:
        raise ValidationError(f"ModelPackage {name} does not exist.")
    containers = list((package.get("InferenceSpecification") or {}).get("Containers") or [])
    if len(containers) != 1:
        raise ValidationError(f"ModelPackage {name} has {len(containers)} containers; supported here: 1.")
    inner: Mapping[str, Any] = containers[0]
    return inner


def _spelled_out(region: Region, container: Mapping[str, Any]) -> Mapping[str, Any]:
    if "ModelPackageName" not in container:
        return dict(container)
    inner = _package(region, container)
    environment = {**(inner.get("Environment") or {}), **(container.get("Environment") or {})}
    return {**inner, "Environment": environment}
