"""Divide the pictures into training, validation and test part, by group and balanced over the classes."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from mlops_core import DatasetError, SplitRow, earlier_part, file_digest, write_split
from mlops_object_detection.config import DatasetSection, SplitSection
from mlops_object_detection.data.earlier import read_earlier
from mlops_object_detection.data.image_names import listed as listed_names
from mlops_object_detection.data.pages import read_pages, write_annotations
from mlops_object_detection.data.split_files import OUTPUT_OF_PART
from mlops_object_detection.data.splitting import divide, divide_as_earlier, listed_parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core import StepContext
    from mlops_object_detection.data.pages import Page
    from mlops_object_detection.data.splitting import Division

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
    division = _division(context, pages, digests)
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


def _division(context: StepContext, pages: Sequence[Page], digests: Mapping[str, str]) -> Division:
    dataset, settings = context.input("dataset"), context.section("split", SplitSection)
    pattern = context.section("dataset", DatasetSection).group_pattern
    if settings.earlier_split is None:
        listed = listed_parts(dataset, pages)
        return divide(pages, settings, digests=digests, group_pattern=pattern, seed=context.seed, listed=listed)
    if earlier_part(dataset, "train") is None:
        raise DatasetError(
            f"split.train_dataset is '{settings.train_dataset}', and the folder of the data set, {dataset}, has no "
            "earlier split; expected a run, which joins its data assets to the data set"
        )
    earlier = read_earlier(dataset, pages)
    if earlier.changed:
        context.log.warning(
            "the boxes of %d images are not those of the earlier split, and are used as they are now: %s",
            len(earlier.changed),
            listed_names(earlier.changed),
        )
    return divide_as_earlier(pages, earlier, settings, digests=digests, group_pattern=pattern, seed=context.seed)
