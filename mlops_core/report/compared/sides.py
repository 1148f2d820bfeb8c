"""The samples that changed sides: right in one run and wrong in the other, or the errors that changed most."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError
from mlops_core.report.facts import Missing, predictions_folder
from mlops_core.report.worst import iter_judged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.report.worst import JudgedSample
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSide:
    """A sample that one run has right and the other wrong; for a regression, a sample whose error changed.

    Attributes:
        earlier: its prediction in the earlier run.
        later: its prediction in the later run.
        amount: by how much the score of the true class rose; for a regression, by how much the absolute error fell.
    """

    earlier: JudgedSample
    later: JudgedSample
    amount: float

    @property
    def sample(self) -> str:
        """Id of the sample."""
        return self.later.sample

    def to_json(self) -> dict[str, Any]:
        """Return the sample as JSON types only."""
        return {
            "sample": self.sample,
            "group": self.later.group,
            "label": self.later.label,
            "amount": self.amount,
            "earlier": _prediction(self.earlier),
            "later": _prediction(self.later),
        }


def _prediction(judged: JudgedSample) -> dict[str, Any]:
    if not judged.guesses:
        return {"prediction": judged.label_score, "error": judged.loss}
    guesses = list(map(asdict, judged.guesses))
    return {"prediction": judged.guesses[0].label, "label_score": judged.label_score, "guesses": guesses}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSides:
    """The samples of two evaluations, compared one by one.

    Attributes:
        gained: wrong in the earlier run and right in the later one, the largest change first; for a regression, the
            samples with a smaller error.
        lost: the reverse.
        common: number of samples that both runs judged, with the same label.
        only_earlier: number of samples that only the earlier run judged.
        only_later: number of samples that only the later run judged.
        relabelled: number of samples of both with another label, which are not compared.
        is_regression: the labels are numbers.
    """

    gained: tuple[ChangedSide, ...]
    lost: tuple[ChangedSide, ...]
    common: int
    only_earlier: int
    only_later: int
    relabelled: int
    is_regression: bool

    def to_json(self) -> dict[str, Any]:
        """Return the samples as JSON types only."""
        counts = ("common", "only_earlier", "only_later", "relabelled", "is_regression")
        return {
            **{name: getattr(self, name) for name in counts},
            "gained": [change.to_json() for change in self.gained],
            "lost": [change.to_json() for change in self.lost],
        }


def compare_sides(store: Store, earlier: RunRecord, later: RunRecord) -> ChangedSides | Missing:
    """Return the samples that changed sides between two runs."""
    judged = []
    for record in (earlier, later):
        found = _judged(store, record)
        if isinstance(found, Missing):
            return Missing(f"The predictions of run {record.run_id} cannot be compared: {found.reason}")
        judged.append(found)
    before, after = judged
    both = before.keys() & after.keys()
    if not both:
        return Missing("The two runs have no test sample in common.")
    kinds = {bool(found.guesses) for samples in judged for found in samples.values()}
    if len(kinds) > 1:
        return Missing("One run predicts classes, the other numbers.")
    if any(found.has_several_labels for samples in judged for found in samples.values()):
        return Missing("Samples have several labels: no single answer is right or wrong.")
    return _compared(before, after, is_regression=kinds == {False})


def _judged(store: Store, record: RunRecord) -> dict[str, JudgedSample] | Missing:
    folder = predictions_folder(store, record)
    if isinstance(folder, Missing):
        return folder
    try:
        return {judged.sample: judged for judged in iter_judged(folder)}
    except (MlopsError, TypeError, ValueError) as error:
        return Missing(str(error))


def _compared(
    before: Mapping[str, JudgedSample], after: Mapping[str, JudgedSample], *, is_regression: bool
) -> ChangedSides:
    both = before.keys() & after.keys()
    same = [sample for sample in both if before[sample].label == after[sample].label]
    changes = [
        _change(before[sample], after[sample], is_regression=is_regression)
        for sample in same
        if is_regression or before[sample].is_wrong is not after[sample].is_wrong
    ]

    def ordered(*, is_gain: bool) -> tuple[ChangedSide, ...]:
        chosen = [change for change in changes if _is_gain(change, is_regression=is_regression) is is_gain]
        return tuple(sorted(chosen, key=lambda change: (-abs(change.amount), change.sample)))

    return ChangedSides(
        gained=ordered(is_gain=True),
        lost=ordered(is_gain=False),
        common=len(same),
        only_earlier=len(before) - len(both),
        only_later=len(after) - len(both),
        relabelled=len(both) - len(same),
        is_regression=is_regression,
    )


def _change(earlier: JudgedSample, later: JudgedSample, *, is_regression: bool) -> ChangedSide:
    amount = earlier.loss - later.loss if is_regression else later.label_score - earlier.label_score
    return ChangedSide(earlier=earlier, later=later, amount=amount)


def _is_gain(change: ChangedSide, *, is_regression: bool) -> bool | None:
    """Return whether the later run is right, or nearer; None where a regression changed nothing."""
    if not is_regression:
        return not change.later.is_wrong
    return None if change.amount == 0 or not math.isfinite(change.amount) else change.amount > 0
