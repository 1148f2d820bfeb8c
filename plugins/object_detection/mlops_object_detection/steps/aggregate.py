"""Read the labels of any layout, check them against the pictures, and write one annotation file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlops_core import write_left_out
from mlops_object_detection.config import DatasetSection
from mlops_object_detection.data.images import check_complete
from mlops_object_detection.data.pages import write_annotations
from mlops_object_detection.data.raw import read_raw

if TYPE_CHECKING:
    from mlops_core import StepContext

LABELS_FILE = "labels.json"
_FAST = 20


def aggregate(context: StepContext) -> None:
    """Write ``annotations.jsonl`` and ``MLTable``, the names of the classes, and the pictures that are not used.

    Raises:
        DatasetError: a label is not valid, or a picture is missing, damaged or of another size; the file is named.
    """
    settings = context.section("dataset", DatasetSection)
    raw = read_raw(
        context.input("dataset"),
        layout=settings.layout,
        label_config_map=settings.label_config_map,
        parts=settings.parts,
    )
    for note in raw.notes:
        context.log.warning("%s", note)
    pages = raw.pages[:_FAST] if settings.is_fast_training else raw.pages
    if len(pages) < len(raw.pages):
        context.log.warning("dataset.is_fast_training: %d of %d images are used", len(pages), len(raw.pages))
    for page in pages:
        check_complete(context.input("dataset") / page.name)
    folder = context.output("annotations")
    write_annotations(folder, pages, prefix=settings.input_images_string_absolute_path)
    names = sorted({box.label for page in pages for box in page.boxes})
    (folder / LABELS_FILE).write_text(json.dumps(names, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_left_out(folder, raw.left_out)
    context.log.info(
        "%s: %d images, %d of them without objects, %d boxes of %d classes",
        raw.layout,
        len(pages),
        sum(not page.boxes for page in pages),
        sum(len(page.boxes) for page in pages),
        len(names),
    )
