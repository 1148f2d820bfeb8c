"""What is kept of a run: `RunRecord` and `StepRecord`, with a JSON round trip (``run.json``)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.conditions import Verdict
from mlops_core.steps.keys import Change

if TYPE_CHECKING:
    from collections.abc import Mapping


class RunStatus(StrEnum):
    """How a run stands or ended; ``partial``: the steps that were asked for are done, and no gate was reached."""

    RUNNING = "running"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"
    STOPPED = "stopped"
    PARTIAL = "partial"


class StepStatus(StrEnum):
    """How a step of a run stands or ended."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    REUSED = "reused"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPED = "stopped"


_MAPPINGS = ("key_components", "inputs", "outputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of one run.

    Attributes:
        name: the step's.
        status: how it ended.
        key: digest of its step key; empty when it was never computed.
        key_components: what the key is made of, by name.
        inputs: local name -> digest.
        outputs: output -> digest of the artifact.
        started: ISO 8601, UTC; empty when it did not start.
        duration_s: wall time; of the run that did the work when it was reused.
        attempts: how often it was started.
        reused_from: the run whose outputs were taken.
        because: one sentence: why it was run or reused.
        changes: what differs from the key under which it was last done.
        warning: one line, when something is wrong that does not stop the run.
        error: one line, when it failed.
    """

    name: str
    status: StepStatus = StepStatus.PENDING
    key: str = ""
    key_components: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    started: str = ""
    duration_s: float = 0.0
    attempts: int = 0
    reused_from: str = ""
    because: str = ""
    changes: tuple[Change, ...] = ()
    warning: str = ""
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types only."""
        values = {name: getattr(self, name) for name in self.__slots__}
        data = {name: dict(value) if name in _MAPPINGS else value for name, value in values.items()}
        return {**data, "changes": [asdict(change) for change in self.changes]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepRecord:
        """Return the record that `to_json` wrote."""
        changes = tuple(Change(**change) for change in data.get("changes", ()))
        return cls(**{**data, "status": StepStatus(data["status"]), "changes": changes})


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """The data that a run read.

    Attributes:
        name: as configured.
        path: the folder it was read from.
        digest: over relative path, size and content of each file.
        files: how many.
        size_bytes: of all files together.
        is_generated: made by code, not recorded from the world.
        licence: of the catalogue entry; empty for a folder of the user's own.
    """

    name: str
    path: str
    digest: str
    files: int
    size_bytes: int
    is_generated: bool = False
    licence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRecord:
    """Where a service carries out a run; the run goes on there when no process of this machine follows it.

    Attributes:
        execution: the service's name of the execution.
        pipeline: the service's name of the pipeline.
        region: of the service.
        bucket: that holds data and results.
        model_package: the service's name of the registered model; empty while there is none.
        approval: of that model, in the service's words.
    """

    execution: str
    pipeline: str
    region: str
    bucket: str
    model_package: str = ""
    approval: str = ""

    @property
    def package_version(self) -> str:
        """The version of the model package, in its group; empty while there is none."""
        return self.model_package.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run, with everything that is needed to explain it again.

    Attributes:
        run_id: unique in the workspace; starts with the time of creation.
        use_case: name of the use case.
        plugin: distribution and version that provided it.
        runner: name of the runner.
        status: how it stands or ended.
        created: ISO 8601, UTC.
        duration_s: wall time of the whole run.
        seed: of every random choice.
        parameters: the value of each parameter.
        config: the configuration as used, as YAML text.
        pipeline: the pipeline as JSON.
        dataset: what was read; None before it was fetched.
        steps: in order of execution.
        verdict: of the gate; None when it was not reached.
        model_version: number under which the model was registered; None when it was not.
        alias_note: what became of the alias ``best``, and why; empty when nothing was registered.
        environment: Python, platform and package versions.
        error: one line, when it failed.
        exit_code: what a command that made this run exits with.
        remote: where a service carries it out; None for a run of this machine.

    Example:
        >>> record = run("TOY", workspace="workspace")
        >>> record.status, record.step("train").status
        (<RunStatus.ACCEPTED: 'accepted'>, <StepStatus.DONE: 'done'>)
    """

    run_id: str
    use_case: str
    plugin: str
    runner: str
    status: RunStatus
    created: str
    duration_s: float = 0.0
    seed: int
    parameters: Mapping[str, str | int | float | bool]
    config: str
    pipeline: Mapping[str, Any]
    dataset: DatasetRecord | None = None
    steps: tuple[StepRecord, ...] = ()
    verdict: Verdict | None = None
    model_version: int | None = None
    alias_note: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    exit_code: int = 0
    remote: RemoteRecord | None = None

    def step(self, name: str) -> StepRecord | None:
        """Return the record of the step `name`, if the run has one."""
        return next((step for step in self.steps if step.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types only."""
        return {
            "format": "mlops-run/1",
            "run_id": self.run_id,
            "use_case": self.use_case,
            "plugin": self.plugin,
            "runner": self.runner,
            "status": self.status,
            "created": self.created,
            "duration_s": self.duration_s,
            "seed": self.seed,
            "parameters": dict(self.parameters),
            "config": self.config,
            "pipeline": dict(self.pipeline),
            "dataset": asdict(self.dataset) if self.dataset else None,
            "steps": [step.to_json() for step in self.steps],
            "verdict": self.verdict.to_json() if self.verdict else None,
            "model_version": self.model_version,
            "alias_note": self.alias_note,
            "environment": dict(self.environment),
            "error": self.error,
            "exit_code": self.exit_code,
            **({"remote": asdict(self.remote)} if self.remote else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunRecord:
        """Return the record that `to_json` wrote."""
        fields = {name: value for name, value in data.items() if name != "format"}
        return cls(
            **{
                **fields,
                "status": RunStatus(data["status"]),
                "dataset": DatasetRecord(**data["dataset"]) if data["dataset"] else None,
                "steps": tuple(StepRecord.from_json(step) for step in data["steps"]),
                "verdict": Verdict.from_json(data["verdict"]) if data["verdict"] else None,
                "remote": RemoteRecord(**data["remote"]) if data.get("remote") else None,
            }
        )
