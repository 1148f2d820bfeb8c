"""Checks of the split manifests that a step reads and writes, in the process or container of the step, on every engine.

* A manifest that a step writes: no part and no class is empty, no group and no content is in two parts, digests are
  those of the data set's files, and the plugin's hook finds no near duplicates across parts.
* A manifest that a training reads: no part and no class is empty.
* The manifests that the evaluation reads: there is one if a model is trained, none leaks, not even between folds.
* The predictions: they are those of the test samples, each once, and no class of theirs is empty in a part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.datasets.group_splits import check_split_file
from mlops_core.datasets.leaks import WrittenSplit, check_digests, check_leaks, check_near_duplicates
from mlops_core.datasets.splits import SPLIT_FILE, iter_members
from mlops_core.errors import PluginError
from mlops_core.pipeline import DATASET, PREDICTIONS_OUTPUT, StepKind
from mlops_core.quantities import counted
from mlops_core.steps.context import StepContext

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.predictions import Predictions
    from mlops_core.steps.context import StepRequest

_SHOWN = 5


def check_split_inputs(request: StepRequest) -> None:
    """Check the manifests that a training or an evaluation reads.

    Raises:
        DatasetError: a manifest is damaged, lacks a part or a class, or leaks.
        PluginError: the evaluation of a trained model reads no manifest.
    """
    step = request.step
    if step.kind is StepKind.TRAINING:
        for folder in _input_folders(request).values():
            check_split_file(folder, is_trained=True)
    if step.kind is not StepKind.EVALUATION:
        return
    manifests = _manifests(request)
    if not manifests and request.is_trained:
        raise PluginError(
            f"step '{step.name}' reads no split manifest ({SPLIT_FILE}); expected one in one of its inputs "
            f"({', '.join(step.inputs) or 'it has none'}): write it with mlops_core.write_split in the step that "
            f"assigns the samples to parts, and let '{step.name}' read that output"
        )
    for folder in manifests.values():
        check_leaks(folder, between_folds=True)


def check_split_outputs(request: StepRequest) -> None:
    """Check the manifests that a step has written.

    Raises:
        DatasetError: a manifest is damaged, lacks a part or a class, leaks, or has a wrong digest.
    """
    dataset = next((request.inputs[name] for name, what in request.step.inputs.items() if what == DATASET), None)
    for folder in request.outputs.values():
        if not (folder / SPLIT_FILE).is_file():
            continue
        check_split_file(folder, is_trained=bool(request.is_trained))
        check_leaks(folder)
        if dataset is not None:
            check_digests(folder, dataset)
        if any(part for _, _, _, part, _ in iter_members(folder)):
            _check_near_duplicates(request, folder)


def _check_near_duplicates(request: StepRequest, folder: Path) -> None:
    from mlops_core.use_cases.manager import load_use_case

    written = WrittenSplit(folder=folder, inputs=request.inputs, sections=request.config)
    check_near_duplicates(folder, load_use_case(request.use_case).near_duplicates(written))


def check_predictions(request: StepRequest, predictions: Predictions) -> None:
    """Check the predictions of an evaluation against the manifests that it read.

    Raises:
        DatasetError: a sample is not a test sample, is predicted twice, or is missing without a reason, or a part has
            no sample of a class.
    """
    from mlops_core.evaluation.coverage import check_coverage, check_no_repetition, read_left_out

    check_no_repetition(predictions)
    manifests = _manifests(request)
    if not manifests:
        return
    if predictions.classes:  # only now it is known that labels which are numbers are classes
        for folder in manifests.values():
            check_split_file(folder, is_trained=bool(request.is_trained), known=predictions.classes)
    left_out = read_left_out(request.outputs[PREDICTIONS_OUTPUT])
    check_coverage(predictions, manifests, left_out=left_out)
    if left_out:
        shown = "; ".join(f"{sample}: {reason}" for sample, reason in list(left_out.items())[:_SHOWN])
        more = f"; and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        StepContext(request).log.warning(
            "%s: %s%s", counted(len(left_out), "test sample", one="was not scored", more="were not scored"), shown, more
        )


def split_notes(request: StepRequest) -> dict[str, str]:
    """Return what ``evaluation.json`` says about the manifests that the evaluation read."""
    from mlops_core.evaluation.comparability import SPLITS_NOTE, TEST_CONTENT_NOTE
    from mlops_core.evaluation.coverage import digest_test_content, facts_to_note, read_manifest_facts

    manifests = _manifests(request)
    if not manifests:
        return {}
    facts = {reference: read_manifest_facts(folder) for reference, folder in manifests.items()}
    notes = {SPLITS_NOTE: facts_to_note(facts), TEST_CONTENT_NOTE: digest_test_content(manifests.values())}
    return {name: note for name, note in notes.items() if note}


def _manifests(request: StepRequest) -> dict[str, Path]:
    from mlops_core.evaluation.coverage import find_manifests

    return find_manifests(_input_folders(request))


def _input_folders(request: StepRequest) -> dict[str, Path]:
    """Return reference -> folder of each input but the data set, whose files are its publisher's."""
    return {
        reference: request.inputs[name]
        for name, reference in request.step.inputs.items()
        if reference != DATASET and name in request.inputs
    }
