"""Common parts of processing and training jobs: hosts, inputs, container orders, exit messages."""

from __future__ import annotations

import json
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault, StepStopped
from mlops_sagemaker.emulator.history import now
from mlops_sagemaker.emulator.jobs.containers import ContainerOrder
from mlops_sagemaker.emulator.jobs.tree import Tree
from mlops_sagemaker.emulator.objects import download_prefix, parse_uri
from mlops_sagemaker.emulator.paths import OPT_ML, require_relative
from mlops_sagemaker.service.outcomes import NO_MESSAGE
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlops_sagemaker.emulator.jobs.containers import Containers
    from mlops_sagemaker.emulator.objects import ObjectStore

IN_PROGRESS = "InProgress"
_MESSAGE_LIMIT = 1024
_HOUR_S = 3600.0
_GROUP = "homogeneousCluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlace:
    """The environment of the jobs of an execution.

    Attributes:
        objects: the objects behind ``s3://`` URIs.
        containers: starts the commands of containers.
        work: folder for trees.
        logs: folder for logs.
        execution_id: ID of the pipeline execution.
        arn_prefix: ``arn:aws:sagemaker:<region>:<account>``.
        stopped: set when the execution is stopped.
        environment: additional environment variables of every container.
        announce: called with a job as soon as it has a name, so that its logs can be found while it runs.
        on_job: called with each new state of a job.
        pipeline: name of the pipeline.
    """

    objects: ObjectStore
    containers: Containers
    work: Path
    logs: Path
    execution_id: str
    arn_prefix: str
    stopped: threading.Event
    environment: Mapping[str, str]
    announce: Callable[[JobResult], None]
    on_job: Callable[[JobState], None] = field(default=lambda _: None)
    pipeline: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The result of a job.

    Attributes:
        properties: properties that the service would describe for the job.
        metadata: metadata that the service would list for the step.
        logs: paths of the log files, relative to the folder of logs.
        written: ``s3://`` URIs of the objects and prefixes that the job wrote.
    """

    properties: Mapping[str, Any]
    metadata: Mapping[str, Any]
    logs: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """The state of a processing, training or tuning job.

    Attributes:
        kind: ``Processing``, ``Training`` or ``HyperParameterTuning``.
        name: name of the job.
        status: status in the terms of the service, for example ``InProgress``.
        properties: properties that the service would describe for the job.
        created: start time, ISO 8601 in UTC.
        modified: time of this state, the same.
        failure: failure reason; empty if the job did not fail.
        tuning: name of the tuning job that started this training job; empty if there is none.
        trial: for such a job: the tuned hyperparameters, the objective and the definition, as listed by the service.
    """

    kind: str
    name: str
    status: str
    properties: Mapping[str, Any]
    created: str
    modified: str
    failure: str = ""
    tuning: str = ""
    trial: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Whether the status can no longer change."""
        return self.status != IN_PROGRESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """An instance of a job: ``algo-1``, ``algo-2``, ..."""

    name: str
    index: int
    names: tuple[str, ...]
    instance_type: str
    tree: Tree
    log: Path

    @property
    def resource_config(self) -> dict[str, Any]:
        """The contents of ``resourceconfig.json`` on this instance."""
        group = {"instance_group_name": _GROUP, "instance_type": self.instance_type, "hosts": list(self.names)}
        return {
            "current_host": self.name,
            "current_instance_type": self.instance_type,
            "current_group_name": _GROUP,
            "hosts": list(self.names),
            "instance_groups": [group],
            "network_interface_name": "lo",
        }


def job_name(place: JobPlace, step: str) -> str:
    """Return a job name like those of the service: unique, with at most 63 characters."""
    suffix = secrets.token_hex(5)
    beginning = re.sub(r"[^A-Za-z0-9-]+", "-", f"pipelines-{place.execution_id}-{step}")[: 62 - len(suffix)]
    return f"{beginning.rstrip('-')}-{suffix}"


def run_job(place: JobPlace, kind: str, job: JobResult, *, body: Callable[[], JobResult]) -> JobResult:
    """Announce a job, run its `body`, and report each new state.

    Args:
        place: environment of the job.
        kind: ``Processing``, ``Training`` or ``HyperParameterTuning``.
        job: the job as it starts, with its name.
        body: runs the job and returns its result.

    Raises:
        StepFault: the job failed.
        StepStopped: the execution was stopped.
    """
    start = now()
    state = JobState(
        kind=kind,
        name=str(job.properties[f"{kind}JobName"]),
        status=IN_PROGRESS,
        properties=job.properties,
        created=start,
        modified=start,
    )
    place.announce(job)
    place.on_job(state)
    try:
        result = body()
    except StepStopped:
        place.on_job(replace(state, status="Stopped", modified=now()))
        raise
    except Exception as error:  # what it is, the step reports; the job has ended in any case
        place.on_job(replace(state, status="Failed", failure=str(error), modified=now()))
        raise
    place.on_job(replace(state, status="Completed", properties=result.properties, modified=now()))
    return result


