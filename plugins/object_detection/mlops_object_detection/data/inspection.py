"""What a data set contains: pictures, boxes and classes, sizes of boxes, and what is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import (
    DatasetError,
    DatasetFinding,
    Distribution,
    FactTable,
    Inspection,
    Severity,
    file_digest,
    findings_of_listing,
    list_data_files,
)
from mlops_object_detection.data.raw import read_raw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlops_object_detection.config import DetectionConfig
    from mlops_object_detection.data.pages import Page

_BINS = 12


def inspect_dataset(folder: Path, config: DetectionConfig) -> Inspection:
    """Return facts, tables and findings; labels that are not valid are a finding."""
    listing = findings_of_listing(list_data_files(folder))
    settings = config.dataset
    try:
        raw = read_raw(folder, layout=settings.layout, label_config_map=settings.label_config_map, parts=settings.parts)
    except DatasetError as error:
        fault = DatasetFinding(level=Severity.ERROR, check="labels", message=str(error))
        return Inspection(findings=(fault, *listing))
    boxes = [box for page in raw.pages for box in page.boxes]
    most = max(len(page.boxes) for page in raw.pages)
    return Inspection(
        facts=(
            ("layout", raw.layout),
            ("images", str(len(raw.pages))),
            ("images without objects", str(sum(not page.boxes for page in raw.pages))),
            ("boxes", str(len(boxes))),
            ("crowds", str(sum(box.is_crowd for box in boxes))),
            ("classes", str(len({box.label for box in boxes}))),
            ("most boxes on an image", str(most)),
        ),
        tables=(_classes(raw.pages),),
        distributions=(_sides(raw.pages),),
        findings=(*_findings(folder, raw.pages, raw.notes), *listing),
    )


def _classes(pages: Sequence[Page]) -> FactTable:
    boxes: Counter[str] = Counter(box.label for page in pages for box in page.objects)
    images = Counter(label for page in pages for label in {box.label for box in page.objects})
    rows = tuple((label, count, images[label]) for label, count in sorted(boxes.items()))
    return FactTable(title="objects per class", columns=("class", "objects", "images"), rows=rows)


def _sides(pages: Sequence[Page]) -> Distribution:
    values = tuple(
        ((box.right - box.left) * page.width * (box.bottom - box.top) * page.height) ** 0.5
        for page in pages
        for box in page.objects
    )
    counts, edges = np.histogram(values, bins=_BINS)
    return Distribution(
        name="size",
        title="size of objects (root of the area)",
        unit="pixels",
        edges=tuple(map(float, edges)),
        counts=tuple(map(int, counts)),
    )


def _findings(folder: Path, pages: Sequence[Page], notes: Sequence[str]) -> list[DatasetFinding]:
    findings = [DatasetFinding(level=Severity.NOTE, check="labels", message=note) for note in notes]
    images = Counter(label for page in pages for label in {box.label for box in page.objects})
    rare = tuple(sorted(label for label, count in images.items() if count == 1))
    if rare:
        text = "classes occur on one image only: their average precision cannot be measured"
        findings.append(
            DatasetFinding(level=Severity.WARNING, check="rare classes", message=f"{len(rare)} {text}", samples=rare)
        )
    copies: defaultdict[str, list[str]] = defaultdict(list)
    for page in pages:
        copies[file_digest(folder / page.name)].append(page.name)
    equal = tuple(" = ".join(names) for names in copies.values() if len(names) > 1)
    if equal:
        findings.append(
            DatasetFinding(
                level=Severity.WARNING,
                check="copies",
                message=f"{len(equal)} images have copies, which the split keeps in one part",
                samples=equal,
            )
        )
    return findings
