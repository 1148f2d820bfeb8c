"""Inspection of a data set of pictures: classes, parts, tracks, sizes, unusable and unused files, copies, conflicts."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mlops_core import (
    DataFiles,
    DatasetError,
    DatasetFinding,
    Distribution,
    FactTable,
    Inspection,
    Severity,
    findings_of_listing,
)
from mlops_image_classification.data.decoding import pixels_or_reason, size_and_format
from mlops_image_classification.data.files import count_by_suffix
from mlops_image_classification.data.fingerprints import find_copies, fingerprint, joined
from mlops_image_classification.data.labelled import PARTS
from mlops_image_classification.data.pictures import read_picture_set
from mlops_image_classification.data.splitting import make_split
from mlops_image_classification.data.statistics import size_distribution, size_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mlops_image_classification.config import ImageConfig
    from mlops_image_classification.data.fingerprints import Fingerprints, Pair
    from mlops_image_classification.data.labelled import Picture
    from mlops_image_classification.data.pictures import PictureSet

_BLOCK = 128


def inspect_dataset(dataset: Path, config: ImageConfig) -> Inspection:
    """Return the inspection of the folder `dataset`; each picture is decoded once, in blocks that bound the memory."""
    try:
        data = read_picture_set(dataset, config.dataset)
    except DatasetError as error:
        return Inspection(findings=(DatasetFinding(level=Severity.ERROR, check="layout", message=str(error)),))
    pictures = data.pictures
    prints, reasons = _decoded(dataset, pictures, config)
    readable = [pictures[number] for number in prints.numbers]
    copies = find_copies(
        prints,
        [picture.label for picture in readable],
        max_bits=config.split.near_duplicate_bits,
        min_similarity=config.split.near_duplicate_similarity,
    )
    empty = tuple(picture.name for picture in pictures if (dataset / picture.name).stat().st_size == 0)
    headers = [(picture.name, size_and_format(dataset / picture.name)) for picture in pictures]
    classes = Counter(picture.label for picture in pictures)
    return Inspection(
        facts=(
            ("pictures", str(len(pictures))),
            ("classes", str(len(classes))),
            ("tracks or single pictures", str(len({picture.group for picture in pictures}))),
            ("unreadable pictures", str(len(reasons))),
            ("empty files", str(len(empty))),
        ),
        tables=(_by_part(pictures), *size_tables(headers)),
        distributions=(
            Distribution(
                name="class", title="Pictures by class", labels=tuple(sorted(classes)), counts=_counts(classes)
            ),
            *size_distribution(headers),
        ),
        findings=(
            *_unreadable(reasons, empty),
            *_copies(copies, readable),
            *_missing(pictures),
            *_nested(pictures),
            *_tracks(data),
            *_tracks_in_two_parts(pictures),
            *_refused_split(readable, copies, config),
            *_not_used(data),
        ),
    )


def _decoded(dataset: Path, pictures: Sequence[Picture], config: ImageConfig) -> tuple[Fingerprints, list[str]]:
    parts, reasons = [fingerprint([])], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the GIL
        for start in range(0, len(pictures), _BLOCK):
            block = pictures[start : start + _BLOCK]
            results = list(pool.map(lambda picture: pixels_or_reason(picture, dataset, config.preprocessing), block))
            usable = [
                (p.number, pixels) for p, pixels in zip(block, results, strict=True) if not isinstance(pixels, str)
            ]
            parts.append(fingerprint(usable))
            reasons += [reason for reason in results if isinstance(reason, str)]
    return joined(parts), reasons


def _counts(classes: Counter[str]) -> tuple[int, ...]:
    return tuple(classes[name] for name in sorted(classes))


def _by_part(pictures: Iterable[Picture]) -> FactTable:
    counts = Counter((picture.label, picture.part) for picture in pictures)
    parts = [part for part in (*PARTS, "") if any(assigned == part for _, assigned in counts)]
    names = sorted({name for name, _ in counts})
    return FactTable(
        title="pictures by class and part",
        columns=("class", *(part or "not assigned" for part in parts)),
        rows=tuple((name, *(counts[name, part] for part in parts)) for name in names),
    )


def _unreadable(reasons: Sequence[str], empty: tuple[str, ...]) -> Iterator[DatasetFinding]:
    if reasons:
        text = f"{len(reasons)} picture(s) cannot be used"
        yield DatasetFinding(level=Severity.ERROR, check="unreadable", message=text, samples=tuple(reasons))
    if empty:
        text = f"{len(empty)} file(s) are empty"
        yield DatasetFinding(level=Severity.ERROR, check="empty files", message=text, samples=empty)


def _not_used(data: PictureSet) -> Iterator[DatasetFinding]:
    """Yield a finding for each kind of file that a run does not use."""
    yield from findings_of_listing(DataFiles(skipped=data.files.skipped, broken=data.files.broken))
    for level, check, what, names in (
        (Severity.WARNING, "unlabelled images", "image(s) outside of the class folders are not used", data.unlabelled),
        (Severity.NOTE, "unlabelled folders", "image(s) in folders that do not belong to the data set", data.beside),
        (Severity.WARNING, "other files", "file(s) that are not images are not used", data.files.others),
    ):
        if names:
            kinds = ", ".join(f"{suffix} ({count})" for suffix, count in count_by_suffix(names).items())
            yield DatasetFinding(level=level, check=check, message=f"{len(names)} {what}: {kinds}", samples=names)


def _nested(pictures: Iterable[Picture]) -> Iterator[DatasetFinding]:
    """Yield a finding if all classes hold the same folders of words, which are probably the classes that were meant."""
    inner: defaultdict[str, set[str]] = defaultdict(set)
    for picture in pictures:
        *_, above, folder, _ = ("", "", *picture.name.split("/"))
        inner[picture.label].add(folder if unicodedata.normalize("NFC", above) == picture.label else "")
    first, *others = inner.values()
    are_words = all(name and not any(map(str.isdigit, name)) for name in first)  # tracks have numbers
    if len(first) > 1 and are_words and all(names == first for names in others):
        text = (
            f"the classes {', '.join(sorted(inner))} hold folders of the same names and no pictures of their own: "
            "is dataset.path a level too high?"
        )
        yield DatasetFinding(level=Severity.WARNING, check="layout", message=text, samples=tuple(sorted(first)))


def _tracks(data: PictureSet) -> Iterator[DatasetFinding]:
    fit = data.fit
    if fit and fit.problem:
        yield DatasetFinding(level=Severity.ERROR, check="group pattern", message=fit.problem)
    elif fit and fit.matched < fit.total:
        yield DatasetFinding(level=Severity.WARNING, check="group pattern", message=fit.summary)
    if data.similar_classes:
        text = f"{len(data.similar_classes)} pair(s) of classes with similar names"
        yield DatasetFinding(level=Severity.WARNING, check="classes", message=text, samples=data.similar_classes)


def _copies(copies: Sequence[Pair], pictures: Sequence[Picture]) -> tuple[DatasetFinding, ...]:
    def labels_differ(pair: Pair) -> bool:
        return pictures[pair.first].label != pictures[pair.second].label

    def parts_differ(pair: Pair) -> bool:
        return pictures[pair.first].part != pictures[pair.second].part

    kinds = (
        (Severity.NOTE, "exact copies", [pair for pair in copies if pair.is_exact]),
        (Severity.NOTE, "near copies", [pair for pair in copies if not pair.is_exact]),
        (Severity.WARNING, "copies in two parts", [pair for pair in copies if parts_differ(pair)]),
        (Severity.ERROR, "exact copies with different labels", [p for p in copies if p.is_exact and labels_differ(p)]),
        (
            Severity.WARNING,
            "near copies with different labels",
            [p for p in copies if not p.is_exact and labels_differ(p)],
        ),
    )
    return tuple(
        DatasetFinding(
            level=level,
            check=check,
            message=f"{len(pairs)} pair(s)",
            samples=tuple(
                f"{pictures[pair.first].name} and {pictures[pair.second].name} ({pair.distance})" for pair in pairs
            ),
        )
        for level, check, pairs in kinds
        if pairs
    )


def _missing(pictures: Sequence[Picture]) -> tuple[DatasetFinding, ...]:
    classes = {picture.label for picture in pictures}
    findings = []
    for part in sorted({picture.part for picture in pictures} - {""}):
        lacking = tuple(sorted(classes - {picture.label for picture in pictures if picture.part == part}))
        if lacking:
            text = f"the {part} part has no picture of {len(lacking)} class(es)"
            findings.append(DatasetFinding(level=Severity.ERROR, check="classes", message=text, samples=lacking))
    return tuple(findings)


def _refused_split(
    pictures: Sequence[Picture], copies: Sequence[Pair], config: ImageConfig
) -> tuple[DatasetFinding, ...]:
    """Return why the step ``split`` would refuse the pictures, where no other finding says so."""
    if not pictures or _missing(pictures) or _tracks_in_two_parts(pictures):
        return ()
    is_conflict = any(pair.is_exact and pictures[pair.first].label != pictures[pair.second].label for pair in copies)
    if is_conflict and config.split.conflicting_labels == "fail":
        return ()
    try:
        make_split(pictures, copies, config.split, seed=0)
    except DatasetError as error:
        return (DatasetFinding(level=Severity.ERROR, check="split", message=f"{error}; a run refuses the data set"),)
    return ()


def _tracks_in_two_parts(pictures: Sequence[Picture]) -> tuple[DatasetFinding, ...]:
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for picture in pictures:
        parts[picture.group].add(picture.part)
    split = tuple(sorted(group for group, assigned in parts.items() if len(assigned) > 1))
    if not split:
        return ()
    text = f"{len(split)} track(s) appear in more than one part; a run refuses the data set"
    return (DatasetFinding(level=Severity.ERROR, check="tracks", message=text, samples=split),)
