"""Divide the pictures into training, validation and test part, by group and balanced over the classes."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from mlops_core import SplitRow, file_digest, write_split
from mlops_object_detection.config import DatasetSection, SplitSection
from mlops_object_detection.data.pages import read_pages, write_annotations
from mlops_object_detection.data.split_files import OUTPUT_OF_PART
from mlops_object_detection.data.splitting import divide, listed_parts

if TYPE_CHECKING:
    from mlops_core import StepContext

UNMEASURED_FILE = "not_measured.json"


def split(context: StepContext) -> None:
    """Write the manifest, and annotations and MLTable of each part.

    Raises:
        DatasetError: the mandatory lists contradict each other or match nothing, or a part would be empty.
    """
    source = context.section("dataset", DatasetSection)
    prefix = source.input_images_string_absolute_path
    pages = read_pages(context.input("annotations"), prefix=prefix)
    digests = {page.name: file_digest(context.input("dataset") / page.name) for page in pages}
    division = divide(
        pages,
        context.section("split", SplitSection),
        digests=digests,
        group_pattern=source.group_pattern,
        seed=context.seed,
        listed=listed_parts(context.input("dataset"), pages),
    )
    rows = (
        SplitRow(
            sample=page.name,
            group=division.groups[page.name],
            label=str(len(page.objects)),
            part=division.parts[page.name],
            digest=digests[page.name],
        )
        for page in pages
    )
    write_split(context.output("split"), rows)
    for part, output in OUTPUT_OF_PART.items():
        chosen = [page for page in pages if division.parts[page.name] == part]
        write_annotations(context.output(output), chosen, prefix=prefix)
        counts = Counter(box.label for page in chosen for box in page.objects)
        context.log.info("%s: %d images, %d objects of %d classes", part, len(chosen), counts.total(), len(counts))
    text = json.dumps(division.unmeasured, indent=1, ensure_ascii=False) + "\n"
    (context.output("split") / UNMEASURED_FILE).write_text(text, encoding="utf-8")
    for label, reason in division.unmeasured.items():
        context.log.warning("the average precision of '%s' is not measured: %s", label, reason)
