"""What an evaluation tested, by the split manifests that it reads: all test samples, each once, and nothing else.

The manifests that count are the files ``split.csv`` in the inputs of the evaluation step; equal ones count once. With
one manifest per fold of a cross-validation, a sample may be predicted as ``OUTPUT//SAMPLE``, where OUTPUT is the output
that holds the manifest of its fold. In a manifest without parts, the samples that have a fold are tested. Samples that
cannot be scored are listed, with the reason, in ``left_out.csv`` beside the predictions.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.datasets.splits import FOLD, SPLIT_FILE, iter_members, manifest_digest
from mlops_core.errors import DatasetError
from mlops_core.reading import bounded_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from mlops_core.predictions import Predictions

LEFT_OUT_FILE = "left_out.csv"
_LEFT_OUT_COLUMNS = ["sample", "reason"]
_TEST = "test"
_FOLD_SEPARATOR = "//"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFacts:
    """A split manifest as runs, model versions and reports record it.

    Attributes:
        digest: SHA-256 of the file.
        parts: part -> number of samples; empty text for samples without a part.
    """

    digest: str
    parts: Mapping[str, int] = field(default_factory=dict)


def find_manifests(folders: Mapping[str, Path]) -> dict[str, Path]:
    """Return those of the folders that hold a split manifest; of equal manifests, the first one.

    Args:
        folders: reference (``step.output``) -> folder.
    """
    manifests: dict[str, Path] = {}
    seen: set[str] = set()
    for reference, folder in folders.items():
        if (folder / SPLIT_FILE).is_file():
            digest = manifest_digest(folder)
            if digest not in seen:
                manifests[reference] = folder
            seen.add(digest)
    return manifests


def read_manifest_facts(folder: Path) -> ManifestFacts:
    """Return digest and size of the manifest in `folder`.

    Raises:
        DatasetError: it is damaged.
    """
    counts = Counter(part for _, _, _, part, *_ in iter_members(folder))
    return ManifestFacts(digest=manifest_digest(folder), parts=dict(sorted(counts.items())))


def facts_to_note(manifests: Mapping[str, ManifestFacts]) -> str:
    """Return manifests as the text of a note in ``evaluation.json``."""
    data = {reference: {"digest": one.digest, "parts": dict(one.parts)} for reference, one in manifests.items()}
    return json.dumps(data, ensure_ascii=False, sort_keys=True)


def facts_of_note(note: object) -> dict[str, ManifestFacts]:
    """Return the manifests in a note that `facts_to_note` wrote; none for a note that is missing or damaged."""
    try:
        data = json.loads(note) if isinstance(note, str) else {}
        return {
            str(reference): ManifestFacts(
                digest=str(one["digest"]), parts={str(part): int(count) for part, count in one["parts"].items()}
            )
            for reference, one in data.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def digest_test_content(manifests: Iterable[Path]) -> str:
    """Return the SHA-256 over name, label and content of all test samples; empty if a content is not known.

    Unlike the digest of a manifest it does not depend on the other parts: models that were trained or validated on
    different samples may be compared on the same test set.
    """
    digest = hashlib.sha256()
    for row in sorted(_tested_rows(manifests)):
        if not row[-1]:
            return ""
        digest.update(json.dumps(row, ensure_ascii=False).encode(errors="surrogateescape"))
    return digest.hexdigest()


def write_left_out(folder: Path, reasons: Mapping[str, str]) -> None:
    """Write ``left_out.csv`` into `folder`: the test samples that an evaluation cannot score, each with the reason.

    Args:
        folder: the output ``predictions`` of the evaluation.
        reasons: sample -> why it has no prediction; nothing is written if it is empty.

    Example:
        >>> write_left_out(Path("."), {"clip-1.wav": "silence only"})
        >>> print(Path("left_out.csv").read_text(), end="")
        sample,reason
        clip-1.wav,silence only
    """
    if not reasons:
        return
    path = folder / LEFT_OUT_FILE
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        writer.writerows([_LEFT_OUT_COLUMNS, *([sample, " ".join(why.split())] for sample, why in reasons.items())])


def read_left_out(folder: Path) -> dict[str, str]:
    """Return sample -> reason from ``left_out.csv`` in `folder`; empty without the file.

    Raises:
        DatasetError: the file is damaged, or a reason is missing.
    """
    path = folder / LEFT_OUT_FILE
    if not path.is_file():
        return {}
    try:
        rows = list(csv.reader(bounded_lines(path, newline="", errors="surrogateescape"), strict=True))
    except (OSError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read: {error}; expected the columns sample, reason") from error
    for number, row in enumerate(rows, 1):
        if len(row) != len(_LEFT_OUT_COLUMNS) or not all(row) or (number == 1 and row != _LEFT_OUT_COLUMNS):
            raise DatasetError(f"{path} (row {number}): {row}; expected sample and reason, after a header with these")
    return {row[0]: row[1] for row in rows[1:]}


def check_coverage(predictions: Predictions, manifests: Mapping[str, Path], *, left_out: Mapping[str, str]) -> None:
    """Raise an error unless the predictions are those of all test samples, each once per model and part.

    Args:
        predictions: of one evaluation.
        manifests: reference -> folder of each manifest that the evaluation read (`find_manifests`).
        left_out: test samples without a prediction, each with the reason.

    Raises:
        DatasetError: a sample is not a test sample, is predicted twice or not at all, or is tested in two folds.
    """
    tested = _tested(manifests)
    predicted: dict[str, str] = {}
    for name, is_main in _named(predictions):
        sample = _sample_of(name, tested, manifests)
        if is_main and predicted.setdefault(sample, name) != name:
            raise DatasetError(
                f"sample '{sample}' is predicted as '{predicted[sample]}' and as '{name}'; expected it once"
            )
    for name in left_out:
        sample = _sample_of(name, tested, manifests)
        if sample in predicted:
            raise DatasetError(f"test sample '{name}' has a prediction, but {LEFT_OUT_FILE} says that it was left out")
        predicted[sample] = name
    missing = sorted(tested.keys() - predicted.keys())
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DatasetError(
            f"test sample '{missing[0]}'{more} of {tested[missing[0]]} has no prediction; expected each test sample of "
            "the split once: score it, or give the reason with mlops_core.write_left_out"
        )


def check_no_repetition(predictions: Predictions) -> None:
    """Raise an error if a sample is predicted twice by one model, with the same part.

    Raises:
        DatasetError: the sample is named.
    """
    keys = ((row.model, row.sample, row.part) for row in predictions.rows)
    if all(one < other for one, other in itertools.pairwise(keys)):  # sorted, as core merges them: none is remembered
        return
    seen: set[tuple[str, str, int]] = set()
    for row in predictions.rows:
        key = (row.model, row.sample, row.part)
        if key in seen:
            part = f", part {row.part}" if row.part else ""
            raise DatasetError(f"sample '{row.sample}'{part} is predicted twice; expected each sample and part once")
        seen.add(key)


def _named(predictions: Predictions) -> Iterator[tuple[str, bool]]:
    """Yield each sample, once per run of equal ones, and whether the evaluated model predicts it."""
    previous = None
    for row in predictions.rows:
        key = (row.sample, not row.model)
        if key != previous:
            yield key
        previous = key


def _tested(manifests: Mapping[str, Path]) -> dict[str, str]:
    """Return test sample -> reference of its manifest."""
    tested: dict[str, str] = {}
    used = _with_parts(manifests)
    for reference, folder in used.items():
        for sample, _, _ in _tested_rows([folder]):
            other = tested.setdefault(sample, reference)
            if other != reference:
                raise DatasetError(
                    f"sample '{sample}' is tested in {other} and in {reference}; expected each sample in the test "
                    "part of one fold"
                )
    if not tested:
        raise DatasetError(f"{', '.join(manifests)}: the split has no test sample; expected at least one")
    return tested


def _with_parts(manifests: Mapping[str, Path]) -> dict[str, Path]:
    """Return the manifests that assign parts; all of them if none does."""
    assigning = {name: folder for name, folder in manifests.items() if _assigns_parts(folder)}
    return assigning or dict(manifests)


def _assigns_parts(folder: Path) -> bool:
    return any(part for _, _, _, part, *_ in iter_members(folder))


def _tested_rows(folders: Iterable[Path]) -> Iterator[tuple[str, str, str]]:
    """Yield name, label and digest of each test sample."""
    for folder in _with_parts({str(number): folder for number, folder in enumerate(folders)}).values():
        has_parts = _assigns_parts(folder)
        for sample, _, label, part, digest, fold in iter_members(folder, FOLD):
            if part == _TEST or (not has_parts and fold):
                yield sample, label, digest


def _sample_of(name: str, tested: Mapping[str, str], manifests: Mapping[str, Path]) -> str:
    """Return the test sample that a prediction names."""
    if name in tested:
        return name
    fold, separator, sample = name.partition(_FOLD_SEPARATOR)
    if separator and len(manifests) > 1 and tested.get(sample, "").partition(".")[2] == fold:
        return sample
    sample = sample if separator and len(manifests) > 1 else name
    rows = (row for folder in manifests.values() for row in iter_members(folder))
    parts = {part or "no part" for member, _, _, part, _ in rows if member == sample}
    where = f"is in the split as {' and '.join(sorted(parts))}" if parts else f"is not in {', '.join(manifests)}"
    raise DatasetError(
        f"predicted sample '{name}' {where}; expected predictions of the test samples of the split, and of no other"
    )
