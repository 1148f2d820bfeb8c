"""Checks of the predictor: the registered artifact alone answers as the evaluation did."""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.trees import differences, shown, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_core.testing.observation.processes import Answer
    from mlops_core.testing.use_cases.session import ContractSession

LOADED = ("predictor_loads_from_its_artifact_alone",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interview:
    """What a predictor was asked in an empty place, and what it answered.

    Attributes:
        samples: name -> the file that it was asked about.
        answer: what came back.
        model: the copy of the artifact that it was loaded from.
        before: that copy's files before it was loaded.
        without_samples: why it was asked about nothing; empty when it was asked.
    """

    samples: Mapping[str, Path]
    answer: Answer
    model: Path
    before: Mapping[str, str]
    without_samples: str = ""


def interview(session: ContractSession) -> Interview:
    """Return the interview of the predictor; it is made once."""
    products: dict[str, Any] = session.shared
    if "interview" not in products:
        products["interview"] = _interview(session)
    found: Interview = products["interview"]
    return found


def _interview(session: ContractSession) -> Interview:
    names = sorted({row.sample for row in session.predictions.rows})
    count = session.declaration.predictor_samples
    chosen = names[:: max(1, len(names) // count)][:count]
    folder = session.new_folder("samples")
    without_samples = ""
    try:
        files = [session.declaration.sample_file(name, dataset=session.dataset, folder=folder) for name in chosen]
    except NotApplicableError as reason:  # it can be loaded at least
        files, without_samples = [], str(reason)
    samples = dict(zip(chosen, files, strict=False))
    model = session.new_folder("model", is_made=False)
    shutil.copytree(session.model, model)
    before = tree(model)
    answer = session.call(
        "predictor:ask",
        {
            "use_case": session.declaration.use_case,
            "model": str(model),
            "paths": [str(path) for path in samples.values()],
        },
        packages=session.packages,
    )
    return Interview(samples=samples, answer=answer, model=model, before=before, without_samples=without_samples)


def _asked(session: ContractSession) -> Interview:
    """Return the interview if the predictor was asked about samples.

    Raises:
        NotApplicableError: it was not; the message says why.
    """
    found = interview(session)
    if found.without_samples:
        raise NotApplicableError(found.without_samples)
    return found


@check(after=("steps_succeed",), needs="has_predictor")
def predictor_loads_from_its_artifact_alone(session: ContractSession) -> Iterator[str]:
    """The predictor loads from a copy of the registered output in another place and answers.

    Fix: let the training step write everything that a prediction needs into the model's folder.
    """
    if interview(session).answer.error:
        yield interview(session).answer.error


@check(after=LOADED, needs="has_predictor")
def predictor_leaves_its_artifact_unchanged(session: ContractSession) -> Iterator[str]:
    """Loading and using a predictor changes nothing in the model's folder.

    Fix: keep caches elsewhere; a registered artifact is read only.
    """
    found = interview(session)
    yield from differences(found.before, tree(found.model))


@check(after=LOADED, needs="has_predictor")
def predictor_has_the_classes_of_the_evaluation(session: ContractSession) -> Iterator[str]:
    """The predictor's classes are those of the evaluation, in the same order.

    Fix: store the classes with the model and use them in both.
    """
    classes = tuple(interview(session).answer.result["classes"])
    if classes != session.predictions.classes:
        yield f"{shown(classes)} instead of {shown(session.predictions.classes)}"


@check(after=LOADED, needs="has_predictor")
def predictor_answers_each_path_in_order(session: ContractSession) -> Iterator[str]:
    """The predictor yields one answer for each path, in their order, naming each path as it was passed.

    Fix: yield SampleScores(path=str(path), ...) inside a loop over the paths.
    """
    found = _asked(session)
    answers = [answer["path"] for answer in found.answer.result["answers"]]
    asked = [str(path) for path in found.samples.values()]
    if len(answers) != len(asked):
        yield f"{len(answers)} answers to {len(asked)} paths"
    elif answers != asked:
        first = next(number for number, pair in enumerate(zip(answers, asked, strict=True)) if pair[0] != pair[1])
        yield f"answer {first + 1} is about {answers[first]}, asked was {asked[first]}"


@check(
    after=(*LOADED, "predictor_has_the_classes_of_the_evaluation", "predictor_answers_each_path_in_order"),
    needs="has_predictor",
)
def predictor_agrees_with_the_evaluation(session: ContractSession) -> Iterator[str]:
    """The predictor's scores of each sample equal those of the evaluation (the mean over its parts).

    Fix: prepare a file exactly as the steps do; share that code between step and predictor.
    """
    found = _asked(session)
    parts: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
    for row in session.predictions.rows:
        parts[row.sample].append(row.scores)
    faults = []
    for sample, answer in zip(found.samples, found.answer.result["answers"], strict=True):
        expected = [fmean(column) for column in zip(*parts[sample], strict=True)]
        furthest = max((abs(a - b) for a, b in zip(expected, answer["scores"], strict=False)), default=math.inf)
        if len(answer["scores"]) != len(expected) or not furthest <= session.declaration.predictor_tolerance:
            faults.append(f"'{sample}': {_rounded(answer['scores'])} instead of {_rounded(expected)}")
    if faults:
        yield f"{len(faults)} of {len(found.samples)} differ: {shown(faults, 2)}"


@check(after=LOADED, needs="has_bad_files")
def predictor_names_a_bad_file(session: ContractSession) -> Iterator[str]:
    """For a file that cannot be used, the predictor raises DatasetError and names the file.

    Fix: catch what the decoder raises and raise mlops_core.DatasetError(f"{path} cannot be decoded: ...").
    """
    folder = session.new_folder("bad files")
    kind = next(iter(_asked(session).samples.values())).suffix
    broken = folder / f"broken{kind}"
    broken.write_bytes(b"\x00\xff not what it should be \x00" * 3)
    paths = (broken, folder / f"missing{kind}")
    answer = session.call(
        "predictor:ask_about_bad_files",
        {
            "use_case": session.declaration.use_case,
            "model": str(interview(session).model),
            "paths": [str(path) for path in paths],
        },
        packages=session.packages,
    )
    if answer.error:
        yield f"{broken.name} or {paths[1].name}: {answer.error}"
    for path, said in zip(paths, answer.result or (), strict=False):
        if said["kind"] != "DatasetError":
            kind = said["kind"] or f"answered {said['message'][:60]}"
            yield f"{path.name}: {kind} instead of DatasetError"
        elif path.name not in said["message"]:
            yield f"{path.name}: the message does not name it: {said['message']}"


def _rounded(scores: list[float]) -> str:
    return "(" + ", ".join(f"{score:.4g}" for score in scores[:4]) + (", ...)" if len(scores) > 4 else ")")
