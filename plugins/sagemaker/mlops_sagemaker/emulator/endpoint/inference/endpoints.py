"""The endpoints of ``CreateEndpoint``: a process of the serving image per variant, on the loopback interface.

An endpoint is ``InService`` when ``/ping`` of each of its variants has answered 200, and ``Failed`` with the reason
otherwise. Its processes end with the endpoint, and with the server of the emulator.
"""

from __future__ import annotations

import random
import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.inference.models import find_model, find_variants
from mlops_sagemaker.emulator.endpoint.protocol.errors import UnsupportedError, ValidationError
from mlops_sagemaker.emulator.endpoint.protocol.listing import in_order, is_between, page
from mlops_sagemaker.emulator.endpoint.state import now, present
from mlops_sagemaker.emulator.faults import FaultKind, StepFault, StepStopped
from mlops_sagemaker.emulator.jobs.models import container_of, fetch_model, model_problems
from mlops_sagemaker.emulator.jobs.serving import MODEL_FOLDER, ModelServer
from mlops_sagemaker.emulator.jobs.tree import Tree
from mlops_sagemaker.emulator.objects import S3Objects

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlops_sagemaker.emulator.endpoint.state import Region
    from mlops_sagemaker.emulator.endpoint.surroundings import Account
    from mlops_sagemaker.emulator.jobs.containers import Containers

    Request = Mapping[str, Any]
    Response = dict[str, Any]

_START_S = 240.0
_REFUSED_VARIANTS = ("ServerlessConfig", "CoreDumpConfig", "InferenceAmiVersion", "CapacityReservationConfig")
REFUSED_CONFIGURATION = ("ShadowProductionVariants", "AsyncInferenceConfig", "DataCaptureConfig", "ExplainerConfig")
"""Members of ``CreateEndpointConfig`` that the endpoint would have to ignore."""


@dataclass(slots=True, kw_only=True)
class Variant:
    """A production variant, and its server once it has been started."""

    name: str
    model: str
    weight: float
    instances: int
    start_limit_s: float
    server: ModelServer | None = None


@dataclass(slots=True, kw_only=True)
class HostedEndpoint:
    """An endpoint."""

    name: str
    arn: str
    configuration: str
    created: dt.datetime
    modified: dt.datetime
    variants: Sequence[Variant]
    status: str = "Creating"
    failure: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)

    def choose(self, wanted: str | None) -> Variant:
        """Return the variant for a request: the one that it names, or one at random by the weights.

        Raises:
            ValidationError: there is no such variant.
        """
        if wanted is None:
            (variant,) = random.choices(self.variants, weights=[each.weight for each in self.variants])  # noqa: S311
            return variant
        for variant in self.variants:
            if variant.name == wanted:
                return variant
        raise ValidationError(f"Variant {wanted} was not found for endpoint {self.name}.")


