"""Collects what a gate rests on beyond the metrics from the workspace: predictions, columns of the split, the champion.

The same function serves a run that just ended, a stored run that is judged again, and a gate that somebody tries out.
"""

from __future__ import annotations

import functools
import json
import math
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.datasets.splits import SPLIT_FILE, manifest_digest, read_split
from mlops_core.errors import MlopsError, RunnerError, StepError
from mlops_core.evaluation.comparability import SPLITS_NOTE
from mlops_core.evaluation.coverage import digest_test_content, facts_of_note, find_manifests
from mlops_core.evaluation.metrics import Direction
from mlops_core.gates.evidence import RECALL, ChampionPredictions, EvidenceError, GateEvidence
from mlops_core.pipeline import DATASET, PREDICTIONS_OUTPUT, TRIAL_MARK
from mlops_core.predictions import read_predictions, write_predictions
from mlops_core.workspace.registry import BEST, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from mlops_core.evaluation.metrics import Metric, MetricReport
    from mlops_core.evaluation.paired import PairedDifference
    from mlops_core.gates.evidence.sample_metric import ComputeMetrics
    from mlops_core.pipeline import Pipeline
    from mlops_core.predictions import Predictions
    from mlops_core.workspace.model_versions import CompareVersions, ModelVersion
    from mlops_core.workspace.records import StepRecord
    from mlops_core.workspace.store import Store


CHAMPION_FILE = "champion.json"
_FORMAT = "mlops-champion/1"
_KEPT = 8
_TOLERANCE = 1e-9


def find_champion(store: Store, pipeline: Pipeline, use_case: str) -> int | None:
    """Return the version that is ``best`` now; None if there is none, or if the gate does not compare with it."""
    if not pipeline.gate.needs_champion:
        return None
    return Registry(store).alias_target(use_case, BEST)


def gate_evidence(
    predictions: Path,
    *,
    metrics: Sequence[Metric],
    compute: ComputeMetrics,
    inputs: Iterable[Path],
    champion: ChampionPredictions | None,
) -> GateEvidence:
    """Return the evidence of one evaluation.

    Args:
        predictions: folder with the predictions.
        metrics: the declared metrics.
        compute: the use case's metrics of predictions.
        inputs: the folders that the evaluation read; the columns of each split in them can be sliced.
        champion: predictions of the best version; None if there is none.

    Raises:
        StepError: the predictions are missing or damaged.
        DatasetError: a split is damaged.
    """
    splits = read_splits(tuple(inputs))
    return _evidence(predictions, metrics=metrics, compute=compute, splits=splits, champion=champion)


