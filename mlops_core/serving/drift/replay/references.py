"""The reference of a model, and the features of captured requests."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import file_digest
from mlops_core.errors import DatasetError, MlopsError, UsageError
from mlops_core.evaluation.reference_statistics import DESCRIPTION, REFERENCE_FILE, SCORES, read_reference
from mlops_core.serving.drift.replay.captures import UndescribedRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlops_core.evaluation.reference_statistics import ReferenceStatistics
    from mlops_core.predictors import Predictor
    from mlops_core.serving.models import ServedModel
    from mlops_core.serving.protocols import Exchange

    Vectors = Callable[[Exchange], Sequence[Sequence[float | None]]]


def find_reference(
    model: ServedModel, *, workspace: Path | str | None, file: Path | None = None
) -> ReferenceStatistics:
    """Return the reference statistics of a model: of a file, of its run, or beside its files.

    Raises:
        UsageError: there are none.
        StepError: they cannot be read.
        DatasetError: they are not those with which the model was registered.
    """
    if file is not None:
        return read_reference(file)
    for path in _places(model, workspace):
        if not path.is_file():
            continue
        expected = str(model.facts.get("reference", ""))
        if expected and file_digest(path) != expected:
            raise DatasetError(
                f"{path} is not the reference with which {model} was registered; evaluate the model again"
            )
        return read_reference(path)
    raise UsageError(
        f"{model} has no {REFERENCE_FILE}, which the evaluation of a run writes: run the use case again, or name a "
        "file with --reference"
    )


def _places(model: ServedModel, workspace: Path | str | None) -> Iterator[Path]:
    run = model.facts.get("run_id")
    if isinstance(run, str) and run:
        from mlops_core.api import workspace_path
        from mlops_core.workspace.store import Store

        with contextlib.suppress(MlopsError), Store(workspace_path(workspace)) as store:
            yield store.runs.folder(run) / REFERENCE_FILE
    yield model.folder / REFERENCE_FILE


def load_predictor(model: ServedModel) -> Predictor:
    """Return the model, ready to predict.

    Raises:
        PluginError: it cannot be loaded.
    """
    from mlops_core.api import load_other_version
    from mlops_core.use_cases.manager import load_use_case

    use_case = load_use_case(model.use_case)
    if not model.advice:
        return use_case.load_predictor(model.folder)
    return load_other_version(use_case, model.folder, code=model.code, advice=model.advice)


def describe(predictor: Any, paths: Sequence[Path], reference: ReferenceStatistics) -> list[tuple[float, ...]]:
    """Return the features of files: what the plugin computes from them, or the scores of the model.

    Raises:
        DatasetError: a file cannot be read.
        UsageError: the plugin computes other features than those of the reference.
    """
    return [vector for _, vector, _ in described_answers(predictor, paths, reference)]


def described_answers(
    predictor: Any, paths: Sequence[Path], reference: ReferenceStatistics
) -> Iterator[tuple[str, tuple[float, ...], tuple[float, ...]]]:
    """Yield path, features and scores of each sample of files; raises the errors of `describe`."""
    if reference.source != DESCRIPTION:
        for answer in predictor.predict(paths):
            yield answer.path, tuple(answer.scores), tuple(answer.scores)
        return
    features = tuple(getattr(predictor, "features", ()))
    if features != reference.features:
        raise UsageError(
            f"the predictor describes samples by {len(features)} features, the reference by {len(reference.features)} "
            "others; use the version of the plugin that evaluated the model"
        )
    for answer in predictor.describe(paths):
        yield answer.path, tuple(answer.description), tuple(answer.scores)


def reference_classes(reference: ReferenceStatistics) -> list[str]:
    """Return the class with the highest score of each sample; empty where the features are not class scores."""
    if reference.source != SCORES or len(reference.features) < 2:
        return []
    return [reference.features[max(range(len(vector)), key=vector.__getitem__)] for vector in reference.vectors]


def captured_vectors(model: ServedModel, reference: ReferenceStatistics) -> Vectors | None:
    """Return what turns a captured request into features; None where the scores of its answer are the features.

    The model is loaded with the first request. The function raises UndescribedRequestError where the plugin fails on a
    body, and ValueError where there is none.
    """
    if reference.source != DESCRIPTION:
        return None
    loaded: list[Any] = []
    suffixes: dict[str, str] = {}

    def vectors(exchange: Exchange) -> Sequence[Sequence[float | None]]:
        from mlops_core.use_cases.manager import load_use_case

        if not loaded:
            loaded.append(load_predictor(model))
            suffixes.update({each.media_type: each.suffix for each in load_use_case(model.use_case).content_types()})
        if not exchange.body:
            raise ValueError("the request's body was not captured")
        kind = exchange.content_type.partition(";")[0].strip().lower()
        with tempfile.TemporaryDirectory(prefix="mlops-drift-") as folder:
            path = Path(folder) / f"request{suffixes.get(kind, '')}"
            path.write_bytes(exchange.body)
            try:
                return describe(loaded[0], [path], reference)
            except UsageError:  # the plugin has other features: no request can be described
                raise
            except Exception as error:  # one body that the plugin does not bear does not end the replay
                reason = " ".join(str(error).split())
                raise UndescribedRequestError(reason or type(error).__name__) from error

    return vectors
