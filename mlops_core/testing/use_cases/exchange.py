"""Executing the pipeline on a data set in which samples have exchanged their contents.

The names stay, the split stays, and each chosen sample has the content of another one. A sound pipeline then gives
each content the score that it had before, under its new name; and where only test samples were exchanged and
relabelled, it trains the same model.
"""

from __future__ import annotations

import csv
import shutil
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.datasets.splits import SPLIT_FILE
from mlops_core.errors import ContractError
from mlops_core.pipeline import DATASET
from mlops_core.testing.checks import NotApplicableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.datasets.splits import SplitSample
    from mlops_core.testing.observation.execution import Trace
    from mlops_core.testing.use_cases.session import ContractSession

TEST, TRAIN = "test", "train"
_DIGEST = "digest"
_FEWEST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentExchange:
    """One execution after an exchange.

    Attributes:
        trace: the execution; its split is the changed one.
        contents: sample -> the sample whose content it has now.
    """

    trace: Trace
    contents: Mapping[str, str]


def split_output(session: ContractSession) -> str:
    """Return the output that holds the split, ``"step.output"``.

    Raises:
        NotApplicableError: no step writes one.
    """
    if session.declaration.split:
        return session.declaration.split
    found = [f"{step.name}.split" for step in session.pipeline.steps if "split" in step.outputs]
    if not found:
        raise NotApplicableError("no step has an output 'split'; set `split` to the output that holds it")
    return found[0]


def split_parts(session: ContractSession) -> Mapping[str, list[SplitSample]]:
    """Return part -> samples of the split of the first execution."""
    step, _, output = split_output(session).rpartition(".")
    folder = session.completed.steps[step].outputs[output]
    return {part: list(samples) for part, samples in session.declaration.read_split(folder).items()}


def exchange(session: ContractSession, part: str, *, last: str = "") -> ContentExchange:
    """Execute the pipeline after the samples of `part` have exchanged their contents; each part is executed once.

    Args:
        session: of the use case.
        part: of the split; the labels of the test part are changed in the split, too.
        last: the step after which the execution ends.

    Raises:
        NotApplicableError: the data set or the split cannot be changed.
        ContractError: a step failed.
    """
    key = f"exchange of {part}"
    if key not in session.shared:
        session.shared[key] = _executed(session, part, last=last)
    found: ContentExchange = session.shared[key]
    failed = found.trace.failed
    if failed is not None:
        raise ContractError(f"after samples exchanged their contents, step '{failed.name}' failed: {failed.error}")
    return found


def _executed(session: ContractSession, part: str, *, last: str) -> ContentExchange:
    contents = _contents(session, split_parts(session).get(part, []))
    place = session.new_folder(f"exchange of {part}")
    dataset = place / "dataset"
    shutil.copytree(session.dataset, dataset)
    session.declaration.exchange_samples(dataset, contents=contents)
    step, _, output = split_output(session).rpartition(".")
    outputs = dict(session.completed.steps[step].outputs)
    outputs[output] = _changed_split(outputs[output], place / "split", contents, is_relabelled=part == TEST)
    trace = session.execute_changed(dataset, given={step: outputs}, last=last)
    return ContentExchange(trace=trace, contents=contents)


def _contents(session: ContractSession, samples: list[SplitSample]) -> dict[str, str]:
    """Return sample -> the sample whose content it gets: mostly one of another label, always one of its file type."""
    if DATASET not in {ref for step in session.pipeline.steps for ref in step.inputs.values()}:
        raise NotApplicableError("no step reads the data set")
    kinds: defaultdict[str, list[SplitSample]] = defaultdict(list)
    for sample in samples:
        kinds[sample.sample.rpartition(".")[2] if "." in sample.sample else ""].append(sample)
    found = {}
    for members in kinds.values():
        ordered = sorted(members, key=lambda item: (_sorting(item.label), item.sample))
        half = len(ordered) // 2
        for sample, other in zip(ordered, ordered[half:] + ordered[:half], strict=True):
            found[sample.sample] = other.sample
    if len(found) < _FEWEST:
        raise NotApplicableError(f"{len(found)} samples are too few to exchange")
    return found


def _sorting(label: str) -> tuple[float, str]:
    try:
        return float(label), ""
    except ValueError:
        return 0.0, label


def _changed_split(source: Path, target: Path, contents: Mapping[str, str], *, is_relabelled: bool) -> Path:
    """Copy a split; digests follow the contents, and most of the labels become that of the first sample."""
    shutil.copytree(source, target)
    path = target / SPLIT_FILE
    if not path.is_file():
        raise NotApplicableError(f"the split is not in {SPLIT_FILE}")
    options = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with path.open(**options) as stream:  # type: ignore[call-overload]
        reader = csv.DictReader(stream)
        names, rows = list(reader.fieldnames or ()), list(reader)
    if not {"sample", "label"} <= set(names):
        raise NotApplicableError(f"{SPLIT_FILE} has no columns sample and label")
    before = {row["sample"]: dict(row) for row in rows}
    kept: set[str] = set()
    changed = [row for row in rows if row["sample"] in contents]
    is_class = len({row["label"] for row in changed}) <= len(changed) // 2
    for row in changed:
        other = before[contents[row["sample"]]]
        if _DIGEST in names:
            row[_DIGEST] = other[_DIGEST]
        if not is_relabelled:
            continue
        if not is_class:
            row["label"] = other["label"]
        elif row["label"] in kept:
            row["label"] = changed[0]["label"]
        kept.add(before[row["sample"]]["label"])
    with path.open("w", **options) as stream:  # type: ignore[call-overload]
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return target
