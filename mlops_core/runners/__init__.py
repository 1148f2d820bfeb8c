"""Runners carry out a pipeline. All of them take one `RunRequest` and return one `RunRecord`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mlops_core.errors import UsageError, did_you_mean
from mlops_core.runners.remote.options import RunnerOptions
from mlops_core.runners.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.config import LoadedConfig
    from mlops_core.pipeline import ParameterValue, Pipeline
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What shall be run.

    Attributes:
        use_case: the loaded use case.
        config: its validated configuration.
        pipeline: built from that configuration.
        parameters: a value for each of the pipeline's parameters.
        seed: of every random choice.
        is_offline: refuse to fetch from the network.
        selection: which steps are run even where they could be reused, or not at all.
        resumed: the record of the run that is continued; None for a new run.
    """

    use_case: UseCase
    config: LoadedConfig
    pipeline: Pipeline
    parameters: Mapping[str, ParameterValue]
    seed: int = 0
    is_offline: bool = False
    selection: Selection = field(default_factory=Selection)
    resumed: RunRecord | None = None


class RunObserver(Protocol):
    """Is told what happens in a run, from any thread; the command line draws it."""

    def run_started(self, record: RunRecord) -> None:
        """A run exists from now on."""

    def step_started(self, name: str) -> None:
        """A step's process is about to start; ``fetch`` is one too."""

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """A step has done `done` of `total`."""

    def step_ended(self, record: StepRecord) -> None:
        """A step is done, reused, failed, skipped or stopped."""

    def note(self, text: str) -> None:
        """Something should be known that changes nothing about the run."""


class SilentObserver:
    """Ignores everything."""

    def run_started(self, record: RunRecord) -> None:
        """Ignore it."""

    def step_started(self, name: str) -> None:
        """Ignore it."""

    def step_progress(self, name: str, label: str, done: int, total: int) -> None:
        """Ignore it."""

    def step_ended(self, record: StepRecord) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""


class Runner(Protocol):
    """Carries out a pipeline, wherever its steps run."""

    def run(self, request: RunRequest) -> RunRecord:
        """Carry it out and return the finished record.

        Raises:
            MlopsError: the run could not begin; what goes wrong later is in the record.
        """


RUNNERS = {
    "local": "mlops_core.runners.local.runner:LocalRunner",
    "sagemaker-local": "mlops_sagemaker.local_runner:SageMakerLocalRunner",
    "sagemaker": "mlops_sagemaker.runner:SageMakerRunner",
}
"""Name -> class, imported on use; each takes the store, an observer and how many steps may run at once."""


def open_runner(
    name: str,
    store: Store,
    *,
    observer: RunObserver,
    jobs: int | None = None,
    options: RunnerOptions | None = None,
) -> Runner:
    """Return the runner called `name`.

    Raises:
        UsageError: there is none, or an option means nothing to it.
        ConfigError: the settings that the options name are wrong.
    """
    if name not in RUNNERS:
        raise UsageError(f"no runner '{name}'{did_you_mean(name, RUNNERS) or ';'} runners: {', '.join(RUNNERS)}")
    module, _, kind = RUNNERS[name].partition(":")
    given = _understood(name, options or RunnerOptions())
    runner: Runner = getattr(importlib.import_module(module), kind)(store, observer=observer, jobs=jobs, **given)
    return runner


def _understood(name: str, options: RunnerOptions) -> dict[str, object]:
    if name == "sagemaker":
        return {"options": options}
    settings = ("settings", "settings_overrides") if name == "sagemaker-local" else ()
    options.check(name, known=settings)
    if not settings or not (options.settings or options.settings_overrides):
        return {}
    from mlops_sagemaker.settings import load_settings

    from mlops_core.settings import read_settings

    environ = read_settings().environ
    return {"settings": load_settings(options.settings, overrides=options.settings_overrides, environ=environ)}
