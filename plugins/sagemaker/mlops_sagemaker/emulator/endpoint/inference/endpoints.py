"""The endpoints of ``CreateEndpoint``: fleets of processes of the serving image, on the loopback interface.

An endpoint is ``InService`` when ``/ping`` of each of its variants has answered 200, and ``Failed`` with the reason
otherwise. ``UpdateEndpoint`` moves its traffic to a new fleet; a deployment that fails leaves it ``InService`` with the
old configuration and the reason. Its processes end with the endpoint, and with the server of the emulator.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.events import send_deployment, send_endpoint
from mlops_sagemaker.emulator.endpoint.inference.configurations import existing_configuration
from mlops_sagemaker.emulator.endpoint.inference.deployments import (
    Deployment,
    RolledBackError,
    Surroundings,
    carry_out,
)
from mlops_sagemaker.emulator.endpoint.inference.descriptions import described, summary
from mlops_sagemaker.emulator.endpoint.inference.fleets import (
    CAPTURE,
    Fleet,
    FleetStarter,
    Router,
    Variant,
    fleet_of,
)
from mlops_sagemaker.emulator.endpoint.inference.strategies import strategy_of
from mlops_sagemaker.emulator.endpoint.monitoring.scaling import forget_targets, require_unscaled
from mlops_sagemaker.emulator.endpoint.protocol.errors import ValidationError
from mlops_sagemaker.emulator.endpoint.protocol.listing import in_order, is_between, page
from mlops_sagemaker.emulator.endpoint.state import now
from mlops_sagemaker.emulator.faults import StepStopped

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlops_sagemaker.emulator.endpoint.inference.capture import DataCapture
    from mlops_sagemaker.emulator.endpoint.monitoring.metrics import MetricAlarms
    from mlops_sagemaker.emulator.endpoint.state import Region
    from mlops_sagemaker.emulator.endpoint.surroundings import Account
    from mlops_sagemaker.emulator.jobs.containers import Containers

    Request = Mapping[str, Any]
    Response = dict[str, Any]

_ANSWERING = ("InService", "Updating", "SystemUpdating", "RollingBack")
_BUSY = ("Updating", "SystemUpdating", "RollingBack", "Deleting")


@dataclass(slots=True, kw_only=True)
class HostedEndpoint:
    """An endpoint; its `fleet` has all traffic that a deployment has not given to its own."""

    name: str
    arn: str
    created: dt.datetime
    modified: dt.datetime
    fleet: Fleet
    status: str = "Creating"
    failure: str = ""
    deployment: Deployment | None = None
    last_config: Mapping[str, Any] | None = None
    router: Router = field(default_factory=Router)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def choose(self, wanted: str | None) -> tuple[Fleet, Variant]:
        """Return the fleet and the variant for a request: one that it names, or one by weight; note the request.

        Raises:
            ValidationError: the endpoint is not in service, or there is no such variant.
        """
        with self.lock:
            if self.status not in _ANSWERING:
                raise ValidationError(f"Endpoint {self.name} is not in service: {self.status}.")
            chosen = self.router.choose(self.fleets, wanted=wanted)
            if chosen is None:
                raise ValidationError(f"Variant {wanted} was not found for endpoint {self.name}.")
            chosen[0].begin_request()
            return chosen

    @property
    def fleets(self) -> tuple[Fleet, ...]:
        """The old fleet, and the new one of a deployment."""
        return (self.fleet, *((self.deployment.green,) if self.deployment else ()))


class HostedEndpoints:
    """The endpoints of all regions; the operations are called with the lock of the region."""

    def __init__(
        self,
        account: Callable[[Region], Account],
        folder: Path,
        *,
        containers: Containers,
        alarms: MetricAlarms,
        capture: DataCapture,
        time_scale: float,
    ) -> None:
        """Store trees and logs in `folder`; shorten all waits of deployments by `time_scale`."""
        self.alarms = alarms
        self.capture = capture
        self._account = account
        self._starter = FleetStarter(account, folder, containers=containers)
        self._time_scale = time_scale
        self._endpoints: dict[tuple[str, str], HostedEndpoint] = {}
        self._threads: list[threading.Thread] = []

    def find(self, region: Region, name: str) -> HostedEndpoint | None:
        """Return an endpoint; None if it does not exist."""
        return self._endpoints.get((region.name, name))

    def find_variant(self, region: str, endpoint: str, variant: str) -> Variant | None:
        """Return a variant of an endpoint; None if it does not exist."""
        hosted = self._endpoints.get((region, endpoint))
        return next((each for each in hosted.fleet.variants if each.name == variant), None) if hosted else None

    def is_used(self, region: Region, configuration: str) -> bool:
        """Return whether an endpoint uses a configuration, or is being updated to it."""
        return any(
            fleet.configuration.name == configuration
            for (where, _), endpoint in self._endpoints.items()
            if where == region.name
            for fleet in endpoint.fleets
        )

    def has_arn(self, region: Region, arn: str) -> bool:
        """Return whether an ARN is that of an endpoint."""
        return any(where == region.name and endpoint.arn == arn for (where, _), endpoint in self._endpoints.items())

    # --- Operations ---------------------------------------------------------------------------------------

    def create(self, region: Region, request: Request) -> Response:
        """``CreateEndpoint``.

        Raises:
            ValidationError: it exists, its configuration does not, or the strategy is not valid.
        """
        name = request["EndpointName"]
        arn = region.arn("endpoint", name.lower())
        if self.find(region, name):
            raise ValidationError(f'Cannot create already existing endpoint "{arn}".')
        fleet = fleet_of(existing_configuration(region, request["EndpointConfigName"]))
        strategy_of(request.get("DeploymentConfig"), blue=fleet, green=fleet)
        created = now()
        endpoint = HostedEndpoint(name=name, arn=arn, created=created, modified=created, fleet=fleet)
        endpoint.last_config = request.get("DeploymentConfig")
        region.add_tags(arn, request.get("Tags"))
        self._endpoints[region.name, name] = endpoint
        self._announce(region, endpoint)
        self._begin(f"endpoint-{name}", self._start, region, endpoint)
        return {"EndpointArn": arn}

    def update(self, region: Region, request: Request) -> Response:
        """``UpdateEndpoint``.

        Raises:
            ValidationError: it or the configuration does not exist, it is being changed, or the service refuses the
                deployment.
        """
        endpoint = self._existing(region, request)
        configuration = existing_configuration(region, request["EndpointConfigName"])
        if endpoint.status != "InService":
            raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        green = fleet_of(configuration)
        green.share = 0.0
        require_unscaled(region, endpoint.name, before=endpoint.fleet, after=green)
        config = request.get("DeploymentConfig")
        if config is None and request.get("RetainDeploymentConfig"):
            config = endpoint.last_config
        strategy = strategy_of(config, blue=endpoint.fleet, green=green)
        for alarm in strategy.alarms:
            if not self.alarms.exists((region.account, region.name), alarm):
                raise ValidationError(f"DeploymentConfig: alarm {alarm} does not exist.")
        _retain(request, endpoint.fleet, green)
        with endpoint.lock:
            endpoint.deployment = Deployment(green=green, strategy=strategy, config=config)
            endpoint.status, endpoint.failure, endpoint.modified = "Updating", "", now()
        self._announce(region, endpoint)
        self._begin(f"update-{endpoint.name}", self._deploy, region, endpoint, endpoint.deployment)
        return {"EndpointArn": endpoint.arn}

    def update_weights(self, region: Region, request: Request) -> Response:
        """``UpdateEndpointWeightsAndCapacities``.

        Raises:
            ValidationError: the endpoint or a variant does not exist, or it is being changed.
        """
        endpoint = self._existing(region, request)
        if endpoint.status != "InService":
            raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        variants = {variant.name: variant for variant in endpoint.fleet.variants}
        desired = request["DesiredWeightsAndCapacities"]
        for each in desired:
            if each["VariantName"] not in variants:
                raise ValidationError(f"Variant {each['VariantName']} was not found for endpoint {endpoint.name}.")
        weights = {each["VariantName"]: each.get("DesiredWeight") for each in desired}
        total = sum(v.weight if weights.get(v.name) is None else weights[v.name] for v in variants.values())
        if not total:
            raise ValidationError("The weights of the production variants must not all be 0.")
        with endpoint.lock:
            for each in desired:
                variant = variants[each["VariantName"]]
                variant.weight = float(each.get("DesiredWeight", variant.weight))
                variant.instances = int(each.get("DesiredInstanceCount", variant.instances))
            endpoint.modified = now()
        return {"EndpointArn": endpoint.arn}

    def describe(self, region: Region, request: Request) -> Response:
        """``DescribeEndpoint``."""
        endpoint = self._existing(region, request)
        with endpoint.lock:
            return described(endpoint)

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
        return page(request, [summary(each) for each in ordered], name="Endpoints")

    def delete(self, region: Region, request: Request) -> Response:
        """``DeleteEndpoint``: its processes end, then its name is free.

        Raises:
            ValidationError: it does not exist, or is being changed.
        """
        endpoint = self._existing(region, request)
        if endpoint.status in _BUSY:
            raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        with endpoint.lock:
            endpoint.status, endpoint.modified = "Deleting", now()
        endpoint.fleet.stopped.set()
        forget_targets(region, endpoint.name)
        self._announce(region, endpoint)
        self._begin(f"delete-{endpoint.name}", self._remove, region, endpoint)
        return {}

    def close(self) -> None:
        """End all processes, and write what was captured."""
        endpoints = tuple(self._endpoints.values())
        for endpoint in endpoints:
            for fleet in endpoint.fleets:
                fleet.stopped.set()
        for thread in tuple(self._threads):
            thread.join()
        for endpoint in endpoints:
            for fleet in endpoint.fleets:
                fleet.stop()
        self.capture.flush()

    def _existing(self, region: Region, request: Request) -> HostedEndpoint:
        endpoint = self.find(region, request["EndpointName"])
        if endpoint is None:
            raise ValidationError(f'Could not find endpoint "{region.arn("endpoint", request["EndpointName"])}".')
        return endpoint

    # --- Threads ------------------------------------------------------------------------------------------

    def _begin(self, name: str, function: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments, name=name, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _start(self, region: Region, endpoint: HostedEndpoint) -> None:
        try:
            failure = self._starter.start(region, endpoint.fleet, endpoint=endpoint.name)
        except StepStopped:
            return
        with region.lock, endpoint.lock:
            if endpoint.status == "Creating":
                endpoint.status, endpoint.failure = "Failed" if failure else "InService", failure
                endpoint.modified = now()
        self._announce(region, endpoint)

    def _remove(self, region: Region, endpoint: HostedEndpoint) -> None:
        endpoint.fleet.retire()
        self.capture.flush()
        with region.lock:
            self._endpoints.pop((region.name, endpoint.name), None)
            region.tags.pop(endpoint.arn, None)

    def _deploy(self, region: Region, endpoint: HostedEndpoint, deployment: Deployment) -> None:
        green, blue = deployment.green, endpoint.fleet

        def announce(stage: str, message: str) -> None:
            with endpoint.lock:
                deployment.stage, deployment.message, deployment.since = stage, message, now()
                endpoint.modified = deployment.since
            send_deployment(self._account(region), self.describe(region, {"EndpointName": endpoint.name}))

        def shift(share: float) -> None:
            with endpoint.lock:
                green.share, blue.share = share, 1 - share

        around = Surroundings(
            start=lambda fleet: self._starter.start(region, fleet, endpoint=endpoint.name),
            shift=shift,
            announce=announce,
            alarming=lambda names, since: self.alarms.in_alarm((region.account, region.name), names, since=since),
            time_scale=self._time_scale,
        )
        try:
            carry_out(deployment, around)
        except StepStopped:
            green.stop()
            return
        except RolledBackError as error:
            self._roll_back(region, endpoint, deployment, reason=str(error), shift=shift)
            return
        except Exception as error:  # noqa: BLE001  nobody joins this thread to see it fail
            reason = f"InternalServerError: {error!r}"
            self._roll_back(region, endpoint, deployment, reason=reason, shift=shift)
            return
        announce("Deleting", "Deleting the old fleet")
        with region.lock, endpoint.lock:
            endpoint.fleet, endpoint.deployment, endpoint.last_config = green, None, deployment.config
            green.share = 1.0
            endpoint.status, endpoint.modified = "InService", now()
        self._announce(region, endpoint)
        blue.retire()

    def _roll_back(
        self,
        region: Region,
        endpoint: HostedEndpoint,
        deployment: Deployment,
        *,
        reason: str,
        shift: Callable[[float], None],
    ) -> None:
        """Return all traffic to the old fleet."""
        with endpoint.lock:
            endpoint.status, endpoint.modified, endpoint.failure = "RollingBack", now(), reason
        self._announce(region, endpoint)
        for share in deployment.strategy.back:
            if share < deployment.green.share:
                shift(share)
        shift(0.0)
        with region.lock, endpoint.lock:
            endpoint.deployment = None
            endpoint.fleet.share = 1.0
            endpoint.status, endpoint.modified = "InService", now()
        self._announce(region, endpoint)
        deployment.green.retire()

    def _announce(self, region: Region, endpoint: HostedEndpoint) -> None:
        with endpoint.lock:
            description = described(endpoint)
        send_endpoint(self._account(region), description, tags=region.tags.get(endpoint.arn, {}))


def _retain(request: Request, blue: Fleet, green: Fleet) -> None:
    """Keep the numbers of instances, the weights and the data capture of the old fleet, as far as the request says."""
    if not request.get("RetainAllVariantProperties"):
        return
    excluded = {each["VariantPropertyType"] for each in request.get("ExcludeRetainedVariantProperties") or ()}
    if "DataCaptureConfig" not in excluded:
        green.retained_capture = blue.section(CAPTURE)
    former = {variant.name: variant for variant in blue.variants}
    for variant in green.variants:
        if variant.name in former and "DesiredInstanceCount" not in excluded:
            variant.instances = former[variant.name].instances
        if variant.name in former and "DesiredWeight" not in excluded:
            variant.weight = former[variant.name].weight
