"""A fleet: the processes that serve the variants of one endpoint configuration, and the requests that they answer.

A variant has one process of the serving image, whatever its number of instances. A fleet that is retired finishes the
requests that it has been given before its processes end.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.inference.models import find_model
from mlops_sagemaker.emulator.faults import FaultKind, StepFault, StepStopped
from mlops_sagemaker.emulator.jobs.models import container_of, fetch_model
from mlops_sagemaker.emulator.jobs.serving import MODEL_FOLDER, ModelServer
from mlops_sagemaker.emulator.jobs.tree import Tree
from mlops_sagemaker.emulator.objects import S3Objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_sagemaker.emulator.endpoint.state import Region, StoredResource
    from mlops_sagemaker.emulator.endpoint.surroundings import Account
    from mlops_sagemaker.emulator.jobs.containers import Containers

CAPTURE = "DataCaptureConfig"
_START_S = 240.0
_DRAIN_S = 65.0
"""Longest wait for the requests of a retired fleet; none may take longer than 60 s."""


@dataclass(slots=True, kw_only=True)
class Variant:
    """A variant, and its server once it has been started."""

    name: str
    model: str
    weight: float
    instances: int
    instance_type: str
    start_limit_s: float
    image: str = ""
    server: ModelServer | None = None


@dataclass(slots=True, kw_only=True)
class Fleet:
    """The variants of an endpoint configuration; `share` is its part of the traffic, from 0 to 1.

    `shadow_credit` is the part of a request that the shadow variant has still to get, and `retained_capture` the data
    capture of the fleet before, where the update said so.
    """

    configuration: StoredResource
    variants: Sequence[Variant]
    shadows: Sequence[Variant] = ()
    share: float = 1.0
    shadow_credit: float = 0.0
    retained_capture: Mapping[str, Any] | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    _requests: int = 0
    _idle: threading.Condition = field(default_factory=threading.Condition)

    @property
    def all_variants(self) -> tuple[Variant, ...]:
        """The production variants, then the shadow variants."""
        return (*self.variants, *self.shadows)

    @property
    def instances(self) -> int:
        """The number of instances of the production variants."""
        return sum(variant.instances for variant in self.variants)

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a section of the configuration; empty if it has none."""
        if name == CAPTURE and self.retained_capture is not None:
            return self.retained_capture
        section: Mapping[str, Any] = self.configuration.request.get(name) or {}
        return section

    def begin_request(self) -> None:
        """Note a request; call it with the lock under which the fleet was chosen."""
        with self._idle:
            self._requests += 1

    def end_request(self) -> None:
        """Note the end of a request."""
        with self._idle:
            self._requests -= 1
            self._idle.notify_all()

    def retire(self) -> None:
        """Wait for the requests of the fleet, then end its processes."""
        with self._idle:
            self._idle.wait_for(lambda: self._requests == 0, timeout=_DRAIN_S)
        self.stop()

    def stop(self) -> None:
        """End the processes."""
        self.stopped.set()
        for variant in self.all_variants:
            if variant.server is not None:
                variant.server.stop()


def fleet_of(configuration: StoredResource) -> Fleet:
    """Return the fleet of an endpoint configuration, not yet started."""
    request = configuration.request
    return Fleet(
        configuration=configuration,
        variants=[_variant(each) for each in request["ProductionVariants"]],
        shadows=[_variant(each) for each in request.get("ShadowProductionVariants") or ()],
    )


def _variant(data: Mapping[str, Any]) -> Variant:
    return Variant(
        name=data["VariantName"],
        model=data["ModelName"],
        weight=float(data.get("InitialVariantWeight", 1.0)),
        instances=int(data["InitialInstanceCount"]),
        instance_type=data["InstanceType"],
        start_limit_s=float(data.get("ContainerStartupHealthCheckTimeoutInSeconds") or _START_S),
    )


class FleetStarter:
    """Starts fleets."""

    def __init__(self, account: Callable[[Region], Account], folder: Path, *, containers: Containers) -> None:
        """Store trees and logs in `folder`."""
        self._account = account
        self._folder = folder
        self._containers = containers
        self._lock = threading.Lock()
        self._count = 0

    def start(self, region: Region, fleet: Fleet, *, endpoint: str) -> str:
        """Start the servers of a fleet, one after the other; return why that failed, empty if all are ready.

        Raises:
            StepStopped: the fleet was stopped meanwhile.
        """
        for variant in fleet.all_variants:
            try:
                server = self._server(region, variant, endpoint=endpoint)
                _require_wanted(fleet)  # it may have been stopped while the model was downloaded
                variant.server = server
                server.start(stopped=fleet.stopped)
                _require_wanted(fleet)
            except StepStopped:
                fleet.stop()
                raise
            except Exception as error:  # noqa: BLE001  nobody joins this thread to see it fail
                text = " ".join(str(error).split())
                fault = text if isinstance(error, StepFault) else f"{type(error).__name__}: {text}"
                fleet.stop()
                return f"The primary container for production variant {variant.name} cannot be used: {fault}"
        return ""

    def _server(self, region: Region, variant: Variant, *, endpoint: str) -> ModelServer:
        """Return a server for a variant, with the files of its model."""
        account = self._account(region)
        with self._lock:
            self._count += 1
            work = self._folder / f"{endpoint}-{variant.name}-{self._count}"
        with region.lock:
            model = find_model(region, variant.model)
        if model is None:
            raise StepFault(FaultKind.CLIENT, f"Could not find model '{variant.model}'")
        container, tree = container_of(model), Tree(work)
        variant.image = container.image
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


def _require_wanted(fleet: Fleet) -> None:
    if fleet.stopped.is_set():
        raise StepStopped


class Router:
    """Chooses the variant of each request by weight, evenly: of ten requests, one goes to a share of a tenth."""

    def __init__(self) -> None:
        """Begin with no requests."""
        self._credit: dict[tuple[str, str], float] = {}

    def choose(self, fleets: Sequence[Fleet], *, wanted: str | None) -> tuple[Fleet, Variant] | None:
        """Return a variant, of the name `wanted` if it is given; None if there is none. Call it with a lock."""
        weights: dict[tuple[str, str], tuple[float, Fleet, Variant]] = {}
        for fleet in fleets:
            variants = [each for each in fleet.variants if wanted in (None, each.name)]
            total = sum(each.weight for each in variants)
            for variant in variants:
                part = variant.weight / total if total else 1 / len(variants)
                weights[fleet.configuration.name, variant.name] = (fleet.share * part, fleet, variant)
        usable = {key: each for key, each in weights.items() if each[0] > 0}
        if not usable:
            return None
        self._credit |= {key: self._credit.get(key, 0.0) + each[0] for key, each in usable.items()}
        key = max(usable, key=lambda each: self._credit[each])
        self._credit[key] -= sum(each[0] for each in usable.values())
        _, fleet, variant = usable[key]
        return fleet, variant


@contextlib.contextmanager
def answering(fleet: Fleet) -> Iterator[None]:
    """Hold a fleet that `Fleet.begin_request` has noted until its request has ended."""
    try:
        yield
    finally:
        fleet.end_request()
