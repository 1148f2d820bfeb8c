"""What observers receive: facts of runs, steps, model versions and aliases, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.steps.histories import HistoryRow
    from mlops_core.workspace.model_versions import LedgerEntry, ModelVersion
    from mlops_core.workspace.records import RunRecord, StepRecord


class EventPhase(StrEnum):
    """Whether something began or ended."""

    STARTED = "started"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverContext:
    """The last argument of every hook of an observer.

    Attributes:
        name: the observer's, as its entry point spells it.
        workspace: the workspace's folder.
        settings: the observer's settings: those of ``observers.NAME`` in ``workspace.yaml`` and, for a run, its steps
            and its model, those of the section of this name in the run's configuration, which take precedence.
        log: messages for ``observers/NAME/delivery.log`` in the workspace.

    Example:
        >>> import logging
        >>> ObserverContext(name="demo", workspace=Path("."), settings={}, log=logging.getLogger("demo")).name
        'demo'
    """

    name: str
    workspace: Path
    settings: Mapping[str, object]
    log: logging.Logger


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """A run that began or ended.

    Attributes:
        phase: of the run; a run that is resumed begins and ends more than once.
        record: its record, as it is when the event is delivered.
        folder: the run's folder with ``evaluation.json``, ``report.html`` and the logs, where they exist.
        parameters: the configuration as used with dotted names, the parameters and the seed.
        metrics: name -> value, of the evaluation; only finite values, empty before the run ended.
    """

    phase: EventPhase
    record: RunRecord
    folder: Path
    parameters: Mapping[str, object]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent:
    """A step of a run that began or ended.

    Attributes:
        phase: of the step.
        run_id: the run.
        record: of the step; only its name is known when it begins.
        histories: output of a training step -> the rows of its ``history.csv``; empty before it ended.
    """

    phase: EventPhase
    run_id: str
    record: StepRecord
    histories: Mapping[str, tuple[HistoryRow, ...]] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvent:
    """A model version that was registered, or whose approval status changed.

    Attributes:
        version: the version, with its present status and aliases.
        entry: the ledger's entry about the change.
        folder: the files of the model; None where they are not in the workspace.
    """

    version: ModelVersion
    entry: LedgerEntry
    folder: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasEvent:
    """An alias that was moved or removed.

    Attributes:
        use_case: to which the alias belongs.
        alias: its name.
        version: the version that it refers to since; None when it was removed.
        entry: the ledger's entry about the change.
    """

    use_case: str
    alias: str
    version: int | None
    entry: LedgerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """A model that was exported and is to be described in the format of another system.

    Attributes:
        version: the version.
        folder: the exported files, with ``mlops-model.json``; a description is added to it.
    """

    version: ModelVersion
    folder: Path
