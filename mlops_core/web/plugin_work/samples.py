"""Samples of a data set, and those on which several runs do not agree."""

from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING, Any

from mlops_core.report.facts import Missing, predictions_folder
from mlops_core.report.previews import read_previews
from mlops_core.report.split_rows import read_split_rows
from mlops_core.report.worst import iter_judged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_core.datasets.previews import Preview
    from mlops_core.datasets.splits import SplitRow
    from mlops_core.predictions.boxes import MarkedBox
    from mlops_core.report.worst import JudgedSample
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

_MOST = 1_000_000
"""Predictions of all runs together; more would take too much memory for a page."""
_SHOWN = 100
_LABELS = 60
_RUNS = 20

_Answer = tuple[str, str, bool | None]
"""True label, answer, and whether it is wrong; None for a number."""


def changed_samples(store: Store, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the answers of runs differ, as JSON types; ``missing`` is why they cannot be compared."""
    answers: list[dict[str, _Answer]] = []
    count = 0
    for run_id in order["runs"]:
        folder = predictions_folder(store, store.runs.load(run_id))
        if isinstance(folder, Missing):
            return {"missing": f"the predictions of run {run_id} cannot be compared: {folder.reason}"}
        found: dict[str, _Answer] = {}
        for judged in iter_judged(folder):
            if judged.has_several_labels:
                return {"missing": "samples have several labels: no single answer is right or wrong"}
            found[judged.sample] = _answer(judged)
            count += 1
            if count > _MOST:
                return {"missing": f"the runs have more than {_MOST:,} predictions together; compare fewer of them"}
        answers.append(found)
    return _compared(answers)


def _answer(judged: JudgedSample) -> _Answer:
    if judged.guesses:
        return judged.label, judged.guesses[0].label, judged.is_wrong
    if judged.errors is not None:
        return judged.label, f"{judged.errors.right} found, {judged.errors.count} wrong", judged.is_wrong
    return judged.label, f"{judged.label_score:g}", None


def _compared(answers: Sequence[Mapping[str, _Answer]]) -> dict[str, Any]:
    first = answers[0]
    common = [
        sample
        for sample, (label, _, _) in first.items()
        if all(sample in each and each[sample][0] == label for each in answers[1:])
    ]
    if not common:
        return {"missing": "the runs have no test sample in common, with the same label"}
    states = {state is None for each in answers for _, _, state in (each[sample] for sample in common[:1])}
    if len(states) > 1:
        return {"missing": "some runs predict classes, others numbers"}
    is_regression = states.pop()
    rank = _spread if is_regression else _disagreement
    ranked = sorted(((rank(sample, answers), sample) for sample in common), key=lambda pair: (-pair[0], pair[1]))
    changed = [sample for weight, sample in ranked if weight > 0]
    return {
        "is_regression": is_regression,
        "common": len(common),
        "changed": len(changed),
        "runs": [_counts(first, each, common) for each in answers],
        "samples": [
            {"sample": sample, "label": first[sample][0], "answers": [each[sample][1:] for each in answers]}
            for sample in changed[:_SHOWN]
        ],
    }


def _disagreement(sample: str, answers: Sequence[Mapping[str, _Answer]]) -> float:
    """Return how even the runs are divided about a sample; 0 if they agree whether it is right."""
    wrong = sum(bool(each[sample][2]) for each in answers)
    return float(min(wrong, len(answers) - wrong))


def _spread(sample: str, answers: Sequence[Mapping[str, _Answer]]) -> float:
    errors = [abs(float(each[sample][1]) - float(each[sample][0])) for each in answers]
    return max(errors) - min(errors)


def _counts(first: Mapping[str, _Answer], run: Mapping[str, _Answer], common: Sequence[str]) -> dict[str, int]:
    pairs = [(bool(first[sample][2]), bool(run[sample][2])) for sample in common]
    return {
        "right": sum(not now for _, now in pairs),
        "wrong": sum(now for _, now in pairs),
        "lost": sum(now and not before for before, now in pairs),
        "gained": sum(before and not now for before, now in pairs),
    }


# --- Samples of a data set --------------------------------------------------------------------------------


def dataset_samples(store: Store, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of a split and a page of its samples with previews, as JSON types.

    The split is that of the newest of the last runs on the data which has one.
    """
    record, rows = _split_of(store, order)
    if isinstance(rows, Missing):
        return {"missing": rows.reason}
    counts: dict[str, Counter[str]] = {}
    for row in rows.values():
        counts.setdefault(str(row.label), Counter())[row.part or "no part"] += 1
    totals: Counter[str] = sum(counts.values(), Counter())
    chosen = [
        row
        for row in rows.values()
        if order["part"] in ("", row.part or "no part") and order["label"] in ("", str(row.label))
    ]
    chosen.sort(key=lambda row: row.part != "test")  # the samples with predictions first
    shown = chosen[order["offset"] : order["offset"] + order["size"]]
    largest = sorted(counts, key=lambda label: (-counts[label].total(), label))[:_LABELS]
    return {
        "run": record.run_id,
        "parts": sorted(totals, key=lambda part: (_PARTS.index(part) if part in _PARTS else len(_PARTS), part)),
        "labels": {label: dict(counts[label]) for label in sorted(largest)},
        "label_count": len(counts),
        "totals": dict(totals),
        "count": len(chosen),
        "samples": list(_with_previews(store, record, shown)),
    }


_PARTS = ("train", "val", "test", "no part")


def _split_of(store: Store, order: Mapping[str, Any]) -> tuple[RunRecord, Mapping[str, SplitRow] | Missing]:
    record = store.runs.load(order["run"])
    rows = read_split_rows(store, record)
    if not isinstance(rows, Missing):
        return record, rows
    for summary in store.runs.newest(use_case=record.use_case, limit=_RUNS):
        other = store.runs.load(summary.run_id)
        if other.dataset is not None and other.dataset.digest == order["dataset"]:
            found = read_split_rows(store, other)
            if not isinstance(found, Missing):
                return other, found
    return record, rows


def _with_previews(store: Store, record: RunRecord, rows: Sequence[SplitRow]) -> Iterator[dict[str, Any]]:
    """Yield each sample with its preview, and with the boxes of its evaluation where it is one of detections."""
    names = [row.sample for row in rows]
    previews = read_previews(store, record, names, use_case=None, boxes=_boxes(store, record, frozenset(names)))
    for row, (_, preview) in zip(rows, previews, strict=True):
        yield {
            "sample": row.sample,
            "label": str(row.label),
            "group": str(row.group),
            "part": row.part,
            "preview": _preview(preview),
        }


def _boxes(store: Store, record: RunRecord, names: frozenset[str]) -> dict[str, tuple[MarkedBox, ...]]:
    folder = predictions_folder(store, record)
    if isinstance(folder, Missing):
        return {}
    return {
        judged.sample: judged.errors.boxes
        for judged in iter_judged(folder)
        if judged.errors is not None and judged.sample in names
    }


def _preview(preview: Preview | Missing) -> dict[str, str]:
    if isinstance(preview, Missing):
        return {"missing": preview.reason}
    data = base64.b64encode(preview.data).decode("ascii")
    return {"media_type": preview.media_type, "data": data, "caption": preview.caption}
