"""The installed runners that can be tried on this machine: each compiles a pipeline and carries out a small run.

They are discovered; the contract of use cases and `mlops matrix` know no runner by name but ``local``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlops_core.runners.discovery import load_runner, runners_that
from mlops_core.runners.plugin import Ability
from mlops_core.testing.observation.trees import tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.pipeline import Pipeline
    from mlops_core.runners.request import RunRequest
    from mlops_core.testing.observation.processes import Answer


class UseCaseUnderTest(Protocol):
    """What a runner is tried with: a use case at its smallest configuration."""

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline."""

    @property
    def request(self) -> RunRequest:
        """The run."""

    def new_folder(self, name: str) -> Path:
        """Return an empty folder that is used for nothing else."""

    def run_locally(self, workspace: Path, **options: object) -> Answer:
        """Carry out the run in a process of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOutcome:
    """One run on one runner.

    Attributes:
        status: ``accepted``, ``rejected``, ``failed``.
        error: one line, when it came to no verdict.
        outputs: ``step.output`` -> its files.
        durations_s: step -> seconds.
        metrics: name -> value, as the gate saw it.
        duration_s: of the whole run.
        model_version: under which the model was registered.
        workspace: where it happened.
    """

    status: str
    error: str = ""
    outputs: Mapping[str, Mapping[str, str]]
    durations_s: Mapping[str, float]
    metrics: Mapping[str, float | None]
    duration_s: float
    model_version: int | None
    workspace: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerUnderTest:
    """A runner that can be tried on this machine, without any account; `name` is that of ``--runner``."""

    name: str

    def compile(self, session: UseCaseUnderTest) -> str:
        """Return the document of the runner's engine, or the pipeline itself where the engine has none.

        Raises:
            MlopsError: the pipeline uses something that this runner does not have.
        """
        plugin = load_runner(self.name)
        if Ability.COMPILE not in plugin.abilities:
            return json.dumps(session.pipeline.to_json(), sort_keys=True)
        return plugin.compile(session.request, plugin.read_options({})).text

    def run(self, session: UseCaseUnderTest) -> RunnerOutcome:
        """Carry out the session's run in a workspace of its own."""
        workspace = session.new_folder("workspace")
        answer = session.run_locally(workspace, runner=self.name)
        if answer.error:
            return _nothing(workspace, answer.error)
        return outcome_of(answer.result, workspace)


LOCAL = RunnerUnderTest(name="local")


def installed_runners() -> tuple[RunnerUnderTest, ...]:
    """Return the installed runners that need no account and no network; a broken plugin is passed over."""
    return tuple(RunnerUnderTest(name=name) for name in runners_that(lambda plugin: plugin.runs_on_this_machine))


def outcome_of(record: Mapping[str, Any], workspace: Path) -> RunnerOutcome:
    """Return the outcome that a run's record tells."""
    clauses = record["verdict"]["clauses"] if record["verdict"] else []
    is_judged = record["status"] in ("accepted", "rejected", "undecided")
    return RunnerOutcome(
        status=record["status"],
        error="" if is_judged else record["error"] or record["status"],
        outputs=outputs_of(record),
        durations_s={step["name"]: step["duration_s"] for step in record["steps"]},
        metrics={clause["metric"]: clause["value"] for clause in clauses},
        duration_s=record["duration_s"],
        model_version=record["model_version"],
        workspace=workspace,
    )


def outputs_of(record: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return ``step.output`` -> its files, for a record that `mlops_core.testing.inside.runs` returned."""
    return {
        f"{step['name']}.{output}": tree(Path(record["artifacts"][digest]))
        for step in record["steps"]
        for output, digest in step["outputs"].items()
    }


def _nothing(workspace: Path, error: str) -> RunnerOutcome:
    return RunnerOutcome(
        status="failed",
        error=error,
        outputs={},
        durations_s={},
        metrics={},
        duration_s=0.0,
        model_version=None,
        workspace=workspace,
    )