class HostedEndpoints:
    """The endpoints of all regions; the operations are called with the lock of the region."""

    def __init__(self, account: Callable[[Region], Account], folder: Path, *, containers: Containers) -> None:
        """Store trees and logs in `folder`."""
        self._account = account
        self._folder = folder
        self._containers = containers
        self._endpoints: dict[tuple[str, str], HostedEndpoint] = {}
        self._threads: list[threading.Thread] = []
        self._count = 0

    def find(self, region: Region, name: str) -> HostedEndpoint | None:
        """Return an endpoint; None if it does not exist."""
        return self._endpoints.get((region.name, name))

    # --- Operations ---------------------------------------------------------------------------------------

    def create(self, region: Region, request: Request) -> Response:
        """``CreateEndpoint``.

        Raises:
            ValidationError: it exists, its configuration or a model does not, or the model cannot be served here.
            UnsupportedError: the request asks for more than one process per variant can do.
        """
        name, configuration = request["EndpointName"], request["EndpointConfigName"]
        if self.find(region, name):
            raise ValidationError(f"Cannot create already existing endpoint {region.arn('endpoint', name)!r}.")
        if request.get("DeploymentConfig"):
            raise UnsupportedError("CreateEndpoint with DeploymentConfig is not supported by this endpoint.")
        variants = find_variants(region, configuration)
        if variants is None:
            where = region.arn("endpoint-config", configuration)
            raise ValidationError(f"Could not find endpoint configuration {where!r}.")
        created = now()
        endpoint = HostedEndpoint(
            name=name,
            arn=region.arn("endpoint", name.lower()),
            configuration=configuration,
            created=created,
            modified=created,
            variants=[_variant(region, each) for each in variants],
        )
        region.add_tags(endpoint.arn, request.get("Tags"))
        self._endpoints[region.name, name] = endpoint
        thread = threading.Thread(target=self._start, args=(region, endpoint), name=f"endpoint-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return {"EndpointArn": endpoint.arn}

    def describe(self, region: Region, request: Request) -> Response:
        """``DescribeEndpoint``."""
        endpoint = self._existing(region, request)
        variants = [
            {
                "VariantName": each.name,
                "CurrentWeight": each.weight,
                "DesiredWeight": each.weight,
                "CurrentInstanceCount": each.instances,
                "DesiredInstanceCount": each.instances,
            }
            for each in endpoint.variants
        ]
        return present(
            {**_summary(endpoint), "EndpointConfigName": endpoint.configuration, "FailureReason": endpoint.failure}
        ) | {"ProductionVariants": variants}

    def list(self, region: Region, request: Request) -> Response:
        """``ListEndpoints``."""
        matching = [
            each
            for (where, _), each in self._endpoints.items()
            if where == region.name
            and request.get("NameContains", "") in each.name
            and request.get("StatusEquals") in (None, each.status)
            and is_between(request, each.created, after="CreationTimeAfter", before="CreationTimeBefore")
            and is_between(request, each.modified, after="LastModifiedTimeAfter", before="LastModifiedTimeBefore")
        ]
        keys: dict[str, Callable[[HostedEndpoint], Any]] = {
            "Name": lambda each: each.name,
            "CreationTime": lambda each: each.created,
            "Status": lambda each: each.status,
        }
        ordered = in_order(matching, request, keys=keys, default="CreationTime", is_descending=True)
        return page(request, [_summary(each) for each in ordered], name="Endpoints")

    def delete(self, region: Region, request: Request) -> Response:
        """``DeleteEndpoint``: its processes end, and its name is free."""
        endpoint = self._existing(region, request)
        del self._endpoints[region.name, endpoint.name]
        endpoint.stopped.set()
        thread = threading.Thread(target=_stop, args=(endpoint,), daemon=True)
        self._threads.append(thread)
        thread.start()
        return {}

    def close(self) -> None:
        """End all processes."""
        endpoints = tuple(self._endpoints.values())
        for endpoint in endpoints:
            endpoint.stopped.set()
        for thread in tuple(self._threads):
            thread.join()
        for endpoint in endpoints:
            _stop(endpoint)

    def _existing(self, region: Region, request: Request) -> HostedEndpoint:
        endpoint = self.find(region, request["EndpointName"])
        if endpoint is None:
            raise ValidationError(f"Could not find endpoint {region.arn('endpoint', request['EndpointName'])!r}.")
        return endpoint

    # --- Processes ----------------------------------------------------------------------------------------

    def _start(self, region: Region, endpoint: HostedEndpoint) -> None:
        """Start the servers of an endpoint, one after the other."""
        status, failure = "InService", ""
        try:
            for variant in endpoint.variants:
                server = self._server(region, endpoint, variant)
                _require_wanted(endpoint)  # it may have been deleted while the model was downloaded
                variant.server = server
                server.start(stopped=endpoint.stopped)
            _require_wanted(endpoint)
        except StepStopped:
            _stop(endpoint)
            return
        except Exception as error:  # noqa: BLE001  nobody joins this thread to see it fail
            status = "Failed"
            text = " ".join(str(error).split())
            fault = text if isinstance(error, StepFault) else f"{type(error).__name__}: {text}"
            failure = f"The primary container for production variant {variant.name} cannot be used: {fault}"
            _stop(endpoint)
        with region.lock:
            endpoint.status, endpoint.failure, endpoint.modified = status, failure, now()

    def _server(self, region: Region, endpoint: HostedEndpoint, variant: Variant) -> ModelServer:
        """Return a server for a variant, with the files of its model."""
        account = self._account(region)
        with region.lock:
            self._count += 1
            work = self._folder / f"{endpoint.name}-{variant.name}-{self._count}"
            model = find_model(region, variant.model)
        if model is None:
            raise StepFault(FaultKind.CLIENT, f"Could not find model '{variant.model}'")
        container, tree = container_of(model), Tree(work)
        shutil.rmtree(work, ignore_errors=True)
        folder = tree.folder(MODEL_FOLDER)
        fetch_model(S3Objects(account.client("s3")), container, folder, scratch=tree.root)
        return ModelServer(
            self._containers,
            tree=tree,
            log=work / "server.log",
            environment={**account.environment(), **container.environment},
            image=container.image,
            start_limit_s=variant.start_limit_s,
        )


def _require_wanted(endpoint: HostedEndpoint) -> None:
    if endpoint.stopped.is_set():
        raise StepStopped


def _stop(endpoint: HostedEndpoint) -> None:
    for variant in endpoint.variants:
        if variant.server is not None:
            variant.server.stop()


def _variant(region: Region, data: Mapping[str, Any]) -> Variant:
    name, model = data["VariantName"], data.get("ModelName")
    for member in _REFUSED_VARIANTS:
        if data.get(member):
            raise UnsupportedError(f"Production variant {name}: {member} is not supported by this endpoint.")
    if not model:
        raise UnsupportedError(f"Production variant {name} without ModelName is not supported by this endpoint.")
    request = find_model(region, model)
    if request is None:
        raise ValidationError(f"Could not find model {region.arn('model', model)!r}.")
    for problem in model_problems(request):
        raise ValidationError(f"Production variant {name}: model '{model}': {problem}")
    return Variant(
        name=name,
        model=model,
        weight=float(data.get("InitialVariantWeight", 1.0)),
        instances=int(data.get("InitialInstanceCount", 1)),
        start_limit_s=float(data.get("ContainerStartupHealthCheckTimeoutInSeconds") or _START_S),
    )


def _summary(endpoint: HostedEndpoint) -> Response:
    return {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.created,
        "LastModifiedTime": endpoint.modified,
    }
