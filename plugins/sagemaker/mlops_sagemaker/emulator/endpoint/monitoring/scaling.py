"""The scalable targets and scaling policies of Application Auto Scaling for variants of endpoints, which moto keeps.

A target must be a variant of an endpoint, and a policy must have a target. Numbers of instances do not change with the
load here: a variant has one process, whatever its number of instances.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse

from mlops_sagemaker.emulator.endpoint.protocol.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_sagemaker.emulator.endpoint.inference.fleets import Fleet, Variant
    from mlops_sagemaker.emulator.endpoint.state import Region

    FindVariant = Callable[[str, str, str], Variant | None]
    """Returns the variant of a region, an endpoint and a name."""

_NAMESPACE = "sagemaker"
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)\Z")
_TRACKING = "TargetTrackingScaling"
_METRIC = "SageMakerVariantInvocationsPerInstance"


class ScalableVariants:
    """Operations of moto's Application Auto Scaling that are replaced from `install` to `remove`."""

    def __init__(self) -> None:
        """Replace nothing yet."""
        self._former: dict[str, Any] = {}

    def install(self, find_variant: FindVariant) -> None:
        """Install the operations."""
        former = {name: getattr(ApplicationAutoScalingResponse, name) for name in _REPLACED}
        self._former = former

        def register_scalable_target(response: Any) -> Any:
            if _is_of_variants(response):
                _require_target(response, find_variant)
            return former["register_scalable_target"](response)

        def deregister_scalable_target(response: Any) -> Any:
            answer = former["deregister_scalable_target"](response)
            _forget_policies(response.current_account, response.region, _parameter(response, "ResourceId"))
            return answer

        def put_scaling_policy(response: Any) -> Any:
            if _is_of_variants(response):
                _require_policy(response)
            return former["put_scaling_policy"](response)

        for method in (register_scalable_target, deregister_scalable_target, put_scaling_policy):
            setattr(ApplicationAutoScalingResponse, method.__name__, method)

    def remove(self) -> None:
        """Restore the operations of moto."""
        for name, method in self._former.items():
            setattr(ApplicationAutoScalingResponse, name, method)
        self._former = {}


_REPLACED = ("register_scalable_target", "deregister_scalable_target", "put_scaling_policy")


def scaled_variants(region: Region, endpoint: str) -> dict[str, tuple[int, int]]:
    """Return the variants of an endpoint that scale, with their smallest and largest number of instances."""
    targets = applicationautoscaling_backends[region.account][region.name].targets.get(_DIMENSION, {})
    matches = ((_RESOURCE.match(name), target) for name, target in targets.items())
    return {
        match[2]: (int(target.min_capacity or 0), int(target.max_capacity or 0))
        for match, target in matches
        if match and match[1] == endpoint
    }


def require_unscaled(region: Region, endpoint: str, *, before: Fleet, after: Fleet) -> None:
    """Raise for an update that removes a variant that scales, or changes its instance type.

    Raises:
        ValidationError: names the variants.
    """
    types = {variant.name: variant.instance_type for variant in after.variants}
    former = {variant.name: variant.instance_type for variant in before.variants}
    changed = [each for each in scaled_variants(region, endpoint) if types.get(each) != former.get(each)]
    if changed:
        raise ValidationError(
            f'The variant(s) "{", ".join(changed)}" must be deregistered as scalable targets with AWS Auto Scaling '
            "before they can be removed or have their instance type updated."
        )


def forget_targets(region: Region, endpoint: str) -> None:
    """Remove the targets and policies of a deleted endpoint."""
    targets = applicationautoscaling_backends[region.account][region.name].targets.get(_DIMENSION, {})
    for variant in scaled_variants(region, endpoint):
        name = f"endpoint/{endpoint}/variant/{variant}"
        targets.pop(name, None)
        _forget_policies(region.account, region.name, name)


def _forget_policies(account: str, region: str, resource: str) -> None:
    policies = applicationautoscaling_backends[account][region].policies
    for key in [key for key, policy in policies.items() if policy.resource_id == resource]:
        del policies[key]


def _is_of_variants(response: Any) -> bool:
    return bool(_parameter(response, "ServiceNamespace") == _NAMESPACE)


def _require_target(response: Any, find_variant: FindVariant) -> None:
    resource = str(_parameter(response, "ResourceId"))
    match = _RESOURCE.match(resource)
    variant = find_variant(response.region, match[1], match[2]) if match else None
    if variant is None or _parameter(response, "ScalableDimension") != _DIMENSION:
        raise AWSValidationException(f"SageMaker variant not found: {resource}")
    low, high = _parameter(response, "MinCapacity"), _parameter(response, "MaxCapacity")
    if (low is None or high is None) and not _has_target(response, resource):
        raise AWSValidationException(f"{resource}: MinCapacity and MaxCapacity must be set")
    if low is not None and high is not None and int(low) > int(high):
        raise AWSValidationException("Maximum capacity cannot be less than minimum capacity")


def _require_policy(response: Any) -> None:
    resource = str(_parameter(response, "ResourceId"))
    if not _has_target(response, resource):
        raise AWSValidationException(f"No scalable target registered for {resource}")
    tracking: Mapping[str, Any] | None = _parameter(response, "TargetTrackingScalingPolicyConfiguration")
    if _parameter(response, "PolicyType") != _TRACKING or not tracking:
        raise AWSValidationException(f"{resource}: only the policy type {_TRACKING} is supported by this endpoint")
    metric = (tracking.get("PredefinedMetricSpecification") or {}).get("PredefinedMetricType")
    if metric != _METRIC:
        raise AWSValidationException(f"{resource}: only the metric {_METRIC} is supported by this endpoint")


def _has_target(response: Any, resource: str) -> bool:
    backend = applicationautoscaling_backends[response.current_account][response.region]
    return resource in backend.targets.get(_DIMENSION, {})


def _parameter(response: Any, name: str) -> Any:
    """Return a parameter of the request, as moto's own methods read it."""
    return response._get_param(name)  # noqa: SLF001  moto has no public accessor
