"""Records of runs: `RunRecord` and `StepRecord`, written to and read from JSON (``run.json``)."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.gates.verdicts import Verdict
from mlops_core.steps.keys import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class RunStatus(StrEnum):
    """The status of a run.

    ``undecided``: the evidence was not enough for the gate to accept or reject the model. ``partial``: the requested
    steps are done, and no gate was evaluated.
    """

    RUNNING = "running"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNDECIDED = "undecided"
    FAILED = "failed"
    STOPPED = "stopped"
    PARTIAL = "partial"


class StepStatus(StrEnum):
    """The status of a step of a run."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    REUSED = "reused"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPED = "stopped"


_MAPPINGS = ("key_components", "inputs", "outputs")


def _interned(texts: Mapping[str, str]) -> dict[str, str]:
    """Return a mapping whose texts are shared with equal ones: most are the same in thousands of steps."""
    return {sys.intern(name): sys.intern(text) if type(text) is str else text for name, text in texts.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of one run.

    Attributes:
        name: the step's.
        status: how it ended.
        key: digest of its step key; empty when it was never computed.
        key_components: the components of the key, by name.
        inputs: local name -> digest.
        outputs: output -> digest of the artifact.
        started: ISO 8601, UTC; empty when it did not start.
        duration_s: wall time; of the run that did the work when it was reused.
        attempts: how often it was started.
        reused_from: the run whose outputs were taken.
        because: one sentence: why it was run or reused.
        changes: what differs from the key under which it was last done.
        warning: one line, when something is wrong that does not stop the run.
        observed: what its process opened, listed, wrote, started and asked of the clock, as numbers, and the first
            files that it read without declaring them (`mlops_core.steps.observation.Observation`).
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
    observed: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    def __repr__(self) -> str:
        """Return how the step ended, in one line; the attributes hold the rest."""
        return f"<StepRecord {self.name}: {self.status}{f', {self.error}' if self.error else ''}>"

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types only."""
        values = {name: getattr(self, name) for name in self.__slots__}
        data = {name: dict(value) if name in _MAPPINGS else value for name, value in values.items()}
        return {**data, "changes": [asdict(change) for change in self.changes]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | StepRecord) -> StepRecord:
        """Return the record that `to_json` wrote; a record, as `step_or_mapping` returns it, stays as it is."""
        if isinstance(data, StepRecord):
            return data
        changes = tuple(Change(**change) for change in data.get("changes", ()))
        mappings = {name: _interned(data[name]) for name in _MAPPINGS if name in data}
        texts = _interned({name: value for name, value in data.items() if type(value) is str})
        return cls(**{**data, **texts, **mappings, "status": StepStatus(data["status"]), "changes": changes})


def step_or_mapping(data: dict[str, Any]) -> StepRecord | dict[str, Any]:
    """Return the record of a step for an object that has exactly its fields, and any other object as it is.

    As the ``object_hook`` of `json.loads` it makes each record while the text is parsed, so that the objects of
    thousands of steps are not in memory at once.
    """
    return StepRecord.from_json(data) if data.keys() == _STEP_FIELDS else data


_STEP_FIELDS = frozenset(StepRecord.__slots__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """The data that a run read.

    Attributes:
        name: as configured.
        path: the folder it was read from.
        digest: over relative path, size and content of each file.
        files: how many.
        size_bytes: of all files together.
        is_generated: whether the data was generated by code.
        licence: of the catalogue entry; empty for a folder of the user's own.
        asset: the data asset, ``name:number``; empty where it is none.
        earlier_split: the data assets with the parts of an earlier split, ``part: name:number``, with commas between
            them; the digest covers them. Empty for none.
        digest_of: ``listing`` where the digest covers key, size and entity tag of each object instead of contents: the
            data of others in an object store, which is used in place; empty otherwise.
    """

    name: str
    path: str
    digest: str
    files: int
    size_bytes: int
    is_generated: bool = False
    licence: str = ""
    asset: str = ""
    earlier_split: str = ""
    digest_of: str = ""

    @property
    def assets(self) -> str:
        """The data asset and those of an earlier split, with commas between them; empty for none."""
        return ", ".join(filter(None, (self.asset, self.earlier_split)))

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON types only."""
        data = asdict(self)
        for name in ("asset", "earlier_split", "digest_of"):
            if not data[name]:
                del data[name]  # an older version reads the rest
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRecord:
    """The service that executes a run; the run continues there when no process on this machine follows it.

    Attributes:
        execution: the service's name of the execution.
        pipeline: the service's name of the pipeline.
        region: of the service.
        bucket: where data and results are stored.
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
    """One run, with everything needed to explain and check it later.

    Attributes:
        run_id: unique in the workspace; starts with the time of creation.
        use_case: name of the use case.
        plugin: distribution and version that provided it.
        runner: name of the runner.
        status: its status.
        created: ISO 8601, UTC.
        duration_s: wall time of the whole run.
        seed: of every random choice.
        parameters: the value of each parameter.
        config: the configuration as used, as YAML text.
        pipeline: the pipeline as JSON.
        dataset: what was read; None before it was fetched.
        steps: in order of execution.
        verdict: of the gate; None when it was not reached.
        champion: number of the version with which the gate compared the model; None where it compared with none.
        model_version: number under which the model was registered; None when it was not.
        alias_note: whether the alias ``best`` was moved, and why; empty if no model was registered.
        environment: Python, platform, processor, settings of libraries and package versions.
        error: one line, when it failed.
        exit_code: what a command that made this run exits with.
        remote: where a service carries it out; None for a run of this machine.
        splits: ``step.output`` of each split manifest -> SHA-256 of its ``split.csv``.
        view: returns the record as HTML for a notebook, with what its workspace holds; None where nothing can show it.
            It is neither compared nor written.

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
    champion: int | None = None
    model_version: int | None = None
    alias_note: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    exit_code: int = 0
    remote: RemoteRecord | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    view: Callable[[RunRecord], str] | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        """Return what happened, in one line; the attributes hold the rest."""
        version = "" if self.model_version is None else f", model version {self.model_version}"
        error = f", {self.error}" if self.error else ""
        return f"<RunRecord {self.run_id}: {self.use_case} {self.status}, {len(self.steps)} steps{version}{error}>"

    def _repr_html_(self) -> str | None:
        """Return the record as the output of a notebook's cell; None to show its one line."""
        return self.view(self) if self.view else None

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
            "dataset": self.dataset.to_json() if self.dataset else None,
            "steps": [step.to_json() for step in self.steps],
            "verdict": self.verdict.to_json() if self.verdict else None,
            "model_version": self.model_version,
            "alias_note": self.alias_note,
            "environment": dict(self.environment),
            "error": self.error,
            "exit_code": self.exit_code,
            **({"champion": self.champion} if self.champion is not None else {}),
            **({"remote": asdict(self.remote)} if self.remote else {}),
            **({"splits": dict(self.splits)} if self.splits else {}),
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
                "steps": tuple(map(StepRecord.from_json, data["steps"])),
                "verdict": Verdict.from_json(data["verdict"]) if data["verdict"] else None,
                "remote": RemoteRecord(**data["remote"]) if data.get("remote") else None,
            }
        )
