"""What must be known of a run to reproduce it: `OriginalRun`, made from a run in a workspace or in a bundle.

Owns which facts those are, and refuses a run that lacks one; carrying out the reproduction is the subject of
`mlops_core.trust.reproduction`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.errors import NotVerifiedError, UsageError
from mlops_core.evaluation.evaluation_file import EVALUATION_FILE, read_evaluation
from mlops_core.evaluation.metrics import Metric, MetricReport
from mlops_core.reading import parse_json
from mlops_core.report.facts import declared_metrics, read_facts
from mlops_core.runners.saved_config import CONFIG
from mlops_core.workspace.records import RunRecord, RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlops_core.pipeline import ParameterValue
    from mlops_core.trust.bundles.keys import TrustedKeys
    from mlops_core.workspace.records import DatasetRecord, StepRecord
    from mlops_core.workspace.store import Store

_UNFINISHED = (RunStatus.RUNNING, RunStatus.STOPPED)


def _no_files(_digest: str) -> Mapping[str, str] | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalRun:
    """The facts of a run that its reproduction needs.

    Attributes:
        run_id: of the run.
        origin: where the facts come from, for messages: ``run 2026...``, or a file.
        use_case: name of the use case.
        plugin: distribution and version that provided it.
        runner: name of the runner.
        config_folder: holds ``config.yaml`` and, if the configuration had references, ``secrets.json``.
        parameters: the value of each parameter.
        seed: of the run.
        dataset: the data that the run read.
        steps: those that wrote outputs, in order of execution.
        environment: Python, platform, processor, settings of libraries and package versions.
        is_remote: another machine executed the steps, so the environment is not that of the steps.
        metrics: the declared metrics.
        evaluation: their values; None when they are gone or the run had no evaluation.
        find_files: returns path -> SHA-256 of a folder with this digest; None when they are not known.
    """

    run_id: str
    origin: str
    use_case: str
    plugin: str
    runner: str
    config_folder: Path
    parameters: Mapping[str, ParameterValue]
    seed: int
    dataset: DatasetRecord
    steps: tuple[StepRecord, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    is_remote: bool = False
    metrics: tuple[Metric, ...] = ()
    evaluation: MetricReport | None = None
    find_files: Callable[[str], Mapping[str, str] | None] = _no_files

    def step(self, name: str) -> StepRecord | None:
        """Return the record of the step `name`, if it wrote outputs."""
        return next((step for step in self.steps if step.name == name), None)


def stored_original(store: Store, run_id: str) -> OriginalRun:
    """Return the facts of a run in the workspace `store`.

    Raises:
        UsageError: there is no such run, it has not finished, or its record lacks what a reproduction needs.
        StoreError: its record is damaged.
    """
    facts = read_facts(store, run_id)
    return original_of(
        facts.record,
        config_folder=facts.folder,
        evaluation=facts.evaluation if isinstance(facts.evaluation, MetricReport) else None,
        find_files=store.manifests.find,
    )


def bundled_original(
    path: Path, folder: Path, *, keys: TrustedKeys | None, allows_unsigned: bool = False
) -> OriginalRun:
    """Return the facts of the run in an evidence bundle, after verifying the bundle.

    Nothing of a bundle is used before its signature is checked: its configuration decides what the plugin executes.

    Args:
        path: the bundle's file.
        folder: an existing folder to which the configuration is written.
        keys: keys whose signatures are accepted.
        allows_unsigned: accept a bundle without a signature; not together with `keys`.

    Raises:
        NotVerifiedError: the bundle is not verified.
        UsageError: it cannot be read, or its run lacks what a reproduction needs.
    """
    from mlops_core.trust.bundles import archive
    from mlops_core.trust.bundles.verification import verify_bundle

    report = verify_bundle(path, keys=keys, allows_unsigned=allows_unsigned, recomputes=False)
    if not report.is_verified:
        raise NotVerifiedError(f"{path} is not verified: {report.mismatch}; nothing was run")
    record = RunRecord.from_json(parse_json(report.documents[archive.RUN]))
    (folder / CONFIG).write_bytes(report.documents[archive.CONFIG])
    evaluation = None
    if archive.EVALUATION in report.documents:
        (folder / EVALUATION_FILE).write_bytes(report.documents[archive.EVALUATION])
        evaluation = read_evaluation(folder, declared_metrics(record))
    return original_of(record, config_folder=folder, evaluation=evaluation, origin=f"run {record.run_id} of {path}")


def original_of(
    record: RunRecord,
    *,
    config_folder: Path,
    evaluation: MetricReport | None,
    origin: str = "",
    find_files: Callable[[str], Mapping[str, str] | None] = _no_files,
) -> OriginalRun:
    """Return the facts in the record of a run.

    Args:
        record: of the run.
        config_folder: holds the configuration of the run, ``config.yaml``.
        evaluation: the metrics of the run; None when they are gone.
        origin: where the record comes from, for messages; empty for the workspace.
        find_files: returns path -> SHA-256 of a folder with this digest; None when they are not known.

    Raises:
        UsageError: the run has not finished, or its record lacks what a reproduction needs.
    """
    origin = origin or f"run {record.run_id}"
    steps = tuple(step for step in record.steps if step.outputs)
    missing = ""
    if record.status in _UNFINISHED:
        missing = f"it is {record.status}; resume it first: mlops run --resume {record.run_id}"
    elif not steps:
        missing = "its record has no digest of an output, with which the new outputs could be compared"
    elif record.dataset is None:
        missing = "its record does not say which data set it read"
    elif not (config_folder / CONFIG).is_file():
        missing = f"{config_folder / CONFIG} is gone, and with it the configuration"
    if missing or record.dataset is None:
        raise UsageError(f"{origin} cannot be reproduced: {missing}")
    return OriginalRun(
        run_id=record.run_id,
        origin=origin,
        use_case=record.use_case,
        plugin=record.plugin,
        runner=record.runner,
        config_folder=config_folder,
        parameters=record.parameters,
        seed=record.seed,
        dataset=record.dataset,
        steps=steps,
        environment=record.environment,
        is_remote=record.remote is not None,
        metrics=declared_metrics(record),
        evaluation=evaluation,
        find_files=find_files,
    )
