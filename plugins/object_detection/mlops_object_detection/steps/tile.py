"""Bring the training pictures to the working scale, and plan tiles, crops and strides from their boxes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import DatasetError
from mlops_object_detection.config import DatasetSection, Tiling
from mlops_object_detection.data.images import has_colour, is_line_art, read_image, scaled_pixels
from mlops_object_detection.data.split_files import read_part
from mlops_object_detection.data.splitting import TRAIN
from mlops_object_detection.model.plan import PageBoxes, Plan, make_plan
from mlops_object_detection.model.tiles import starts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_core import StepContext
    from mlops_object_detection.data.pages import Page

PLAN_FILE = "plan.json"
PAGES_FILE = "pages.json"
_TONES = 256
_SAMPLED = 4
"""Every so many pixels are used for the tones of the pictures."""


def tile(context: StepContext) -> None:
    """Write the plan, the tones of the training pictures, and each of them at the working scale.

    Raises:
        DatasetError: the training part has no box, or a box does not fit into a tile of the requested grid.
    """
    prefix = context.section("dataset", DatasetSection).input_images_string_absolute_path
    part = read_part(context.input("split"), context.input("train"), TRAIN, prefix=prefix)
    pages = [page for _, page in part]
    plan = _plan(pages, context.section("tiling", Tiling))
    context.log.info("plan: %s", json.dumps(plan.to_json()))
    folder = context.output("tiles")
    dataset = context.input("dataset")
    paths = [dataset / page.name for page in pages]
    looks = [_look(path) for path in paths]
    channels = 3 if any(is_coloured for is_coloured, _ in looks) else 1
    is_drawing = sum(is_art for _, is_art in looks) * 2 > len(looks)
    counts, entries = np.zeros((channels, _TONES), np.int64), []
    for number, (page, path) in enumerate(zip(pages, paths, strict=True)):
        pixels = _scaled(path, plan, channels=channels)
        np.save(folder / f"{number:06d}.npy", pixels, allow_pickle=False)
        for channel, tones in enumerate(np.moveaxis(pixels[::_SAMPLED, ::_SAMPLED], 2, 0)):
            counts[channel] += np.bincount(tones.ravel(), minlength=_TONES)
        entries.append(_entry(page, f"{number:06d}.npy"))
        context.progress("image", number + 1, len(pages))
    facts = {
        "plan": plan.to_json(),
        "channels": channels,
        "is_line_art": is_drawing,
        "fill": [_median(tones) for tones in counts],
        "mean": [_mean(tones) for tones in counts],
        "deviation": [max(1.0, _deviation(tones)) for tones in counts],
    }
    (folder / PLAN_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (folder / PAGES_FILE).write_text(json.dumps(entries, ensure_ascii=False) + "\n", encoding="utf-8")


def _look(path: Path) -> tuple[bool, bool]:
    """Return whether a picture has colour, and whether it is line art; one picture at a time is in memory."""
    image = read_image(path)
    return has_colour(image), is_line_art(image)


def _scaled(path: Path, plan: Plan, *, channels: int) -> NDArray[np.uint8]:
    image = read_image(path)
    return scaled_pixels(image, plan.size(*image.size), channels=channels)


def _median(counts: NDArray[np.int64]) -> int:
    """Return the median tone, rounded down, from the number of pixels of each tone."""
    reached = np.cumsum(counts)
    total = int(reached[-1])
    return int(np.searchsorted(reached, [(total - 1) // 2, total // 2], side="right").sum()) // 2


def _mean(counts: NDArray[np.int64]) -> float:
    return float(sum(tone * count for tone, count in enumerate(counts.tolist())) / int(counts.sum()))


def _deviation(counts: NDArray[np.int64]) -> float:
    """Return the standard deviation of the tones; sums are of whole numbers, and so exact in any order."""
    total = int(counts.sum())
    first = sum(tone * count for tone, count in enumerate(counts.tolist()))
    second = sum(tone * tone * count for tone, count in enumerate(counts.tolist()))
    return math.sqrt(Fraction(total * second - first * first, total * total))


def _entry(page: Page, file: str) -> dict[str, object]:
    boxes = [[box.label, *box.corners, int(box.is_crowd)] for box in page.boxes]
    return {"name": page.name, "file": file, "boxes": boxes}


def _plan(pages: Sequence[Page], settings: Tiling) -> Plan:
    sized = [
        PageBoxes(
            width=page.width,
            height=page.height,
            boxes=np.array([box.corners for box in page.objects], np.float64).reshape(-1, 4)
            * np.array([page.width, page.height] * 2),
        )
        for page in pages
    ]
    labels = [[box.label for box in page.objects] for page in pages]
    plan = make_plan(sized, tile=settings.image_size, overlap_share=settings.tile_overlap_ratio, labels=labels)
    return plan if settings.grid is None else _with_grid(plan, sized, settings.grid)


def _with_grid(plan: Plan, pages: Sequence[PageBoxes], grid: tuple[int, int]) -> Plan:
    """Return the plan with tiles of such a side that the widest training picture has this grid of them."""
    sizes = [plan.size(page.width, page.height) for page in pages]
    spans = [max(size[axis] for size in sizes) for axis in (0, 1)]
    needed = max((span + (count - 1) * plan.overlap) / count for span, count in zip(spans, grid, strict=True))
    side = math.ceil(needed / 32) * 32
    found = [len(starts(span, tile=side, overlap=plan.overlap)) for span in spans]
    if all(count < wanted for count, wanted in zip(found, grid, strict=True)):
        raise DatasetError(
            f"tiling.tile_grid_size {grid[0]}x{grid[1]}: tiles overlap by {plan.overlap} of {side} pixels, as the "
            f"largest training box needs, so that there are {found[0]}x{found[1]}; expected at most so many"
        )
    return replace(plan, tile=side)
