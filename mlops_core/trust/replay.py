"""Replays a gate over stored runs: which past verdicts another gate would change. No step is run.

Each run is judged on its stored evaluation, and on its stored predictions where the gate needs them, with the
parameters that it had. A comparison with the champion uses the version that the run was compared with or, where it was
compared with none, the one that was ``best`` when it was created.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import ConfigError, MlopsError, UsageError
from mlops_core.evaluation.evaluation_file import EVALUATION_FILE, read_evaluation
from mlops_core.gates.clauses import Champion, Comparison
from mlops_core.gates.conditions import iter_clauses
from mlops_core.gates.configured import check_thresholds, configured_gate
from mlops_core.gates.evidence import EvidenceError
from mlops_core.gates.parsing import parse_condition
from mlops_core.pipeline import Pipeline
from mlops_core.report.facts import recorded_licences
from mlops_core.runners.evidence import EvidenceSources, stored_evidence
from mlops_core.workspace.records import RunStatus
from mlops_core.workspace.registry import BEST, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlops_core.gates.evidence import GateEvidence
    from mlops_core.gates.evidence.sample_metric import ComputeMetrics
    from mlops_core.gates.gate import Gate
    from mlops_core.gates.verdicts import ClauseVerdict, GateOutcome, Verdict
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

_DURATION = re.compile(r"(\d{1,6})([smhdw])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_JUDGED = (RunStatus.ACCEPTED, RunStatus.REJECTED, RunStatus.UNDECIDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedRun:
    """A stored run under another gate.

    Attributes:
        run_id: of the run.
        created: ISO 8601, UTC.
        before: the verdict that was given.
        verdict: the verdict of the other gate; None if the run cannot be judged.
        problem: why it cannot be judged; empty if it can.
    """

    run_id: str
    created: str
    before: GateOutcome
    verdict: Verdict | None = None
    problem: str = ""

    @property
    def is_changed(self) -> bool:
        """Whether the other gate gives another verdict."""
        return self.verdict is not None and self.verdict.outcome is not self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdCurve:
    """How many runs meet a clause, by its threshold.

    Attributes:
        clause: the clause as it is written in the gate.
        threshold: its threshold in the gate.
        points: (threshold, number of runs that meet it), in order of the threshold; the steps are at values of runs.
        runs: number of runs with a value.
    """

    clause: str
    threshold: float
    points: tuple[tuple[float, int], ...]
    runs: int


def replay_gate(
    store: Store,
    use_case: str,
    text: str,
    *,
    compute: Callable[[], ComputeMetrics],
    since: str = "",
) -> Iterator[ReplayedRun]:
    """Yield each judged run of a use case under another gate, the newest first.

    Args:
        store: the workspace.
        use_case: name of the use case.
        text: condition of the gate, as `mlops_core.gates.parsing` reads it; ``default`` is the gate that a run had.
        compute: returns the use case's metrics of predictions; called if a gate needs them.
        since: leave out runs that are older: ``90d``, ``12h``, ``4w`` or a date.

    Raises:
        UsageError: `since` is not valid.
        ConfigError: the condition is not well formed, or mentions a metric that no run has; or no run could be
            accepted, whatever its metrics are: the clauses contradict each other, or are about a part that no test set
            has.
    """
    earliest = _earliest(since)
    compute = functools.cache(compute)
    shared = _Shared(store, use_case)
    gates = _Gates(text)
    impossible: ConfigError | None = None
    is_possible = False
    for run in store.runs.newest(use_case=use_case, limit=-1):
        if run.created < earliest or run.status not in _JUDGED:
            continue
        record = store.runs.load(run.run_id)
        if record.verdict is None:
            continue
        before = record.verdict.outcome
        try:
            pipeline = gates.pipeline(record)
        except (MlopsError, KeyError, TypeError, ValueError) as error:
            yield ReplayedRun(run_id=run.run_id, created=run.created, before=before, problem=f"its pipeline: {error}")
            continue
        gate = gates.gate(record)
        try:
            gates.check(record)
            verdict = _judge(store, record, pipeline, gate, shared=shared, compute=compute)
        except ConfigError as error:
            impossible = impossible or error
            yield ReplayedRun(run_id=run.run_id, created=run.created, before=before, problem=str(error))
            continue
        except (MlopsError, KeyError) as error:
            is_possible = True
            yield ReplayedRun(run_id=run.run_id, created=run.created, before=before, problem=str(error))
            continue
        is_possible = True
        yield ReplayedRun(run_id=run.run_id, created=run.created, before=before, verdict=verdict)
    if impossible and not is_possible:
        raise impossible


def threshold_curves(runs: Sequence[ReplayedRun]) -> tuple[ThresholdCurve, ...]:
    """Return a curve for each comparison with a number, over all runs that have a value for it."""
    clauses: dict[str, list[ClauseVerdict]] = {}
    for run in runs:
        for verdict in run.verdict.clauses if run.verdict else ():
            clauses.setdefault(verdict.clause, []).append(verdict)
    return tuple(curve for text, found in clauses.items() if (curve := _curve(text, found)))


def _curve(text: str, verdicts: Sequence[ClauseVerdict]) -> ThresholdCurve | None:
    [(clause, wanted)] = iter_clauses(parse_condition(text))
    threshold = next((verdict.threshold for verdict in verdicts if verdict.threshold is not None), None)
    values = sorted(verdict.value for verdict in verdicts if verdict.value is not None)
    if not isinstance(clause, Comparison) or isinstance(clause.threshold, Champion) or threshold is None or not values:
        return None
    operator = clause.operator if wanted else clause.operator.opposite
    points = tuple(
        (limit, sum(operator.holds(value, limit) for value in values)) for limit in sorted({*values, threshold})
    )
    return ThresholdCurve(clause=text, threshold=threshold, points=points, runs=len(values))


def curve_svg(curve: ThresholdCurve) -> str:
    """Return a curve as the content of an ``.svg`` file: the number of runs that meet the clause, by its threshold."""
    from mlops_core.report.kit import step_svg

    return step_svg(
        curve.points,
        marked=curve.threshold,
        title=f"Runs that meet {curve.clause}, by the threshold",
        x_label="threshold",
        y_label=f"runs of {curve.runs}",
    )


class _Gates:
    """The gates of the runs; runs with the same pipeline share one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pipelines: dict[str, Pipeline] = {}
        self._gates: dict[str, Gate] = {}
        self._checked: dict[str, ConfigError | None] = {}

    def pipeline(self, record: RunRecord) -> Pipeline:
        """Return the pipeline that a run carried out.

        Raises:
            MlopsError: it is damaged; or a KeyError, TypeError or ValueError.
        """
        key = _key(record.pipeline)
        if key not in self._pipelines:
            self._pipelines[key] = Pipeline.from_json(record.pipeline)
        return self._pipelines[key]

    def gate(self, record: RunRecord) -> Gate:
        """Return the gate by which a run is judged again.

        Raises:
            ConfigError: it is not well formed, or mentions what the run does not have.
        """
        key = _key(record.pipeline)
        if key not in self._gates:
            pipeline = self.pipeline(record)
            numeric = [parameter.name for parameter in pipeline.parameters if parameter.is_numeric]
            self._gates[key] = configured_gate(
                pipeline.gate, self._text, metrics=pipeline.metrics, parameters=numeric, key="--set"
            )
        return self._gates[key]

    def check(self, record: RunRecord) -> None:
        """Refuse a gate whose clauses contradict each other with the parameters of a run.

        Raises:
            ConfigError: no model can be accepted.
        """
        key = _key([record.pipeline, record.parameters])
        if key not in self._checked:
            metrics = self.pipeline(record).metrics
            try:
                check_thresholds(self.gate(record), metrics=metrics, values=record.parameters, key="--set")
                self._checked[key] = None
            except ConfigError as error:
                self._checked[key] = error
        if fault := self._checked[key]:
            raise fault


