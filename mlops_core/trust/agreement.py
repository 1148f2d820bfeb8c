"""How far two executions of one run agree, step by step and metric by metric, and what recorded facts explain it.

Owns the comparison as data; nothing is executed or read here. A step's outputs are compared by their digests. Metrics
are compared by the tolerance that the plugin declares, and by nothing else: no other output has one.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.pipeline import StepKind
from mlops_core.runners.environment import MACHINE_FACTS
from mlops_core.steps.keys import Change
from mlops_core.workspace.manifests import changed_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mlops_core.evaluation.metrics import Metric, MetricReport
    from mlops_core.pipeline import Pipeline, Step
    from mlops_core.trust.originals import OriginalRun
    from mlops_core.workspace.records import RunRecord, StepRecord

_ROUNDING = 1e-12
"""Share of a tolerance by which a difference of two decimal fractions may exceed it: 0.9125 - 0.8875 > 0.025."""


class Agreement(StrEnum):
    """How far two outputs or values agree."""

    SAME = "same bytes"
    WITHIN = "within tolerance"
    DIFFERENT = "different"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingOutput:
    """An output whose digest differs.

    Attributes:
        name: of the output.
        before: its digest in the original run.
        now: its digest in the reproduction; empty where the step no longer has it.
        files: the files that differ; empty where they are not known.
    """

    name: str
    before: str
    now: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAgreement:
    """A step of both runs.

    Attributes:
        step: its name.
        agreement: of its outputs.
        outputs: those that differ.
        is_origin: the outputs differ although every input is the same: the difference arises here.
        causes: recorded facts that this step depends on and that differ; empty unless it is an origin.
    """

    step: str
    agreement: Agreement
    outputs: tuple[DifferingOutput, ...] = ()
    is_origin: bool = False
    causes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricAgreement:
    """A metric of both runs.

    Attributes:
        metric: its name.
        before: value in the original run; None when it has none.
        now: value in the reproduction; None when it has none.
        tolerance: that the plugin declares.
        agreement: of the two values; equal values are within any tolerance.
    """

    metric: str
    before: float | None
    now: float | None
    tolerance: float
    agreement: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The result of running a run again.

    Attributes:
        original: id of the original run.
        use_case: name of the use case.
        dataset: digest of the data set, the same in both runs.
        steps: each step of the original run that wrote outputs.
        metrics: each declared metric.
        has_evaluation: whether the original's metrics are known, so that they can be compared.
        other_differences: recorded facts that differ and are not among the causes of any step.
        unrecorded: facts that the original run does not record, so that they cannot be compared.
        is_remote: another machine executed the original's steps; its environment is that of the one that started it.
        folder: workspace of the reproduction; empty when it was not kept.
    """

    original: str
    use_case: str
    dataset: str
    steps: tuple[StepAgreement, ...]
    metrics: tuple[MetricAgreement, ...]
    has_evaluation: bool
    other_differences: tuple[Change, ...] = ()
    unrecorded: tuple[str, ...] = ()
    is_remote: bool = False
    folder: str = ""

    @property
    def agreement(self) -> Agreement:
        """How far the whole run agrees: where bytes differ, the metrics decide."""
        if all(step.agreement is Agreement.SAME for step in self.steps):
            return Agreement.SAME
        is_complete = all(step.agreement is not Agreement.NOT_RUN for step in self.steps)
        is_within = all(metric.agreement is not Agreement.DIFFERENT for metric in self.metrics)
        if is_complete and self.has_evaluation and self.metrics and is_within:
            return Agreement.WITHIN
        return Agreement.DIFFERENT

    @property
    def is_reproduced(self) -> bool:
        """Whether the outputs are the same, or every metric is within its tolerance."""
        return self.agreement is not Agreement.DIFFERENT

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON types only."""
        return {"agreement": self.agreement, "is_reproduced": self.is_reproduced, **asdict(self)}


def compare_reproduction(
    original: OriginalRun,
    record: RunRecord,
    *,
    pipeline: Pipeline,
    evaluation: MetricReport | None,
    find_files: Callable[[str], Mapping[str, str] | None],
    folder: str = "",
) -> Reproduction:
    """Compare a run with its reproduction.

    Args:
        original: the run.
        record: of the reproduction.
        pipeline: that the reproduction carried out.
        evaluation: metrics of the reproduction; None when it has none.
        find_files: returns path -> SHA-256 of an output of the reproduction.
        folder: workspace of the reproduction, if it is kept.
    """
    declared = {metric.name: metric for metric in (*pipeline.metrics, *original.metrics)}  # the original's own last
    metrics = tuple(_metrics(declared.values(), original.evaluation, evaluation))
    machine = tuple(_machine_changes(original, record))
    steps = []
    for step in original.steps:
        now = record.step(step.name)
        outputs = tuple(_outputs(step, now, original.find_files, find_files))
        is_origin = bool(outputs) and _has_same_inputs(step.name, original, record, pipeline=pipeline)
        declaration = next((known for known in pipeline.steps if known.name == step.name), None)
        causes = (*_step_changes(step, now, declaration, original, record), *machine) if is_origin else ()
        agreement = _step_agreement(now, outputs, declaration, metrics if original.evaluation else ())
        steps.append(
            StepAgreement(step=step.name, agreement=agreement, outputs=outputs, is_origin=is_origin, causes=causes)
        )
    known = {change for step in steps for change in step.causes}
    others = dict.fromkeys((*machine, *_package_changes(original, record), *_all_step_changes(original, record)))
    return Reproduction(
        original=original.run_id,
        use_case=original.use_case,
        dataset=original.dataset.digest,
        steps=tuple(steps),
        metrics=metrics,
        has_evaluation=original.evaluation is not None,
        other_differences=tuple(change for change in others if change not in known),
        unrecorded=tuple(
            name for name in MACHINE_FACTS if name in record.environment and name not in original.environment
        ),
        is_remote=original.is_remote,
        folder=folder,
    )


def _metrics(
    declared: Iterable[Metric], before: MetricReport | None, now: MetricReport | None
) -> Iterator[MetricAgreement]:
    for metric in declared:
        old, new = (report.values.get(metric.name) if report else None for report in (before, now))
        values = (old.value if old else None, new.value if new else None)
        yield MetricAgreement(
            metric=metric.name,
            before=values[0],
            now=values[1],
            tolerance=metric.tolerance,
            agreement=_metric_agreement(*values, tolerance=metric.tolerance),
        )


def _metric_agreement(before: float | None, now: float | None, *, tolerance: float) -> Agreement:
    if before is None or now is None:
        return Agreement.WITHIN if before is now else Agreement.DIFFERENT
    if before == now or (math.isnan(before) and math.isnan(now)):
        return Agreement.WITHIN
    is_within = abs(now - before) <= tolerance * (1 + _ROUNDING)
    return Agreement.WITHIN if is_within else Agreement.DIFFERENT


def _outputs(
    step: StepRecord,
    now: StepRecord | None,
    find_before: Callable[[str], Mapping[str, str] | None],
    find_now: Callable[[str], Mapping[str, str] | None],
) -> Iterator[DifferingOutput]:
    for name, digest in step.outputs.items():
        other = now.outputs.get(name, "") if now else ""
        if other == digest:
            continue
        files = [find(known) if known else None for find, known in ((find_before, digest), (find_now, other))]
        differing = changed_files(files[0], files[1]) if files[0] is not None and files[1] is not None else ()
        yield DifferingOutput(name=name, before=digest, now=other, files=differing)


def _step_agreement(
    now: StepRecord | None,
    outputs: tuple[DifferingOutput, ...],
    declaration: Step | None,
    metrics: tuple[MetricAgreement, ...],
) -> Agreement:
    if now is None or declaration is None:
        return Agreement.NOT_RUN
    if not outputs:
        return Agreement.SAME
    is_judged = declaration.kind is StepKind.EVALUATION and bool(metrics) and all(output.now for output in outputs)
    is_within = is_judged and all(metric.agreement is Agreement.WITHIN for metric in metrics)
    return Agreement.WITHIN if is_within else Agreement.DIFFERENT


def _has_same_inputs(name: str, original: OriginalRun, record: RunRecord, *, pipeline: Pipeline) -> bool:
    """Return whether a step read the same in both runs; the data set is the same, or nothing would have run."""
    declaration = next((step for step in pipeline.steps if step.name == name), None)
    if declaration is None:
        return True
    for reference in declaration.inputs.values():
        writer, _, output = reference.rpartition(".")
        before, now = original.step(writer), record.step(writer)
        if before is not None and (now is None or before.outputs.get(output) != now.outputs.get(output)):
            return False
    return True


# --- What explains a difference ---------------------------------------------------------------------------


def _step_changes(
    step: StepRecord, now: StepRecord | None, declaration: Step | None, original: OriginalRun, record: RunRecord
) -> Iterator[Change]:
    """Yield what differs of that on which a step declares to depend; where no key was kept, the package versions."""
    if now is not None and step.key_components:
        yield from _key_changes(step, now)
        return
    packages = declaration.packages if declaration else ()
    yield from (
        change for change in _package_changes(original, record) if change.component[len(_PACKAGE) :] in packages
    )


_PACKAGE = "package "


def _key_changes(step: StepRecord, now: StepRecord) -> Iterator[Change]:
    for name in sorted({*step.key_components, *now.key_components}):
        old, new = step.key_components.get(name, ""), now.key_components.get(name, "")
        if old != new and not name.startswith("input "):
            yield Change(component=name, old=old, new=new)


def _all_step_changes(original: OriginalRun, record: RunRecord) -> Iterator[Change]:
    for step in original.steps:
        now = record.step(step.name)
        if now is not None and step.key_components:
            yield from _key_changes(step, now)


def _package_changes(original: OriginalRun, record: RunRecord) -> Iterator[Change]:
    before, now = original.environment, record.environment
    for name in dict.fromkeys((*before, *now)):
        if name not in MACHINE_FACTS and name in before and before[name] != now.get(name, ""):
            yield Change(component=f"{_PACKAGE}{name}", old=before[name], new=now.get(name, ""))


def _machine_changes(original: OriginalRun, record: RunRecord) -> Iterator[Change]:
    """Yield what differs of that on which every step depends: the plugin, Python, the machine and its settings."""
    if original.plugin != record.plugin:
        yield Change(component="plugin", old=original.plugin, new=record.plugin)
    for name in MACHINE_FACTS:
        old, new = original.environment.get(name, ""), record.environment.get(name, "")
        if old and old != new:
            yield Change(component=name, old=old, new=new)
