"""The samples on which the compared runs do not agree: right in one run, and wrong in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError
from mlops_core.quantities import counted, format_number
from mlops_core.report.kit import Markup, Node, badge, code, data_table, element, group, missing_note, muted
from mlops_core.web.answers import PageAnswer
from mlops_core.web.pages.runs.compare import chosen_ids, wide_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.web.answers import View


def samples_part(view: View) -> PageAnswer:
    """Return the part of the page."""
    ids = chosen_ids(view)
    state = " ".join(str(view.opened.store.runs.load(run_id).duration_s) for run_id in ids)
    try:
        found = view.opened.plugins.ask("changed_samples", runs=list(ids), state=state)
    except MlopsError as error:
        return PageAnswer(body=missing_note(str(error)).html)
    if "missing" in found:
        return PageAnswer(body=missing_note(found["missing"]).html)
    return PageAnswer(body=_part(ids, found).html)


def _part(ids: Sequence[str], found: Mapping[str, Any]) -> Markup:
    kind = "error changed most" if found["is_regression"] else "at least one run has right and another one wrong"
    shown = found["samples"]
    left = found["changed"] - len(shown)
    lead = f"{counted(found['common'], 'sample')} in all runs; {found['changed']} of them that {kind}."
    if found["is_regression"]:
        lead = f"{counted(found['common'], 'sample')} in all runs; those whose error differs most."
    headings = ("Run", "Right", "Wrong", "Got worse since run 1", "Got better since run 1")
    rows: list[tuple[Node, ...]] = [
        (
            group(f"{number}: ", code(run_id)),
            str(each["right"]),
            str(each["wrong"]),
            str(each["lost"]),
            str(each["gained"]),
        )
        for number, (run_id, each) in enumerate(zip(ids, found["runs"], strict=True), 1)
    ]
    counts = None if found["is_regression"] else data_table("Answers of each run", headings, rows)
    table_headings = ("Sample", "True", *(f"Run {number}" for number in range(1, len(ids) + 1)))
    table = wide_table("Samples that changed sides", table_headings, [_sample(each) for each in shown])
    return group(
        element("p", lead, class_="lead"),
        counts,
        element("h3", "Samples") if shown else None,
        table if shown else element("p", muted("All runs agree on every sample.")),
        element("p", muted(f"{left} more; mlops runs compare shows all of two runs.")) if left > 0 else None,
    )


def _sample(sample: Mapping[str, Any]) -> list[Node]:
    return [code(sample["sample"]), sample["label"], *(_answer(each) for each in sample["answers"])]


def _answer(answer: Sequence[Any]) -> Node:
    text, state = answer
    if state is None:
        return format_number(float(text))
    return group(badge("wrong", "bad") if state else badge("right", "good"), " ", str(text))
