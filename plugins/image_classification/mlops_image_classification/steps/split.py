"""Find copies and conflicts, and assign each picture to training, validation or test."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_image_classification.config import DatasetSection, SplitSection
from mlops_image_classification.data.fingerprints import find_copies, read_fingerprints
from mlops_image_classification.data.pictures import listed, read_pictures
from mlops_image_classification.data.splitting import LeftOut, make_split, write_split_tables

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence
    from pathlib import Path

    from mlops_core import StepContext
    from mlops_image_classification.data.pictures import Picture
    from mlops_image_classification.data.splitting import Split


def split(context: StepContext) -> None:
    """Write the split and, beside it, the copies, the conflicting labels and what was left out."""
    settings = context.section("split", SplitSection)
    pictures = read_pictures(context.input("dataset"), context.section("dataset", DatasetSection), context.log)
    fingerprints = read_fingerprints(context.input("fingerprints"))
    readable = [pictures[number] for number in fingerprints.numbers]
    copies = find_copies(
        fingerprints, max_bits=settings.near_duplicate_bits, min_similarity=settings.near_duplicate_similarity
    )
    found = make_split(readable, copies, settings, seed=context.seed)
    found = replace(found, left_out=(*_unreadable(context.input("fingerprints"), pictures), *found.left_out))
    write_split_tables(context.output("split"), found, readable)
    _tell(context.log, found, readable)


def _unreadable(folder: Path, pictures: Sequence[Picture]) -> list[LeftOut]:
    reasons: dict[str, str] = {}
    for path in sorted(folder.glob("*.unreadable.json")):
        reasons |= json.loads(path.read_text(encoding="utf-8"))
    named = [(pictures[int(number)].name, reason) for number, reason in reasons.items()]
    return [LeftOut(name=name, reason=reason.removeprefix(f"{name} ")) for name, reason in named]


def _tell(log: logging.Logger, found: Split, pictures: Sequence[Picture]) -> None:
    log.info("pictures: %s", dict(Counter(sample.part for sample in found.samples)))
    exact = sum(pair.is_exact for pair in found.copies)
    log.info("%d exact copies, %d pairs of near copies", exact, len(found.copies) - exact)
    if found.conflicts:
        shown = [
            f"{pictures[pair.first].name} ({pictures[pair.first].label}) and {pictures[pair.second].name} "
            f"({pictures[pair.second].label})"
            for pair in found.conflicts
        ]
        log.warning("%d pairs of copies have different labels: %s", len(shown), listed(shown, separator="; "))
    if found.left_out:
        shown = [f"{item.name}: {item.reason}" for item in found.left_out]
        log.warning("%d pictures were left out: %s", len(shown), listed(shown, separator="; "))
