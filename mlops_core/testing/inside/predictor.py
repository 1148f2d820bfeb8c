"""Using a model in a process of its own, from its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlops_core.predictors import Predictor


def ask(arguments: dict[str, Any]) -> dict[str, Any]:
    """Load the model in ``arguments["model"]`` and return its classes and its answers for ``arguments["paths"]``."""
    from mlops_core.use_cases.manager import load_use_case

    predictor = load_use_case(arguments["use_case"]).load_predictor(Path(arguments["model"]))
    answers = [
        {"path": answer.path, "scores": [float(score) for score in answer.scores]}
        for answer in predictor.predict([Path(path) for path in arguments["paths"]])
    ]
    return {"classes": list(predictor.classes), "answers": answers}


def ask_to_describe(arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Load the model in ``arguments["model"]`` and have it describe ``arguments["paths"]`` three times.

    Returns:
        None if it does not describe samples; else ``features``, their names; ``first`` and ``again``: the numbers of
        each path, as texts, since they may not be finite; ``renamed``: those of copies with neutral names in
        ``arguments["folder"]``; ``scores``: with the first descriptions, and ``plain``: those of a prediction.
    """
    from mlops_core.predictors import DescribingPredictor
    from mlops_core.testing.inside.elsewhere import neutral_copies
    from mlops_core.use_cases.manager import load_use_case

    predictor = load_use_case(arguments["use_case"]).load_predictor(Path(arguments["model"]))
    if not isinstance(predictor, DescribingPredictor) or not predictor.features:
        return None
    paths = [Path(path) for path in arguments["paths"]]
    copies = neutral_copies(paths, Path(arguments["folder"]) / "samples")
    answers = list(predictor.describe(paths))
    return {
        "features": list(predictor.features),
        "first": [_texts(answer.description) for answer in answers],
        "again": [_texts(answer.description) for answer in predictor.describe(paths)],
        "renamed": [_texts(answer.description) for answer in predictor.describe(copies)],
        "scores": [_texts(answer.scores) for answer in answers],
        "plain": [_texts(answer.scores) for answer in predictor.predict(paths)],
    }


def _texts(numbers: Iterable[float]) -> list[str]:
    return [repr(float(number)) for number in numbers]


def ask_about_bad_files(arguments: dict[str, Any]) -> list[dict[str, str]]:
    """Ask about files that cannot be used, one by one; return the kind of error and its message, or the answer."""
    from mlops_core.use_cases.manager import load_use_case

    predictor = load_use_case(arguments["use_case"]).load_predictor(Path(arguments["model"]))
    return [_asked(predictor, Path(path)) for path in arguments["paths"]]


def _asked(predictor: Predictor, path: Path) -> dict[str, str]:
    try:
        answers = list(predictor.predict([path]))
    except Exception as error:  # noqa: BLE001  which one it is is what the check is about
        return {"kind": type(error).__name__, "message": " ".join(str(error).split())}
    return {"kind": "", "message": repr(answers)}
