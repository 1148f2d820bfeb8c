"""Checks of the data: fetching it twice, and how it is split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError
from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.trees import differences, is_below, shown, stamps, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_core.datasets.splits import SplitSample
    from mlops_core.testing.use_cases.session import ContractSession

FETCHED = ("dataset_can_be_fetched",)
SPLIT = ("steps_succeed",)
_TEST, _TRAIN = "test", "train"
_PARTS = (_TRAIN, "validation", _TEST)


@check(after=("configured_dataset_is_in_catalogue", "generators_can_be_imported"))
def dataset_can_be_fetched(session: ContractSession) -> Iterator[str]:
    """The data set of the smallest configuration can be fetched, without network if it is generated.

    Fix: whatever the error says. A contract test should run on generated data.
    """
    if session.fetched.error:
        yield session.fetched.error


@check(after=FETCHED)
def fetching_writes_to_its_folder_only(session: ContractSession) -> Iterator[str]:
    """Fetching or generating a data set writes below its own folder only.

    Fix: write into the folder that is passed; files elsewhere are neither checked nor removed.
    """
    own = [str(session.folder)]
    for kind, subject in session.fetched.result["events"]:
        if kind == "write" and not is_below(subject, [*own, "/dev"]) and "__pycache__" not in subject:
            yield f"{subject} is written"


@check(after=FETCHED)
def fetching_again_changes_nothing(session: ContractSession) -> Iterator[str]:
    """Fetching a complete data set does nothing and needs no network.

    Fix: leave it to core, which knows a complete data set by its marker; mlops_fetch_dataset must not look elsewhere.
    """
    folder = session.dataset
    before = (tree(folder), stamps(folder))
    again = session.fetch(folder, is_offline=True)
    if again.error:
        yield f"the second call failed: {again.error}"
        return
    if again.result["calls"]:
        yield "the second call fetched again"
    yield from differences(before[0], tree(folder))
    if before[1] != stamps(folder):
        yield "files were written anew"


@check(after=FETCHED)
def fetched_data_are_repeatable(session: ContractSession) -> Iterator[str]:
    """A generated data set is the same from the same seed.

    Fix: draw from a generator made from the seed that is passed, iterate in sorted order, write no times.
    """
    if not session.declaration.is_generated:
        raise NotApplicableError("declared: is_generated = False")
    other = session.folder / "dataset again"
    answer = session.fetch(other, is_offline=True)
    if answer.error:
        yield answer.error
        return
    differing = differences(_content(session.dataset), _content(other))
    if differing:
        yield f"made twice from seed {session.declaration.seed}: {shown(differing)}"


def _content(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in tree(folder).items() if not name.startswith(".mlops")}


@check(after=SPLIT, needs="has_split")
def split_has_its_parts(session: ContractSession) -> Iterator[str]:
    """A split has samples to train and samples to test with, and no part of another name.

    Fix: name the parts train, validation and test.
    """
    parts = _split(session)
    yield from (f"part '{part}' has no sample" for part in (_TRAIN, _TEST) if not parts.get(part))
    yield from (f"part '{part}' is none of {', '.join(_PARTS)}" for part in parts if part not in _PARTS)


@check(after=("split_has_its_parts",), needs="has_split")
def split_keeps_groups_together(session: ContractSession) -> Iterator[str]:
    """No group and no sample appears in more than one part of the split.

    Fix: split groups (recordings, tracks, drawings), not samples; mlops_core.check_no_leak finds what leaks.
    """
    from mlops_core.datasets.splits import check_no_leak

    try:
        check_no_leak(_split(session))
    except DatasetError as error:
        yield str(error)
    seen: dict[str, str] = {}
    for part, samples in _split(session).items():
        for sample in samples:
            if seen.setdefault(sample.sample, part) != part:
                yield f"sample '{sample.sample}' is in {seen[sample.sample]} and in {part}"


@check(after=("split_has_its_parts",), needs="has_split")
def split_has_every_class_in_each_part(session: ContractSession) -> Iterator[str]:
    """Every class of the data is in each part of the split.

    Fix: split class by class; a class that is not tested is not known to work.
    """
    if not session.predictions.classes:
        raise NotApplicableError("a regression has no classes")
    parts = _split(session)
    classes = {sample.label for samples in parts.values() for sample in samples}
    for part, samples in parts.items():
        missing = sorted(classes - {sample.label for sample in samples})
        if missing:
            yield f"part '{part}' has no sample of {shown(missing)}"


@check(after=("split_has_its_parts", "fetched_data_are_repeatable"), needs="has_split")
def split_is_repeatable(session: ContractSession) -> Iterator[str]:
    """The split is the same from the same seed.

    Fix: draw from random.Random(context.seed) over sorted names.
    """
    step, _, output = _split_output(session).partition(".")
    first = _content(session.completed.steps[step].outputs[output])
    varied = session.varied.steps.get(step)
    if varied is not None and not varied.error and _content(varied.outputs[output]) == first:
        return  # what is equal even in other surroundings need not be made a third time
    again = session.repeated.steps.get(step)
    if again is None or again.error:
        yield f"the second time, it failed: {session.repeated.failed.error if session.repeated.failed else ''}"
        return
    differing = differences(first, _content(again.outputs[output]))
    if differing:
        yield f"made twice from seed {session.declaration.seed}: {shown(differing)}"


@check(after=("split_has_its_parts", "split_keeps_groups_together"), needs="has_split")
def evaluation_uses_the_test_part(session: ContractSession) -> Iterator[str]:
    """The evaluation covers the test part of the split: all of it and nothing else.

    Fix: score the test part only; let the predictions' `group` be that of the split.
    """
    parts = _split(session)
    tested = {row.group for row in session.predictions.rows}
    test = {sample.group for sample in parts[_TEST]}
    strangers = sorted(tested - test)
    if strangers:
        yield f"{len(strangers)} evaluated group(s) are not in the test part: {shown(strangers)}"
    left_out = sorted(test - tested)
    if left_out:
        yield f"{len(left_out)} group(s) of the test part are not evaluated: {shown(left_out)}"


def _split_output(session: ContractSession) -> str:
    if session.declaration.split:
        return session.declaration.split
    found = [f"{step.name}.split" for step in session.pipeline.steps if "split" in step.outputs]
    if not found:
        raise NotApplicableError("no step has an output 'split'; set `split` to the output that holds it")
    return found[0]


def _split(session: ContractSession) -> Mapping[str, list[SplitSample]]:
    step, _, output = _split_output(session).partition(".")
    folder = session.completed.steps[step].outputs[output]
    return {part: list(samples) for part, samples in session.declaration.read_split(folder).items()}
