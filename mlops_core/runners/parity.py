"""Parity: what a local run did against what the executed definition did, step by step and digest by digest.

Nothing here repeats a decision of either side; two finished records and the definition are compared. A row says what
was compared, both values, and whether they are equal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core.pipeline import Pipeline, tuned_step
from mlops_core.runners.local.runner import LocalRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.plugin import ExecutedDefinition, Runner
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store

_SHORT = 12
_DONE = ("done", "reused")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow:
    """One comparison.

    Attributes:
        subject: for example ``train`` or ``verdict``.
        what: for example ``digest of model``.
        local: of the local run, for people.
        executed: of the executed definition.
        is_equal: whether the two are the same.
    """

    subject: str
    what: str
    local: str
    executed: str
    is_equal: bool

    @property
    def is_plain(self) -> bool:
        """Whether the row only says that nothing is there on both sides."""
        return self.is_equal and self.local in ("-", "nothing", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """All comparisons of one pair of runs."""

    local_run: str
    executed_run: str
    rows: tuple[ParityRow, ...]

    @property
    def differences(self) -> tuple[ParityRow, ...]:
        """The rows that are not equal."""
        return tuple(row for row in self.rows if not row.is_equal)

    def to_json(self) -> dict[str, object]:
        """Return the report as JSON types only."""
        rows = [{name: getattr(row, name) for name in ParityRow.__slots__} for row in self.rows]
        return {"local_run": self.local_run, "executed_run": self.executed_run, "rows": rows}


def prove_parity(  # noqa: PLR0913  two runners and their workspace
    request: RunRequest,
    *,
    store: Store,
    observer: RunObserver,
    runner: Runner,
    definition_of: Callable[[str], ExecutedDefinition],
    jobs: int | None = None,
    is_fresh: bool = True,
) -> ParityReport:
    """Run locally and on another runner, and compare the two.

    Args:
        request: the run, carried out twice.
        store: the workspace of both runs.
        observer: receives the events of both.
        runner: the other runner.
        definition_of: returns what it executed, by the run's id.
        jobs: number of steps to run in parallel; None for one per core.
        is_fresh: execute every step in both runs, even where earlier results could be reused.
    """
    if is_fresh:
        force = frozenset(step.name for step in request.pipeline.steps)
        request = replace(request, selection=replace(request.selection, force=force))
    local = LocalRunner(store, observer=observer, jobs=jobs).run(request)
    executed = runner.run(request)
    return compare_runs(local, executed, definition_of(executed.run_id))


def compare_runs(local: RunRecord, executed: RunRecord, definition: ExecutedDefinition) -> ParityReport:
    """Compare a local run with the execution of the definition that was compiled for it.

    Args:
        local: record of the local runner.
        executed: record of the runner that executed the definition.
        definition: what was executed.
    """
    pipeline = Pipeline.from_json(local.pipeline)
    rows = [
        _row("run", "status", local.status, executed.status),
        _row("run", "exit code", local.exit_code, executed.exit_code),
        _row("run", "error", error_of(local), error_of(executed)),
        _row("data set", "digest", _digest(local), _digest(executed)),
        *_parameters(local, definition),
        *_order(pipeline, definition),
    ]
    for step in pipeline.ordered():
        rows += _step(step.name, local.step(step.name), executed.step(step.name))
    rows += _verdict(local, executed)
    rows.append(_row("model", "registered", local.model_version is not None, executed.model_version is not None))
    return ParityReport(local_run=local.run_id, executed_run=executed.run_id, rows=tuple(rows))


def error_of(record: RunRecord) -> str:
    """Return the error without the path of the log, which differs from run to run."""
    return record.error.partition("; log: ")[0]


def _parameters(local: RunRecord, definition: ExecutedDefinition) -> Iterator[ParityRow]:
    for name, value in local.parameters.items():
        yield _row("parameter", name, value, definition.parameters.get(name))
    yield _row("parameter", "seed", local.seed, definition.seed)
    extra = sorted(definition.parameters.keys() - local.parameters.keys())
    yield _row("parameter", "others", "none", ", ".join(extra) or "none")


def _order(pipeline: Pipeline, definition: ExecutedDefinition) -> Iterator[ParityRow]:
    for step in pipeline.ordered():
        if step.trial is not None:  # an engine may carry out a search as one step
            continue
        needs = {need for each in pipeline.steps if step.name in (each.name, each.search) for need in each.needs}
        needed = ", ".join(sorted({tuned_step(need) for need in needs} - {step.name})) or "nothing"
        yield _row(step.name, "waits for", needed, ", ".join(sorted(definition.order.get(step.name, ()))) or "nothing")


def _step(name: str, local: StepRecord | None, executed: StepRecord | None) -> Iterator[ParityRow]:
    if local is None or executed is None:
        yield _row(name, "status", local and local.status, executed and executed.status)
        return
    yield _row(name, "status", _ending(local.status), _ending(executed.status))
    yield _row(name, "error", local.error, executed.error)
    for output in sorted({*local.outputs, *executed.outputs}):
        yield _row(name, f"digest of {output}", _of(local.outputs, output), _of(executed.outputs, output))


def _ending(status: str) -> str:
    """Return the status; done and reused are equal, for what was reused has the same digests."""
    return "done" if status in _DONE else str(status)


def _verdict(local: RunRecord, executed: RunRecord) -> Iterator[ParityRow]:
    ours, theirs = local.verdict, executed.verdict
    yield _row("verdict", "accepted", ours and ours.accepted, theirs and theirs.accepted)
    yield _row("verdict", "message", ours.message if ours else None, theirs.message if theirs else None)
    for index, clause in enumerate(ours.clauses if ours else ()):
        other = theirs.clauses[index] if theirs and index < len(theirs.clauses) else None
        yield _row("verdict", clause.clause, clause.reason, other.reason if other == clause else repr(other))


def _digest(record: RunRecord) -> str:
    return record.dataset.digest if record.dataset else ""


def _of(outputs: Mapping[str, str], output: str) -> str:
    return outputs.get(output, "")


def _row(subject: str, what: str, local: object, executed: object) -> ParityRow:
    return ParityRow(
        subject=subject, what=what, local=_shown(local), executed=_shown(executed), is_equal=local == executed
    )


def _shown(value: object) -> str:
    if value is None or value == "":
        return "-"
    text = str(value)
    is_digest = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return text[:_SHORT] if is_digest else text
