"""Checks that the results mean what they say: whatever a plugin does to look better than its model is.

The kit changes what must not matter and compares, or takes away what must matter. It does not look for known tricks.
"""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from typing import TYPE_CHECKING

from mlops_core.errors import ContractError
from mlops_core.integrity import REFUSAL
from mlops_core.pipeline import StepKind
from mlops_core.quantities import counted
from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.source_code import forgiving_lines, package_folder, package_of
from mlops_core.testing.observation.trees import differences, shown, tree
from mlops_core.testing.use_cases.exchange import TEST, TRAIN, exchange, split_output, split_parts
from mlops_core.testing.use_cases.groupings import is_explained
from mlops_core.testing.use_cases.single_steps import execute_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_core.predictions import Prediction
    from mlops_core.testing.use_cases.session import ContractSession

RAN = ("steps_succeed",)
SPLIT = ("split_has_its_parts",)
_MOST_FAULTS = 6


@check(after=(*SPLIT, "same_seed_gives_same_outputs"), needs="has_split")
def training_ignores_the_test_part(session: ContractSession) -> Iterator[str]:
    """The model is the same, byte by byte, when test samples exchange their contents and have other labels.

    Fix: let everything that comes before the evaluation, statistics and thresholds included, use the training part and
    the validation part only.
    """
    if not session.declaration.is_deterministic:
        raise NotApplicableError("declared: is_deterministic = False")
    step, _, output = session.pipeline.model.rpartition(".")
    changed = exchange(session, TEST)
    differing = differences(tree(session.model), tree(changed.trace.steps[step].outputs[output]))
    if differing:
        yield f"with other test samples, the model changes: {shown(differing)}"


@check(after=("training_ignores_the_test_part",), needs="has_split")
def scores_follow_the_content(session: ContractSession) -> Iterator[str]:
    """A sample's scores depend on its content alone: not on names, labels, paths, neighbours or the order.

    Fix: give the model what is in the sample, and write each answer beside the sample that it is about.
    """
    from mlops_core.predictions import read_predictions

    changed = exchange(session, TEST)
    outputs = changed.trace.steps[session.pipeline.evaluation_step.name].outputs
    before, after = (_by_sample(read.rows) for read in (session.predictions, read_predictions(outputs["predictions"])))
    compared = {name: other for name, other in changed.contents.items() if name in after and other in before}
    if not compared:
        raise NotApplicableError("the predictions name no sample of the split")
    tolerance = session.declaration.predictor_tolerance
    moved = [
        f"the content of '{other}' is scored otherwise under the name '{name}'"
        for name, other in sorted(compared.items())
        if not _are_close(before[other], after[name], tolerance)
    ]
    if moved:
        yield f"{len(moved)} of {counted(len(compared), 'test sample')}: {shown(moved, 2)}"


@check(after=(*SPLIT, "steps_leave_inputs_unchanged"), needs="has_split")
def training_depends_on_its_data(session: ContractSession) -> Iterator[str]:
    """The model changes when training samples of different classes exchange their contents.

    Fix: train on the samples; a model that does not depend on them learned nothing.
    """
    training = [step for step in session.pipeline.ordered() if step.kind is StepKind.TRAINING]
    if not training:
        raise NotApplicableError("no step trains a model")
    step, _, output = session.pipeline.model.rpartition(".")
    changed = exchange(session, TRAIN, last=step)
    if tree(session.model) == tree(changed.trace.steps[step].outputs[output]):
        count = counted(len(changed.contents), "training sample")
        yield f"the model is the same after {count} exchanged their contents"


