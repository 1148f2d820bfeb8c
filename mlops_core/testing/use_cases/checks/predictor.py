"""Checks of the predictor: the registered artifact alone answers as the evaluation did."""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mlops_core.errors import ContractError
from mlops_core.evaluation.reference_statistics import REFERENCE_FILE, read_reference
from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.trees import differences, shown, tree
from mlops_core.testing.use_cases.describing import description_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_core.testing.observation.processes import Answer
    from mlops_core.testing.use_cases.session import ContractSession

_FEWEST = 3
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """The predictor's scores in other surroundings, in the order of the samples of the interview.

    Attributes:
        whole: asked about all samples at once.
        backwards: in the opposite order.
        single: one by one.
        renamed: about copies with neutral names, in another order.
        touched: what the code of the plugin touched beyond its artifact.
    """

    whole: list[list[float]]
    backwards: list[list[float]]
    single: list[list[float]]
    renamed: list[list[float]]
    touched: list[str]


def elsewhere(session: ContractSession) -> Elsewhere:
    """Return what the predictor answers in other surroundings; it is asked once.

    Raises:
        ContractError: it does not answer there.
    """
    products: dict[str, Any] = session.shared
    if "elsewhere" not in products:
        found = _asked(session)
        folder = session.new_folder("elsewhere")
        products["elsewhere"] = session.call(
            "elsewhere:ask_elsewhere",
            {
                "use_case": session.declaration.use_case,
                "model": str(found.model),
                "folder": str(folder),
                "paths": [str(path) for path in found.samples.values()],
            },
            startup={
                "LC_ALL": "C",
                "LANG": "C",
                "PYTHONUTF8": "0",
                "PYTHONCOERCECLOCALE": "0",
                "PYTHONHASHSEED": "4711",
            },
            environ={"TZ": "KIT-12:45"},
            packages=session.packages,
        )
    answer: Answer = products["elsewhere"]
    if answer.error:
        raise ContractError(f"in other surroundings: {answer.error}")
    result = answer.result
    return Elsewhere(
        whole=result["whole"],
        backwards=result["reversed"],
        single=result["single"],
        renamed=result["renamed"],
        touched=result["touched"],
    )


@check(after=(*LOADED, "predictor_answers_each_path_in_order"), needs="has_predictor")
def predictor_reads_its_artifact_only(session: ContractSession) -> Iterator[str]:
    """A predictor opens, lists and asks about nothing but its artifact and the samples, whether it exists or not.

    Fix: let the training step write what is needed into the model's folder.
    """
    touched = elsewhere(session).touched
    if touched:
        yield f"it {shown(touched)}"


@check(after=(*LOADED, "predictor_answers_each_path_in_order"), needs="has_predictor")
def predictor_ignores_its_surroundings(session: ContractSession) -> Iterator[str]:
    """The scores are the same with another home, environment, clock, host, locale, umask and number of processors.

    Fix: compute from the artifact and the sample alone; what else is needed belongs into the artifact.
    """
    first = [answer["scores"] for answer in _asked(session).answer.result["answers"]]
    yield from _differing(session, elsewhere(session).whole, first, "in other surroundings")


@check(after=(*LOADED, "predictor_answers_each_path_in_order"), needs="has_predictor")
def predictor_ignores_the_batch(session: ContractSession) -> Iterator[str]:
    """The scores of a sample are the same alone, among others and in any order, however often it was asked.

    Fix: take means, ranks and states from the training part and store them with the model, not from what is asked.
    """
    found = elsewhere(session)
    yield from _differing(session, found.backwards, found.whole, "in the opposite order")
    yield from _differing(session, found.single, found.whole, "one by one")


@check(after=(*LOADED, "predictor_answers_each_path_in_order"), needs="has_predictor")
def predictor_ignores_names(session: ContractSession) -> Iterator[str]:
    """The scores of a sample are the same under a neutral name in another folder.

    Fix: use the content; a name is known only where the label is known, too.
    """
    found = elsewhere(session)
    yield from _differing(session, found.renamed, found.whole, "under neutral names")


@check(after=(*LOADED, "predictor_answers_each_path_in_order"), needs="has_predictor")
def predictor_answers_differ(session: ContractSession) -> Iterator[str]:
    """Samples of different classes do not all get the same scores.

    Fix: look for the reason in the training: an error that was swallowed, weights that are not loaded, features that
    are all zero.
    """
    found = _asked(session)
    labels = {row.label for row in session.predictions.rows if row.sample in found.samples}
    scores = {tuple(answer["scores"]) for answer in found.answer.result["answers"]}
    if len(found.samples) >= _FEWEST and len(labels) > 1 and len(scores) == 1:
        yield f"all of {len(found.samples)} samples of {len(labels)} labels get {_rounded(list(scores.pop()))}"


@check(after=(*LOADED, "predictor_answers_each_path_in_order"), needs="has_predictor")
def predictor_describes_content(session: ContractSession) -> Iterator[str]:
    """A predictor that describes files gives one finite number per feature, from the content alone, as the evaluation.

    Fix: compute the numbers from what was decoded for the prediction, by one function for step and predictor; put no
    random number, clock, counter or name of a file into them.
    """
    found = _asked(session)
    answer = session.call(
        "predictor:ask_to_describe",
        {
            "use_case": session.declaration.use_case,
            "model": str(found.model),
            "paths": [str(path) for path in found.samples.values()],
            "folder": str(session.new_folder("described")),
        },
        packages=session.packages,
    )
    if answer.error:
        yield f"it cannot describe samples: {answer.error}"
    elif answer.result is None:
        raise NotApplicableError("the predictor does not describe samples (mlops_core.DescribingPredictor)")
    else:
        path = session.evaluation_output("predictions") / REFERENCE_FILE
        reference = read_reference(path) if path.is_file() else None
        yield from description_faults(answer.result, list(found.samples), reference)


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


def _differing(
    session: ContractSession, found: list[list[float]], expected: list[list[float]], where: str
) -> Iterator[str]:
    tolerance = session.declaration.predictor_tolerance
    names = list(_asked(session).samples)
    changed = [
        f"'{name}': {_rounded(scores)} instead of {_rounded(before)}"
        for name, scores, before in zip(names, found, expected, strict=True)
        if len(scores) != len(before) or not all(abs(a - b) <= tolerance for a, b in zip(scores, before, strict=True))
    ]
    if changed:
        yield f"{where}, {len(changed)} of {len(names)} differ: {shown(changed, 2)}"


def _rounded(scores: list[float]) -> str:
    return "(" + ", ".join(f"{score:.4g}" for score in scores[:4]) + (", ...)" if len(scores) > 4 else ")")