def make_hosts(place: JobPlace, *, name: str, cluster: Mapping[str, Any]) -> tuple[Host, ...]:
    """Return the instances of a job, each with its own tree.

    Args:
        place: environment of the job.
        name: name of the job.
        cluster: ``InstanceCount`` and ``InstanceType`` of the request.

    Raises:
        StepFault: the count is not a positive number.
    """
    count = cluster.get("InstanceCount", 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise StepFault(FaultKind.CLIENT, f"InstanceCount: {count!r} is not a positive whole number")
    names = tuple(f"algo-{number}" for number in range(1, count + 1))
    place.logs.mkdir(parents=True, exist_ok=True)
    hosts = tuple(
        Host(
            name=host,
            index=index,
            names=names,
            instance_type=str(cluster.get("InstanceType", "local")),
            tree=Tree(place.work / name / host),
            log=place.logs / f"{name}.{host}.log",
        )
        for index, host in enumerate(names)
    )
    for host in hosts:
        host.tree.folder(OPT_ML)
    return hosts


def fetch_input(place: JobPlace, host: Host, source: Mapping[str, Any], *, folder: Path) -> None:
    """Download the share of an instance in an S3 data source.

    Args:
        place: environment of the job.
        host: the instance.
        source: ``S3Uri``, ``S3DataType``, ``S3DataDistributionType`` of the request.
        folder: target folder, which is created if it is missing.

    Raises:
        StepFault: there are no objects, or the kind of data source is not supported.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uri = parse_uri(source.get("S3Uri"))
    is_sharded = source.get("S3DataDistributionType", "FullyReplicated") == "ShardedByS3Key"
    kind = source.get("S3DataType", "S3Prefix")
    if kind == "ManifestFile":
        _fetch_manifest(place, host, uri, folder=folder, is_sharded=is_sharded)
        return
    if kind != "S3Prefix":
        raise StepFault(FaultKind.CLIENT, f"{uri}: S3DataType '{kind}' cannot be executed here")
    keys = [key for key in place.objects.keys(uri) if not key.endswith("/")]
    share = share_of(keys, host) if is_sharded else keys
    download_prefix(place.objects, uri, folder, keys=share)


def share_of(keys: Sequence[str], host: Host) -> list[str]:
    """Return the objects of an instance with ``ShardedByS3Key``: every n-th, in the order of keys."""
    return list(keys[host.index :: len(host.names)])


def _fetch_manifest(place: JobPlace, host: Host, uri: S3Uri, *, folder: Path, is_sharded: bool) -> None:
    try:
        (head, *names) = json.loads(place.objects.read(uri))
        prefix = parse_uri(head["prefix"])
    except (ValueError, TypeError, KeyError) as error:
        raise StepFault(FaultKind.CLIENT, f"{uri}: not a manifest: {error}") from error
    for name in share_of(names, host) if is_sharded else names:
        target = folder / require_relative(name, what=f"{uri}: item")
        target.parent.mkdir(parents=True, exist_ok=True)
        place.objects.download(S3Uri(prefix.bucket, prefix.key + name), target)


def run_hosts(place: JobPlace, hosts: tuple[Host, ...], *, order: Callable[[Host], ContainerOrder]) -> None:
    """Run the containers of all instances in parallel.

    Raises:
        StepFault: an instance failed; contains the message of the first one.
        StepStopped: the execution was stopped.
    """
    with ThreadPoolExecutor(max_workers=len(hosts), thread_name_prefix="host") as pool:
        running = [pool.submit(place.containers.run, order(host)) for host in hosts]
    for host, future in zip(hosts, running, strict=True):
        code = future.result()
        if code != 0:
            message = exit_message(host, "failure", "message") or NO_MESSAGE
            raise StepFault(FaultKind.ALGORITHM, f"{message}, exit code: {code}")


def exit_message(host: Host, *names: str) -> str:
    """Return the contents of the first of these files in ``/opt/ml/output``; empty if none exists."""
    for name in names:
        path = host.tree.path(f"{OPT_ML}/output/{name}")
        if path.is_file():
            with path.open("rb") as stream:
                return stream.read(_MESSAGE_LIMIT).decode("utf-8", errors="ignore").strip()
    return ""


def make_order(
    place: JobPlace, host: Host, *, command: Sequence[Any], environment: Mapping[str, Any], request: Mapping[str, Any]
) -> ContainerOrder:
    """Return the order for the container of an instance."""
    stopping = request.get("StoppingCondition") or {}
    return ContainerOrder(
        command=tuple(map(str, command)),
        environment={**place.environment, **{name: str(value) for name, value in environment.items()}},
        tree=host.tree,
        log=host.log,
        timeout_s=float(stopping.get("MaxRuntimeInSeconds", 24 * _HOUR_S)),
        image=image_of(request),
        stopped=place.stopped,
    )


def image_of(request: Mapping[str, Any]) -> str:
    """Return the image of a request, for error messages."""
    section = request.get("AppSpecification") or request.get("AlgorithmSpecification") or {}
    return str(section.get("ImageUri") or section.get("TrainingImage") or "")