def _evidence(
    predictions: Path,
    *,
    metrics: Sequence[Metric],
    compute: ComputeMetrics,
    splits: ReadSplits,
    champion: ChampionPredictions | None,
) -> GateEvidence:
    from mlops_core.steps.evaluation import evaluate_predictions

    def evaluate(part: Predictions) -> MetricReport:
        return evaluate_predictions(part, compute, metrics=metrics)

    return GateEvidence(
        predictions=read_predictions(predictions),
        compute=compute,
        evaluate=evaluate,
        columns=splits.columns,
        champion=champion,
        test_content=splits.test_content,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSplits:
    """What a gate needs of the splits that an evaluation read.

    Attributes:
        columns: sample -> column -> value.
        test_content: digest of the content of the test samples; empty if there is no split.
    """

    columns: Mapping[str, Mapping[str, str]]
    test_content: str


def read_splits(folders: Sequence[Path]) -> ReadSplits:
    """Return what a gate needs of every ``split.csv`` in the folders.

    Raises:
        DatasetError: a split is damaged.
    """
    manifests = find_manifests({str(number): folder for number, folder in enumerate(folders)})
    content = digest_test_content(manifests.values()) if manifests else ""
    return ReadSplits(columns=split_columns(folders), test_content=content)


def split_digests(store: Store, steps: Iterable[StepRecord], report: MetricReport | None) -> dict[str, str]:
    """Return ``step.output`` of each split manifest of a run -> SHA-256 of its ``split.csv``.

    Args:
        store: the workspace; artifacts that are not in it are not read.
        steps: records of the steps.
        report: of the evaluation, which says what it has read, on any engine; None for none.

    Raises:
        RunnerError: the evaluation has read another manifest than the artifact in the workspace holds.
    """
    note = report.notes.get(SPLITS_NOTE) if report else None
    digests = {reference: facts.digest for reference, facts in facts_of_note(note).items()}
    for step in steps:
        if TRIAL_MARK in step.name:  # the selection has the manifest of the best trial
            continue
        for output, artifact in step.outputs.items():
            folder = store.artifacts.path(artifact) if store.artifacts.has(artifact) else None
            if folder is None or not (folder / SPLIT_FILE).is_file():
                continue
            digest = manifest_digest(folder)
            if digests.setdefault(f"{step.name}.{output}", digest) != digest:
                raise RunnerError(
                    f"the evaluation read the split {digests[f'{step.name}.{output}'][:12]}, but {step.name}.{output} "
                    f"of this run is {digest[:12]}; expected one split; run again with --force {step.name}"
                )
    return dict(sorted(digests.items()))


def split_columns(folders: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Return sample -> column -> value, from every ``split.csv`` in the folders."""
    columns: dict[str, dict[str, str]] = {}
    for folder in folders:
        if (folder / SPLIT_FILE).is_file():
            for row in read_split(folder):
                columns.setdefault(row.sample, {}).update(row.columns)
    return columns


def stored_evidence(
    *,
    pipeline: Pipeline,
    compute: ComputeMetrics,
    steps: Mapping[str, StepRecord],
    champion: int | None,
    sources: EvidenceSources,
) -> GateEvidence:
    """Return the evidence of a run whose artifacts are in the workspace.

    Args:
        pipeline: that the run carried out.
        compute: the use case's metrics of predictions.
        steps: records of its steps, by name.
        champion: the version to compare with; None for none.
        sources: of the workspace; they keep what the evidence of several runs shares.

    Raises:
        StepError: the predictions are missing or damaged.
        DatasetError: a split is damaged.
    """
    evaluation = pipeline.evaluation_step
    digests = [
        steps[step].outputs[output]
        for step, _, output in (
            reference.rpartition(".") for reference in evaluation.inputs.values() if reference != DATASET
        )
    ]
    return _evidence(
        sources.folder(steps[evaluation.name].outputs[PREDICTIONS_OUTPUT]),
        metrics=pipeline.metrics,
        compute=compute,
        splits=sources.splits(tuple(digests)),
        champion=None if champion is None else sources.champion(champion),
    )


class EvidenceSources:
    """What is stored: champions and columns of splits, which are the same for many runs, are read once."""

    def __init__(self, store: Store, use_case: str) -> None:
        """Read from `store`; nothing is read yet."""
        self.folder = store.artifacts.path
        keep = functools.lru_cache(maxsize=_KEPT)
        self.champion: Callable[[int], ChampionPredictions] = keep(
            lambda version: champion_predictions(store, use_case, version)
        )
        """Returns the predictions of a model version."""
        self.splits: Callable[[tuple[str, ...]], ReadSplits] = keep(
            lambda digests: read_splits(tuple(map(store.artifacts.path, digests)))
        )
        """Returns what is needed of the splits in the artifacts."""


def champion_predictions(store: Store, use_case: str, version: int) -> ChampionPredictions:
    """Return the predictions of a model version's evaluation, or why they are gone."""
    try:
        model = Registry(store).version(use_case, version)
        folder = predictions_folder(store, model.run_id)
        return ChampionPredictions(
            version=version, predictions=read_predictions(folder), test_content=model.test_content
        )
    except MlopsError as error:
        return ChampionPredictions(version=version, predictions=None, problem=f"its predictions are gone ({error})")


def version_comparison(store: Store, compute: Callable[[], ComputeMetrics]) -> CompareVersions:
    """Return the paired test by which ``best`` moves: of the predictions that two versions were registered with.

    Where the metric is the share of right answers, answers are compared; any other metric is computed by the use case.
    The values have to be those that were registered, so that no other metric is compared under the same name.

    Args:
        store: the workspace with the predictions.
        compute: returns the use case's metrics of predictions; called if they are needed.
    """

    def compare(best: ModelVersion, version: ModelVersion) -> PairedDifference:
        metric, is_higher_better = version.compared_by, version.direction is Direction.HIGHER
        earlier, later = _stored_predictions(store, best), _stored_predictions(store, version)

        def lazily(predictions: Predictions) -> MetricReport:
            return compute()(predictions)

        champion = ChampionPredictions(version=best.version, predictions=earlier)
        evidence = GateEvidence(predictions=later, compute=lazily, evaluate=lazily, champion=champion)

        def difference(name: str, *declared: str) -> PairedDifference:
            return evidence.difference(name, None, limit=0.0, is_higher_better=is_higher_better, declared=declared)[""]

        if later.classes and earlier.classes == later.classes:
            answers = difference(RECALL)
            if not _unlike_registered(answers, best, version):
                return answers
        try:
            compute()
        except MlopsError as error:
            raise EvidenceError(f"{metric} cannot be computed: {error}") from error
        tested = difference(metric, metric)
        if unlike := _unlike_registered(tested, best, version):
            raise EvidenceError(f"{unlike}: the plugin computes it differently now")
        return tested

    return compare


def _stored_predictions(store: Store, version: ModelVersion) -> Predictions:
    """Return the predictions of a version's evaluation.

    Raises:
        EvidenceError: they are gone or damaged.
    """
    try:
        folder = predictions_folder(store, version.run_id)
        if damage := store.artifacts.damage(folder.name):
            raise StepError(f"artifact {folder.name[:12]}: {damage}")
        return read_predictions(folder)
    except MlopsError as error:
        raise EvidenceError(f"the predictions of version {version.version} are gone ({error})") from error


def _unlike_registered(difference: PairedDifference, best: ModelVersion, version: ModelVersion) -> str:
    """Return which version's value is not the registered one; empty if both are."""
    metric = version.compared_by
    for model, value in ((best, difference.earlier), (version, difference.later)):
        registered = model.metrics[metric]
        computed = value if version.direction is Direction.HIGHER else -value
        if not math.isclose(computed, registered, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            return (
                f"{metric} of the predictions of version {model.version} is {computed:.6g}, but {registered:.6g} was "
                "registered"
            )
    return ""


def keep_champion(store: Store, use_case: str, version: int | None) -> str:
    """Keep the champion as an artifact that a container reads with `read_champion`, and return its digest."""
    work = store.work_folder("champion")
    try:
        folder = work / "content"
        folder.mkdir()
        write_champion(folder, None if version is None else champion_predictions(store, use_case, version))
        return store.artifacts.add(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_champion(folder: Path, champion: ChampionPredictions | None) -> None:
    """Write a champion into an empty folder, as a container reads it: ``champion.json`` and the predictions."""
    data = {"format": _FORMAT, "version": champion.version if champion else None}
    if champion and champion.predictions is None:
        data["problem"] = champion.problem
    elif champion and champion.predictions is not None:
        data |= {"test_content": champion.test_content} if champion.test_content else {}
        found = champion.predictions
        write_predictions(folder, found.classes, found.rows, facts=found.facts, has_boxes=found.has_boxes)
    (folder / CHAMPION_FILE).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def read_champion(folder: Path) -> ChampionPredictions | None:
    """Return the champion that `write_champion` wrote; None if there was no best version.

    Raises:
        StepError: the files are missing or damaged.
    """
    path = folder / CHAMPION_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != _FORMAT:
            raise StepError(f"{path} has the format {data['format']!r}; expected {_FORMAT!r}")
        if data["version"] is None:
            return None
        version, problem, content = (
            int(data["version"]),
            str(data.get("problem", "")),
            str(data.get("test_content", "")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StepError(f"{path} cannot be read: {error}") from error
    predictions = None if problem else read_predictions(folder)
    return ChampionPredictions(version=version, predictions=predictions, problem=problem, test_content=content)


def predictions_folder(store: Store, run_id: str) -> Path:
    """Return the folder with the predictions of a stored run.

    Raises:
        UsageError: there is no such run.
        StepError: the run has no evaluation, or its artifact is gone.
    """
    record = store.runs.load(run_id)
    digest = next((step.outputs[PREDICTIONS_OUTPUT] for step in record.steps if PREDICTIONS_OUTPUT in step.outputs), "")
    if not digest:
        raise StepError(f"run {run_id} has no predictions")
    if not store.artifacts.has(digest):
        raise StepError(f"the predictions of run {run_id}, artifact {digest[:12]}, are not in the workspace")
    return store.artifacts.path(digest)
