"""The operations of endpoint configurations, which never change; what an endpoint could not do is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_core.runners import RunnerError
from mlops_sagemaker.emulator.endpoint.inference.models import find_model
from mlops_sagemaker.emulator.endpoint.protocol.errors import UnsupportedError, ValidationError
from mlops_sagemaker.emulator.endpoint.protocol.listing import in_order, is_between, page
from mlops_sagemaker.emulator.endpoint.state import StoredResource, now
from mlops_sagemaker.emulator.jobs.models import model_problems
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlops_sagemaker.emulator.endpoint.state import Region

    Request = Mapping[str, Any]
    Response = dict[str, Any]

_REFUSED = ("ExplainerConfig", "CrossRegionTrafficConfig")
_REFUSED_OF_VARIANT = (
    *("ServerlessConfig", "CoreDumpConfig", "InferenceAmiVersion", "CapacityReservationConfig", "AcceleratorType"),
    *("InstancePools", "ManagedInstanceScaling"),
)
_NOT_DESCRIBED = ("Tags",)


def create_configuration(region: Region, request: Request) -> Response:
    """``CreateEndpointConfig``.

    Raises:
        ValidationError: it exists, a model does not, or the variants contradict each other.
        UnsupportedError: it asks for what endpoints here cannot do.
    """
    name = request["EndpointConfigName"]
    arn = region.arn("endpoint-config", name.lower())
    if name in region.configurations:
        raise ValidationError(f'Cannot create already existing endpoint configuration "{arn}".')
    for member in _REFUSED:
        if request.get(member):
            raise UnsupportedError(f"CreateEndpointConfig with {member} is not supported by this endpoint.")
    production, shadows = request["ProductionVariants"], request.get("ShadowProductionVariants") or []
    if shadows and (len(shadows), len(production)) != (1, 1):
        raise ValidationError("ShadowProductionVariants needs exactly one shadow and one production variant.")
    names = [variant["VariantName"] for variant in (*production, *shadows)]
    for each in names:
        if names.count(each) > 1:
            raise ValidationError(f"Variant name {each} is used more than once.")
    for variant in (*production, *shadows):
        for error in _problems(region, variant):
            raise error
    if not sum(variant.get("InitialVariantWeight", 1.0) for variant in production):
        raise ValidationError("The weights of the production variants must not all be 0.")
    _check_places(request)
    region.add_tags(arn, request.get("Tags"))
    kept = {member: value for member, value in request.items() if member not in _NOT_DESCRIBED}
    region.configurations[name] = StoredResource(name=name, arn=arn, created=now(), request=kept)
    return {"EndpointConfigArn": arn}


def _problems(region: Region, variant: Mapping[str, Any]) -> Iterator[ValidationError | UnsupportedError]:
    name, model = variant["VariantName"], variant.get("ModelName")
    for member in _REFUSED_OF_VARIANT:
        if variant.get(member):
            yield UnsupportedError(f"Production variant {name}: {member} is not supported by this endpoint.")
    if not model:
        yield UnsupportedError(f"Production variant {name} without ModelName is not supported by this endpoint.")
        return
    request = find_model(region, model)
    if request is None:
        yield ValidationError(f'Could not find model "{region.arn("model", model)}".')
        return
    if "InstanceType" not in variant or not variant.get("InitialInstanceCount"):
        yield ValidationError(f"Production variant {name} needs InstanceType and InitialInstanceCount.")
    for problem in model_problems(request):
        yield ValidationError(f"Production variant {name}: model '{model}': {problem}")


def _check_places(request: Request) -> None:
    """Raise for a place in S3 that is not one.

    Raises:
        ValidationError: names it.
    """
    output = (request.get("AsyncInferenceConfig") or {}).get("OutputConfig") or {}
    capture = request.get("DataCaptureConfig") or {}
    places = (capture.get("DestinationS3Uri"), output.get("S3OutputPath"), output.get("S3FailurePath"))
    try:
        for place in filter(None, places):
            S3Uri.parse(place)
    except RunnerError as error:
        raise ValidationError(str(error)) from error


def describe_configuration(region: Region, request: Request) -> Response:
    """``DescribeEndpointConfig``."""
    configuration = existing_configuration(region, request["EndpointConfigName"])
    described = {"EndpointConfigArn": configuration.arn, "CreationTime": configuration.created}
    return {**configuration.request, **described}


def list_configurations(region: Region, request: Request) -> Response:
    """``ListEndpointConfigs``."""
    matching = [
        each
        for each in region.configurations.values()
        if request.get("NameContains", "") in each.name
        and is_between(request, each.created, after="CreationTimeAfter", before="CreationTimeBefore")
    ]
    keys = {"Name": lambda each: each.name, "CreationTime": lambda each: each.created}
    ordered = in_order(matching, request, keys=keys, default="CreationTime", is_descending=True)
    listed = [
        {"EndpointConfigName": each.name, "EndpointConfigArn": each.arn, "CreationTime": each.created}
        for each in ordered
    ]
    return page(request, listed, name="EndpointConfigs")


def delete_configuration(region: Region, request: Request, *, is_used: Callable[[Region, str], bool]) -> Response:
    """``DeleteEndpointConfig``.

    Raises:
        ValidationError: it does not exist, or an endpoint uses it or is being updated to it.
    """
    configuration = existing_configuration(region, request["EndpointConfigName"])
    if is_used(region, configuration.name):
        raise ValidationError(f'Cannot delete endpoint configuration "{configuration.arn}" that an endpoint uses.')
    del region.configurations[configuration.name]
    region.tags.pop(configuration.arn, None)
    return {}


def existing_configuration(region: Region, name: str) -> StoredResource:
    """Return an endpoint configuration.

    Raises:
        ValidationError: it does not exist.
    """
    configuration = region.configurations.get(name)
    if configuration is None:
        where = region.arn("endpoint-config", name.lower())
        raise ValidationError(f'Could not find endpoint configuration "{where}".')
    return configuration
