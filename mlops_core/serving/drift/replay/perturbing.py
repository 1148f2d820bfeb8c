"""Sample files changed on purpose, and the vectors of the changed copies, by the functions of a loaded model."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import DatasetError, MlopsError, PluginError
from mlops_core.serving.drift.replay.references import described_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlops_core.evaluation.reference_statistics import ReferenceStatistics
    from mlops_core.predictors import Perturbation

    Vector = tuple[float, ...]

MOST_SAMPLES = 250
MIN_SAMPLES = 20
_ROW_FILES = 1000
"""A file of a table holds many samples; more files than this are not read."""


@dataclass(slots=True, kw_only=True)
class ChangedSamples:
    """Samples before and after each change.

    Attributes:
        vectors: of the unchanged samples.
        classes: the class with the highest score of each sample; empty for a regression.
        changed: name of a change -> the vectors of the same samples after it.
        left_out: files that could not be described, before or after a change.
        reason: why the first one of these could not.
    """

    vectors: list[Vector] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    changed: dict[str, list[Vector]] = field(default_factory=dict)
    left_out: int = 0
    reason: str = ""


def perturbed_samples(
    predictor: Any,
    files: Sequence[Path],
    reference: ReferenceStatistics,
    *,
    most: int = MOST_SAMPLES,
    seed: int = 0,
    is_wanted: Callable[[Vector], bool] | None = None,
) -> ChangedSamples:
    """Describe files before and after each change of a `PerturbingPredictor`.

    Args:
        predictor: a loaded model.
        files: the samples; those of more than `most` are drawn at random.
        reference: whose features are computed.
        most: number of samples to describe.
        seed: of the draw.
        is_wanted: whether a sample is used, by its unchanged vector; None uses all.

    Raises:
        DatasetError: fewer than `MIN_SAMPLES` samples remain.
        PluginError: a changed copy holds another number of samples.
    """
    perturbations = tuple(predictor.perturbations)
    labels = [label for each in perturbations for label in each.labels()]
    found = ChangedSamples(changed={label: [] for label in labels})
    order = random.Random(seed)  # noqa: S311  no secret
    for path in order.sample(list(files), len(files))[:_ROW_FILES]:
        if len(found.vectors) >= most:
            break
        try:
            rows = _of_file(predictor, path, perturbations, reference)
        except (DatasetError, OSError) as error:
            found.left_out += 1
            found.reason = found.reason or " ".join(str(error).split())
            continue
        plain = rows.pop("")
        chosen = [at for at, (vector, _) in enumerate(plain) if is_wanted is None or is_wanted(vector)]
        if len(chosen) > (room := most - len(found.vectors)):
            chosen = sorted(order.sample(chosen, room))
        found.vectors += [plain[at][0] for at in chosen]
        found.classes += [_best(predictor.classes, plain[at][1]) for at in chosen]
        for label, described in rows.items():
            found.changed[label] += [described[at][0] for at in chosen]
    if len(found.vectors) < MIN_SAMPLES:
        why = f"; {found.left_out} files are left out: {found.reason}" if found.left_out else ""
        raise DatasetError(
            f"drift: {len(found.vectors)} usable samples in {len(files)} files; expected at least {MIN_SAMPLES}{why}"
        )
    return found


def _of_file(
    predictor: Any, path: Path, perturbations: Sequence[Perturbation], reference: ReferenceStatistics
) -> dict[str, list[tuple[Vector, Vector]]]:
    """Return vector and scores of each sample of a file: of the file itself under "", of its copies by their labels."""
    found = {"": _rows(predictor, [path], reference)[str(path)]}  # first, since `write` may expect a usable file
    with tempfile.TemporaryDirectory(prefix="mlops-drift-") as folder:
        copies: dict[str, Path] = {}
        for number, each in enumerate(perturbations):
            for at, (label, strength) in enumerate(zip(each.labels(), each.strengths, strict=True)):
                copies[label] = Path(folder) / f"{number}-{at}{each.suffix or path.suffix}"
                _write(each, path, copies[label], strength, label)
        rows = _rows(predictor, list(copies.values()), reference)
        found |= {label: rows[str(copy)] for label, copy in copies.items()}
    for label, described in found.items():
        if len(described) != len(found[""]):
            raise PluginError(
                f"perturbation '{label}' of {path}: {len(described)} samples instead of {len(found[''])}; expected "
                "the samples of the file, in their order"
            )
    return found


def _rows(
    predictor: Any, paths: Sequence[Path], reference: ReferenceStatistics
) -> dict[str, list[tuple[Vector, Vector]]]:
    """Return vector and scores of each sample, by the path of its file."""
    rows: dict[str, list[tuple[Vector, Vector]]] = {str(path): [] for path in paths}
    for name, vector, scores in described_answers(predictor, paths, reference):
        rows[name].append((vector, scores))
    return rows


def _write(perturbation: Perturbation, source: Path, target: Path, strength: float, label: str) -> None:
    """Have a changed copy written.

    Raises:
        DatasetError, OSError: the plugin says that the file cannot be used.
        PluginError: it fails otherwise, or writes no file.
    """
    try:
        perturbation.write(source, target, strength)
    except (MlopsError, OSError):
        raise
    except Exception as error:  # foreign code
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(f"perturbation '{label}' of {source} failed: {cause}") from error
    if not target.is_file():
        raise PluginError(f"perturbation '{label}' of {source} wrote no file; expected a changed copy at its target")


def _best(classes: Sequence[str], scores: Vector) -> str:
    return classes[max(range(len(scores)), key=scores.__getitem__)] if classes else ""
