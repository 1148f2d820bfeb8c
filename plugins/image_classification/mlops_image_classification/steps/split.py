"""Find copies and conflicts, and assign each picture to training, validation or test."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_image_classification.config import DatasetSection, SplitSection
from mlops_image_classification.data.fingerprints import find_copies, read_fingerprints
from mlops_image_classification.data.labelled import listed
from mlops_image_classification.data.pictures import read_pictures
from mlops_image_classification.data.split_files import write_split_tables
from mlops_image_classification.data.splitting import LeftOut, make_split

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence
    from pathlib import Path

    from mlops_core import StepContext
    from mlops_image_classification.data.labelled import Picture
    from mlops_image_classification.data.pictures import PictureSet
    from mlops_image_classification.data.splitting import Split


def split(context: StepContext) -> None:
    """Write the split, and tables of copies, conflicting labels and pictures that are left out."""
    settings = context.section("split", SplitSection)
    data = read_pictures(context.input("dataset"), context.section("dataset", DatasetSection), context.log)
    pictures = data.pictures
    fingerprints = read_fingerprints(context.input("fingerprints"))
    readable = [pictures[number] for number in fingerprints.numbers]
    copies = find_copies(
        fingerprints,
        [picture.label for picture in readable],
        max_bits=settings.near_duplicate_bits,
        min_similarity=settings.near_duplicate_similarity,
    )
    result = make_split(readable, copies, settings, seed=context.seed)
    result = replace(result, left_out=(*_unreadable(context.input("fingerprints"), pictures), *result.left_out))
    _log(context.log, result, readable)
    result = replace(result, left_out=(*_not_used(data), *result.left_out))
    write_split_tables(context.output("split"), result, readable, dataset=context.input("dataset"))
    for warning in data.warnings():
        context.log.warning("%s", warning)


def _not_used(data: PictureSet) -> list[LeftOut]:
    reasons = (
        ("a link to nothing or to its own folder", data.files.broken),
        ("an image outside of the class folders", data.unlabelled),
        ("not an image", data.files.others),
    )
    return [LeftOut(name=name, reason=reason) for reason, names in reasons for name in names]


def _unreadable(folder: Path, pictures: Sequence[Picture]) -> list[LeftOut]:
    reasons: dict[str, str] = {}
    for path in sorted(folder.glob("*.unreadable.json")):
        reasons |= json.loads(path.read_text(encoding="utf-8"))
    named = [(pictures[int(number)].name, reason) for number, reason in reasons.items()]
    return [LeftOut(name=name, reason=reason.removeprefix(f"{name} ")) for name, reason in named]


def _log(log: logging.Logger, result: Split, pictures: Sequence[Picture]) -> None:
    log.info("pictures: %s", dict(Counter(sample.part for sample in result.samples)))
    exact = sum(pair.is_exact for pair in result.copies)
    log.info("%d exact copies, %d pairs of near copies", exact, len(result.copies) - exact)
    if result.conflicts:
        shown = [
            f"{pictures[pair.first].name} ({pictures[pair.first].label}) and {pictures[pair.second].name} "
            f"({pictures[pair.second].label})"
            for pair in result.conflicts
        ]
        log.warning("%d pair(s) of copies have different labels: %s", len(shown), listed(shown, separator="; "))
    if result.left_out:
        shown = [f"{item.name}: {item.reason}" for item in result.left_out]
        log.warning("%d picture(s) were left out: %s", len(shown), listed(shown, separator="; "))