def _key(data: object) -> str:
    return json.dumps(data, sort_keys=True)


def _judge(
    store: Store,
    record: RunRecord,
    pipeline: Pipeline,
    gate: Gate,
    *,
    shared: _Shared,
    compute: Callable[[], ComputeMetrics],
) -> Verdict:
    folder = store.runs.folder(record.run_id)
    report = read_evaluation(folder, pipeline.metrics)
    champion = shared.of(record) if gate.needs_champion else None
    licences = pipeline.licences or recorded_licences(record)
    outputs = [step.outputs for step in record.steps]
    facts = _key([record.pipeline, record.parameters, outputs, champion, repr(licences)])
    digest = hashlib.sha256(facts.encode(errors="replace") + (folder / EVALUATION_FILE).read_bytes()).digest()
    if digest in shared.verdicts:
        return shared.verdicts[digest]
    numbers = {name: value for name, value in record.parameters.items() if isinstance(value, int | float)}
    evidence: GateEvidence | None = None
    if gate.needs_predictions:
        evidence = stored_evidence(
            pipeline=pipeline,
            compute=compute(),
            steps={step.name: step for step in record.steps},
            champion=champion,
            sources=shared.sources,
        )
        _require_slices(gate, evidence)
    verdict = gate.evaluate(report, metrics=pipeline.metrics, parameters=numbers, evidence=evidence, licences=licences)
    shared.verdicts[digest] = verdict
    return verdict


def _require_slices(gate: Gate, evidence: GateEvidence) -> None:
    """Refuse a gate about a part that the test set does not have.

    Raises:
        ConfigError: there is no such class, column or value.
    """
    for clause, _ in iter_clauses(gate.condition):
        if clause.slice:
            try:
                evidence.require_slice(clause.slice)
            except EvidenceError as error:
                raise ConfigError(f"--set: {clause}: {error}") from error


class _Shared:
    """What several runs share: the version that was ``best`` at a time, its predictions, and verdicts."""

    def __init__(self, store: Store, use_case: str) -> None:
        self.sources = EvidenceSources(store, use_case)
        self.verdicts: dict[bytes, Verdict] = {}
        """Digest of everything that a verdict rests on -> the verdict, for runs that reuse the steps of others."""
        self._moves = [
            (entry.at, int(entry.value) if entry.value else None)
            for entry in Registry(store).history(use_case)
            if entry.subject == f"alias {BEST}"
        ]

    def of(self, record: RunRecord) -> int | None:
        if record.champion is not None:
            return record.champion
        moves = [version for at, version in sorted(self._moves, key=lambda move: move[0]) if at < record.created]
        return moves[-1] if moves else None


def _earliest(since: str) -> str:
    """Return the first moment that counts, as ISO 8601 in UTC.

    Raises:
        UsageError: the text is neither a duration nor a date.
    """
    if not since:
        return ""
    match = _DURATION.match(since)
    try:
        if match:
            moment = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        else:
            moment = dt.datetime.fromisoformat(since)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        expected = "expected a duration such as 90d, 12h or 4w, or a date"
        raise UsageError(f"--since {since!r} is not valid; {expected}") from None
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