@check(after=SPLIT, needs="has_split")
def labels_are_those_of_the_split(session: ContractSession) -> Iterator[str]:
    """Each prediction bears the label and the group that its sample has in the split.

    Fix: take label and group from the split; never from the model, and never from a neighbouring row.
    """
    truth = {sample.sample: sample for samples in split_parts(session).values() for sample in samples}
    known = [row for row in session.predictions.rows if row.sample in truth]
    if not known:
        raise NotApplicableError("the predictions name no sample of the split")
    labels = {row.sample for row in known if not _is_same(row.label, truth[row.sample].label)}
    groups = {row.sample for row in known if row.group != truth[row.sample].group}
    for what, names in (("label", labels), ("group", groups)):
        if names:
            yield f"{counted(len(names), 'sample')} with another {what} than in the split: {shown(sorted(names))}"


@check(after=("evaluation_uses_the_test_part",), needs="has_split")
def every_test_sample_is_evaluated(session: ContractSession) -> Iterator[str]:
    """The evaluation has each sample of the test part, and no other.

    Fix: score every test sample; one that cannot be read is an error, or is left out before the split.
    """
    tested = {row.sample for row in session.predictions.rows}
    expected = {sample.sample for sample in split_parts(session)[TEST]}
    if not tested & expected:
        raise NotApplicableError("the predictions name no sample of the split")
    for names, what in (
        (expected - tested, "in the test part, not evaluated"),
        (tested - expected, "evaluated, not in the test part"),
    ):
        if names:
            yield f"{what}: {counted(len(names), 'sample')}: {shown(sorted(names))}"


@check(after=("split_is_repeatable",), needs="has_split")
def labels_do_not_depend_on_the_part(session: ContractSession) -> Iterator[str]:
    """A sample has the same label and group in a split from another seed.

    Fix: read labels and groups from the data; draw only the parts.
    """
    step, _, output = split_output(session).rpartition(".")
    outputs, error = execute_step(session, session.pipeline.step(step), seed=session.declaration.seed + 1)
    if error:
        yield f"with seed {session.declaration.seed + 1}, step '{step}' failed: {error}"
        return
    first = {sample.sample: sample for samples in split_parts(session).values() for sample in samples}
    again = session.declaration.read_split(outputs[output])
    changed = [
        sample.sample
        for samples in again.values()
        for sample in samples
        if sample.sample in first
        and (sample.label, sample.group) != (first[sample.sample].label, first[sample.sample].group)
    ]
    if changed:
        yield f"{counted(len(changed), 'sample')} with another label or group: {shown(sorted(changed))}"


@check(after=("split_keeps_groups_together",), needs="has_groups")
def groups_are_those_of_the_data_set(session: ContractSession) -> Iterator[str]:
    """Groups come from the data set: from a column of a table, from part of the samples' names, or from equal files.

    Where they come from elsewhere, read_groups() of the contract returns them; without any, has_groups is False.

    Fix: use what the data set says belongs together, such as a recording, a track or a person.
    """
    groups = {sample.sample: sample.group for samples in split_parts(session).values() for sample in samples}
    declared = session.declaration.read_groups(session.dataset)
    if declared is not None:
        _, other = _partition(groups), {name: declared.get(name, name) for name in groups}
        apart = [name for name in groups if _partition(groups)[groups[name]] != _partition(other)[other[name]]]
        if apart:
            yield f"{counted(len(apart), 'sample')} in another group than read_groups() says: {shown(sorted(apart))}"
        return
    if len(set(groups.values())) == len(groups):
        yield "each sample is a group of its own; if the data set has no groups, declare has_groups = False"
        return
    if not is_explained(groups, session.dataset):
        yield (
            f"{counted(len(set(groups.values())), 'group')} of {counted(len(groups), 'sample')} follow neither from a "
            "table of the data set, nor from the samples' names, nor from equal files"
        )


