"""SYMBOL_DETECTION_Photographs: pictures like photographs, made by code: balls, crates and bottles before textures.

They are generated, not photographs. Light, colour, size, focus and background vary; objects may cover each other. The
same seed gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mlops_object_detection.data.pages import Box, Page, write_annotations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Progress = Callable[[str, int, int], None]
    Floats = NDArray[np.float32]

PICTURES = 80
CLASSES = ("ball", "bottle", "crate")
_SMALLEST, _LARGEST = 0.1, 0.4
"""Height of an object as a share of the picture's."""
_MOST_COVERED = 0.25
_COLOURS = {"ball": (0.75, 0.3, 0.2), "bottle": (0.2, 0.5, 0.3), "crate": (0.6, 0.45, 0.25)}


def generate(folder: Path, *, seed: int, progress: Progress) -> None:
    """Write ``images/<n>.jpg`` and ``labels/annotations.jsonl`` of 80 pictures, 300 to 480 pixels wide."""
    (folder / "images").mkdir()
    pages = []
    for number in range(PICTURES):
        image, page = _picture(np.random.default_rng([seed, number]), number)
        image.save(folder / page.name, "JPEG", quality=88)
        pages.append(page)
        progress("pictures", number + 1, PICTURES)
    (folder / "labels").mkdir()
    write_annotations(folder / "labels", pages, prefix=None)
    (folder / "labels" / "MLTable").unlink()


def _picture(generator: np.random.Generator, number: int) -> tuple[Image.Image, Page]:
    width, height = int(generator.integers(300, 481)), int(generator.integers(260, 381))
    pixels = _background(generator, width, height)
    frames: list[tuple[int, int, int, int]] = []
    boxes = []
    for _ in range(0 if number % 20 == 19 else int(generator.integers(1, 6))):
        name = CLASSES[int(generator.integers(len(CLASSES)))]
        size = float(np.exp(generator.uniform(np.log(_SMALLEST), np.log(_LARGEST)))) * height
        colour, mask = _object(generator, name, round(size))
        rows, columns = mask.shape
        left, top = int(generator.integers(0, width - columns)), int(generator.integers(0, height - rows))
        frame = (left, top, left + columns, top + rows)
        if any(_covered(frame, other) > _MOST_COVERED for other in frames):
            continue
        region = pixels[top : top + rows, left : left + columns]
        region[:] = region * (1 - mask[..., None]) + colour * mask[..., None]
        frames.append(frame)
        boxes.append(
            Box(label=name, left=left / width, top=top / height, right=frame[2] / width, bottom=frame[3] / height)
        )
    noise = generator.normal(0, generator.uniform(2, 8), pixels.shape)
    lit = np.clip(pixels * generator.uniform(0.7, 1.15) + noise, 0, 255)
    image = Image.fromarray(lit.astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.3, 1.0))))
    return image, Page(name=f"images/{number:03d}.jpg", width=width, height=height, boxes=tuple(boxes))


def _covered(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Return the largest share of one of the two boxes that the other covers."""
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / min(areas)


def _background(generator: np.random.Generator, width: int, height: int) -> Floats:
    """Return smooth noise of several sizes between two colours."""
    shade = np.zeros((height, width), np.float32)
    for cells in (3, 8, 24):
        noise = generator.random((cells, cells)).astype(np.float32)
        layer = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        shade += np.asarray(layer) / cells**0.5
    shade = (shade - shade.min()) / max(float(np.ptp(shade)), 1e-6)
    colours = generator.uniform(40, 215, (2, 3)).astype(np.float32)
    return np.asarray(shade[..., None] * colours[0] + (1 - shade[..., None]) * colours[1], np.float32)


def _object(generator: np.random.Generator, name: str, size: int) -> tuple[Floats, Floats]:
    """Return colours (rows, columns, 3) and mask (rows, columns) of an object; both end at its edges."""
    columns = max(8, round(size * {"ball": 1.0, "bottle": 0.4, "crate": 1.3}[name]))
    rows = max(8, size)
    scale = 4
    mask_image = Image.new("L", (columns * scale, rows * scale), 0)
    pen = ImageDraw.Draw(mask_image)
    w, h = columns * scale - 1, rows * scale - 1
    if name == "ball":
        pen.ellipse((0, 0, w, h), fill=255)
    elif name == "crate":
        pen.rectangle((0, 0, w, h), fill=255)
    else:
        pen.rounded_rectangle((0, h * 0.35, w, h), radius=w * 0.2, fill=255)
        pen.rectangle((w * 0.33, 0, w * 0.67, h * 0.4), fill=255)
    mask = np.asarray(mask_image.resize((columns, rows), Image.Resampling.BOX), np.float32) / np.float32(255)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) / np.array([[[rows]], [[columns]]], np.float32)
    light = _light(name, x, y)
    base = np.array(_COLOURS[name], np.float32) * 255 * generator.uniform(0.7, 1.3, 3).astype(np.float32)
    return np.asarray(np.clip(base * light[..., None], 0, 255), np.float32), mask


def _light(name: str, x: Floats, y: Floats) -> Floats:
    """Return the brightness over an object: round ones have a highlight, crates have boards."""
    if name == "crate":
        boards = 0.75 + 0.35 * (np.floor(y * 4) % 2)
        return np.where((np.abs(x - 0.5) > 0.42) | (np.abs(y - 0.5) > 0.44), 0.5, boards).astype(np.float32)
    if name == "bottle":
        return np.asarray(0.6 + 0.8 * np.exp(-(((x - 0.35) / 0.15) ** 2)), np.float32)
    distance = np.sqrt((x - 0.35) ** 2 + (y - 0.3) ** 2)
    return np.clip(1.5 - 1.4 * distance, 0.25, 1.6).astype(np.float32)
