"""The models and endpoint configurations that moto keeps, read without a request to this endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.sagemaker.models import sagemaker_backends

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_sagemaker.emulator.endpoint.state import Region


def find_model(region: Region, name: str) -> Mapping[str, Any] | None:
    """Return the container or containers of a model, as ``CreateModel`` got them; None if it does not exist."""
    model = sagemaker_backends[region.account][region.name]._models.get(name)  # noqa: SLF001  moto has no accessor
    if model is None:
        return None
    several = {"Containers": list(model.containers)} if model.containers else {}
    return {"PrimaryContainer": dict(model.primary_container)} if model.primary_container else several


def find_variants(region: Region, configuration: str) -> Sequence[Mapping[str, Any]] | None:
    """Return the production variants of an endpoint configuration; None if it does not exist."""
    config = sagemaker_backends[region.account][region.name].endpoint_configs.get(configuration)
    return None if config is None else tuple(dict(each) for each in config.production_variants)