@check(after=("steps_leave_inputs_unchanged",))
def training_reports_its_errors(session: ContractSession) -> Iterator[str]:
    """A training step fails when its input is empty, and when an error is raised inside of it.

    Fix: let errors through; a model that was not trained must not be written. Catch the error that you expect by its
    own class.
    """
    training = [step for step in session.pipeline.ordered() if step.kind is StepKind.TRAINING]
    if not training:
        raise NotApplicableError("no step trains a model")
    for step in training:
        _, error = execute_step(session, step, inputs=_emptied(session, step.name))
        if not error:
            yield f"step '{step.name}' succeeds although every file of its inputs is empty"
        folder = package_folder(package_of(step.run.partition(":")[0]))
        for path, line in forgiving_lines(folder)[:_MOST_FAULTS]:
            faults: dict[str, object] = {}
            _, error = execute_step(session, step, fault={"file": str(path), "line": line}, result=faults)
            if not error and faults.get("is_fault_reached"):
                yield f"step '{step.name}' succeeds although an error was raised at {path.name}:{line}"


@check(after=("plugin_can_be_imported",))
def core_stays_as_it_is(session: ContractSession) -> Iterator[str]:
    """Neither importing the plugin, nor a hook, nor a step, nor the predictor replaces an attribute of core.

    Fix: remove the assignment; use what core offers, or ask for what it lacks.
    """
    for hook, found in _first_calls(session).items():
        if found["core"]:
            yield f"{'importing the plugin' if hook == 'import' else hook} replaces {found['core']}"
    failed = session.reference.failed
    if failed is not None and REFUSAL in failed.error:
        yield f"step '{failed.name}': {failed.error}"
    yield from dict.fromkeys(session.incidents["core"])


@check(after=("plugin_can_be_imported",))
def no_process_outlives_its_call(session: ContractSession) -> Iterator[str]:
    """Neither a hook, nor fetching, nor the predictor leaves a process behind, in whatever session.

    Fix: wait for subprocesses and close pools; a step that needs a service ends it.
    """
    _first_calls(session)
    for name in ("dataset_can_be_fetched", "predictor_loads_from_its_artifact_alone"):
        session.examination.outcome(session.examination.checks[name])
    yield from dict.fromkeys(session.incidents["process"])


def _first_calls(session: ContractSession) -> Mapping[str, Mapping[str, str]]:
    """Return what each hook did when it was called first; without, if core refuses the plugin for another reason.

    Raises:
        NotApplicableError: another check says why the plugin cannot be loaded.
        ContractError: it replaces a part of core.
    """
    try:
        return session.first_calls
    except ContractError as error:
        if REFUSAL in str(error):
            raise
        raise NotApplicableError("the plugin cannot be loaded, as another check says") from error


def _emptied(session: ContractSession, step: str) -> Mapping[str, Path]:
    place = session.new_folder(f"empty inputs of {step}")
    inputs = {}
    for name, folder in session.inputs_of(session.pipeline.step(step)).items():
        inputs[name] = place / name
        shutil.copytree(folder, inputs[name])
        for path in inputs[name].rglob("*"):
            if path.is_file():
                path.chmod(0o644)
                path.write_bytes(b"")
    return inputs


def _by_sample(rows: Sequence[Prediction]) -> dict[str, list[tuple[float, ...]]]:
    found: defaultdict[str, list[tuple[str, tuple[float, ...]]]] = defaultdict(list)
    for row in rows:
        found[row.sample].append((str(row.part), row.scores))
    return {name: [scores for _, scores in sorted(items)] for name, items in found.items()}


def _are_close(first: list[tuple[float, ...]], second: list[tuple[float, ...]], tolerance: float) -> bool:
    return len(first) == len(second) and all(
        len(a) == len(b)
        and all(math.isclose(x, y, rel_tol=tolerance, abs_tol=tolerance) for x, y in zip(a, b, strict=True))
        for a, b in zip(first, second, strict=True)
    )


def _is_same(label: object, text: str) -> bool:
    if str(label) == text:
        return True
    try:
        return math.isclose(float(str(label)), float(text), rel_tol=1e-6)
    except ValueError:
        return False


def _partition(groups: Mapping[str, str]) -> dict[str, frozenset[str]]:
    members: defaultdict[str, set[str]] = defaultdict(set)
    for name, group in groups.items():
        members[group].add(name)
    return {group: frozenset(names) for group, names in members.items()}
