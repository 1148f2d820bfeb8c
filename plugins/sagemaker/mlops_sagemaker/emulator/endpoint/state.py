"""The state of SageMaker in a region of the endpoint: pipelines, executions, jobs, models and their packages, tags.

It exists as long as the endpoint runs, like the buckets of its S3: nothing of an earlier endpoint is visible.
"""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.endpoint.protocol.errors import ConflictError, NotFoundError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.execution import PipelineExecution
    from mlops_sagemaker.emulator.jobs.common import JobState
    from mlops_sagemaker.service.executions import ExecutionRecord

TAG_LIMIT = 50


@dataclass(slots=True, kw_only=True)
class PipelineVersion:
    """A version of a pipeline: a definition that an execution can use."""

    number: int
    definition: str
    created: dt.datetime
    display_name: str | None = None
    description: str | None = None
    aliases: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """A pipeline with its versions and executions; deleting it deletes both."""

    name: str
    arn: str
    role: str
    created: dt.datetime
    modified: dt.datetime
    request: Mapping[str, Any]
    display_name: str | None = None
    description: str | None = None
    parallelism: Mapping[str, Any] | None = None
    last_run: dt.datetime | None = None
    versions: list[PipelineVersion] = field(default_factory=list)
    executions: dict[str, Execution] = field(default_factory=dict)
    starts: dict[str, tuple[Mapping[str, Any], str]] = field(default_factory=dict)

    @property
    def latest(self) -> PipelineVersion:
        """The newest version."""
        return self.versions[-1]

    def version(self, request: Mapping[str, Any]) -> PipelineVersion:
        """Return the version that a request names by its number or an alias, or the newest.

        Raises:
            NotFoundError: there is no such version.
            ValidationError: the request has both a number and an alias.
        """
        number, alias = request.get("PipelineVersionId"), request.get("PipelineVersionAlias")
        if number is not None and alias is not None:
            raise ValidationError("PipelineVersionId and PipelineVersionAlias cannot be used together")
        if number is None and alias is None:
            return self.latest
        for version in self.versions:
            if version.number == number or alias in version.aliases:
                return version
        what = f"version {number}" if alias is None else f"version with alias '{alias}'"
        raise NotFoundError(f"Pipeline '{self.name}' has no {what}.")

    def assign(self, version: PipelineVersion, aliases: list[str]) -> None:
        """Add aliases to a version.

        Raises:
            ValidationError: an alias is a number.
            ConflictError: an alias belongs to another version.
        """
        for alias in aliases:
            if alias.isdigit():
                raise ValidationError(f"PipelineVersionAliases: '{alias}' consists of numbers only")
            for other in self.versions:
                if other is not version and alias in other.aliases:
                    raise ConflictError(f"alias '{alias}' belongs to version {other.number}")
        version.aliases += [alias for alias in dict.fromkeys(aliases) if alias not in version.aliases]


@dataclass(slots=True, kw_only=True)
class Execution:
    """An execution with what its start said; its record is that of the emulator."""

    arn: str
    pipeline: Pipeline
    version: PipelineVersion
    running: PipelineExecution
    modified: dt.datetime
    display_name: str | None = None
    description: str | None = None
    parallelism: Mapping[str, Any] | None = None
    selective: Mapping[str, Any] | None = None
    retries: set[str] = field(default_factory=set)

    @property
    def record(self) -> ExecutionRecord:
        """The current state of the execution."""
        return self.running.record


@dataclass(slots=True, kw_only=True)
class PackageGroup:
    """A model package group; `last` is the highest version that it ever had."""

    name: str
    arn: str
    created: dt.datetime
    description: str | None = None
    configuration: Mapping[str, Any] | None = None
    policy: str | None = None
    last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResource:
    """A resource that never changes: what its creation said, for example that of a model or an endpoint configuration.

    Attributes:
        request: members of the request, without its tags.
    """

    name: str
    arn: str
    created: dt.datetime
    request: Mapping[str, Any]


@dataclass(slots=True)
class Region:
    """The state of a region; hold `lock` to change or list it."""

    name: str
    account: str
    lock: threading.RLock = field(default_factory=threading.RLock)
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    deleted: dict[tuple[str, str], str] = field(default_factory=dict)
    jobs: dict[tuple[str, str], JobState] = field(default_factory=dict)
    groups: dict[str, PackageGroup] = field(default_factory=dict)
    packages: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, StoredResource] = field(default_factory=dict)
    configurations: dict[str, StoredResource] = field(default_factory=dict)
    tokens: dict[str, tuple[Mapping[str, Any], str]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a resource."""
        return f"arn:aws:sagemaker:{self.name}:{self.account}:{kind}/{name}"

    def pipeline(self, name: str) -> Pipeline:
        """Return a pipeline by name or ARN.

        Raises:
            NotFoundError: there is no such pipeline.
        """
        pipeline = self.pipelines.get(name.rpartition("/")[2])
        if pipeline is None or name not in (pipeline.name, pipeline.arn):
            raise NotFoundError(f"Pipeline '{name}' does not exist.")
        return pipeline

    def execution(self, arn: str) -> Execution:
        """Return an execution by ARN.

        Raises:
            NotFoundError: there is no such execution.
        """
        for pipeline in self.pipelines.values():
            if arn in pipeline.executions:
                return pipeline.executions[arn]
        raise NotFoundError(f"Pipeline execution {arn} does not exist.")

    def add_tags(self, arn: str, tags: list[Mapping[str, str]] | None) -> None:
        """Add tags to a resource; a tag replaces one with the same key.

        Raises:
            ValidationError: the resource would have too many tags.
        """
        self.tags[arn] = merged_tags(arn, self.tags.get(arn, {}), tags or [])


def merged_tags(arn: str, tags: Mapping[str, str], added: list[Mapping[str, str]]) -> dict[str, str]:
    """Return the tags of a resource with others added; a tag replaces one with the same key.

    Raises:
        ValidationError: there are too many.
    """
    merged = {**tags, **{tag["Key"]: tag["Value"] for tag in added}}
    if len(merged) > TAG_LIMIT:
        raise ValidationError(f"{arn} would have {len(merged)} tags; the limit is {TAG_LIMIT}")
    return merged


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response without the members that have no value."""
    return {name: value for name, value in values.items() if value not in (None, "")}


def now() -> dt.datetime:
    """Return the current time in UTC."""
    return dt.datetime.now(dt.UTC)


def moment(text: str) -> dt.datetime | None:
    """Return an ISO 8601 time of a record; None if it is empty."""
    return dt.datetime.fromisoformat(text) if text else None
