"""The outputs of the step ``split``: the manifest, and a folder with annotations and MLTable per part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core import DatasetError, read_split
from mlops_object_detection.data.pages import read_pages

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core import SplitRow
    from mlops_object_detection.data.pages import Page

OUTPUT_OF_PART = {"train": "train", "validation": "val", "test": "test"}
"""Part -> output of the step; the names of the outputs are those of the data assets."""


def read_part(manifest: Path, annotations: Path, part: str, *, prefix: str | None) -> list[tuple[SplitRow, Page]]:
    """Return the rows of a part with their pages, in the order of the manifest.

    Raises:
        DatasetError: a page of the part has no annotation.
    """
    rows = list(read_split(manifest, part))
    pages = {page.name: page for page in read_pages(annotations, prefix=prefix)} if rows else {}
    for row in rows:
        if row.sample not in pages:
            raise DatasetError(
                f"{annotations}: no line for '{row.sample}'; expected one per image of the part '{part}'"
            )
    return [(row, pages[row.sample]) for row in rows]
