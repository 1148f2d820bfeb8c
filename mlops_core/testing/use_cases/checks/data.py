"""Checks of the data: fetching it twice, and how it is split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError
from mlops_core.pipeline import DATASET
from mlops_core.quantities import counted
from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.trees import differences, is_below, shown, stamps, tree
from mlops_core.testing.use_cases.exchange import split_output, split_parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core.testing.use_cases.session import ContractSession

FETCHED = ("dataset_can_be_fetched",)
SPLIT = ("steps_succeed",)
CHECKED_BY_CORE = (
    "split_has_its_parts",
    "split_keeps_groups_together",
    "split_has_the_content_of_its_samples",
    "evaluation_reads_the_split",
    "evaluation_uses_the_test_part",
)
"""Without these, core refuses a whole run."""
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
    parts = split_parts(session)
    yield from (f"part '{part}' has no sample" for part in (_TRAIN, _TEST) if not parts.get(part))
    yield from (f"part '{part}' is none of {', '.join(_PARTS)}" for part in parts if part not in _PARTS)


@check(after=("split_has_its_parts",), needs="has_split")
def split_keeps_groups_together(session: ContractSession) -> Iterator[str]:
    """No group and no sample appears in more than one part of the split.

    Fix: split groups (recordings, tracks, drawings), not samples; mlops_core.check_no_leak finds what leaks.
    """
    from mlops_core.datasets.splits import check_no_leak

    try:
        check_no_leak(split_parts(session))
    except DatasetError as error:
        yield str(error)
    seen: dict[str, str] = {}
    for part, samples in split_parts(session).items():
        for sample in samples:
            if seen.setdefault(sample.sample, part) != part:
                yield f"sample '{sample.sample}' is in {seen[sample.sample]} and in {part}"


@check(after=("split_has_its_parts", "split_keeps_groups_together"), needs="has_split")
def split_has_the_content_of_its_samples(session: ContractSession) -> Iterator[str]:
    """Each sample of the split has the SHA-256 of its content, and no content is in more than one part.

    Fix: set SplitRow.digest to mlops_core.file_digest of the sample's file, or mlops_core.row_digest of its row; give
    copies one group with mlops_core.join_groups.
    """
    from mlops_core.datasets.leaks import check_digests, check_leaks
    from mlops_core.datasets.splits import read_split

    folder = _split_folder(session)
    try:
        missing = [row.sample for row in read_split(folder) if not row.digest]
        if missing:
            yield f"{counted(len(missing), 'sample')} without a digest: {shown(missing)}"
        check_leaks(folder)
        check_digests(folder, session.dataset)
    except DatasetError as error:
        yield str(error)


@check(after=SPLIT)
def evaluation_reads_the_split(session: ContractSession) -> Iterator[str]:
    """The evaluation of a trained model reads the split manifest, split.csv, as one of its inputs.

    Fix: write it with mlops_core.write_split, and add that output to the inputs of the evaluation step; a run without
    it is refused.
    """
    from mlops_core.datasets.splits import SPLIT_FILE, read_split

    if not session.pipeline.is_trained:
        raise NotApplicableError("no step trains a model")
    step = session.pipeline.evaluation_step
    folders = [
        session.completed.steps[name].outputs[output]
        for name, _, output in (reference.rpartition(".") for reference in step.inputs.values() if reference != DATASET)
    ]
    manifests = [folder for folder in folders if (folder / SPLIT_FILE).is_file()]
    if not manifests:
        yield f"step '{step.name}' reads {', '.join(step.inputs.values())}: none of them has a {SPLIT_FILE}"
    try:
        for folder in manifests:
            all(read_split(folder))
    except DatasetError as error:
        yield str(error)


@check(after=("split_has_its_parts",), needs="has_split")
def split_has_every_class_in_each_part(session: ContractSession) -> Iterator[str]:
    """Every class of the data is in each part of the split.

    Fix: split class by class; a class that is not tested is not known to work.
    """
    if not session.predictions.classes:
        raise NotApplicableError("a regression has no classes")
    if session.predictions.has_boxes:
        raise NotApplicableError("objects have classes, samples do not; one without a test object is not measured")
    parts = split_parts(session)
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
    step, _, output = split_output(session).rpartition(".")
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
    parts = split_parts(session)
    tested = {row.group for row in session.predictions.rows}
    test = {sample.group for sample in parts[_TEST]}
    strangers = sorted(tested - test)
    if strangers:
        yield f"evaluated, but not in the test part: {counted(len(strangers), 'group')}: {shown(strangers)}"
    left_out = sorted(test - tested)
    if left_out:
        yield f"in the test part, but not evaluated: {counted(len(left_out), 'group')}: {shown(left_out)}"


def _split_folder(session: ContractSession) -> Path:
    step, _, output = split_output(session).rpartition(".")
    return session.completed.steps[step].outputs[output]
