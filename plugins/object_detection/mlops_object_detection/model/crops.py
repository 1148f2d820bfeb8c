"""Training crops: cut from the pages at random, with copies of other objects pasted in, and with other tones.

Half of what a detector needs to learn is in the combinations: copy-paste (Ghiasi et al., Simple Copy-Paste, 2021) puts
each object on backgrounds where it does not occur. Objects come from the training pages only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mlops_object_detection.model.targets import IGNORED, Targets, make_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Floats = NDArray[np.float32]
    Generator = np.random.Generator

_VISIBLE = 0.75
_TRIES = 6
_GAP = 6.0
_MOST_INK = 0.06
_AROUND_AN_OBJECT = 0.85
_MOST_STRETCHED = 0.25
"""Logarithm of the largest change of the ratio of the sides; for photographs."""
_PASTED_SHARE = 0.12
"""Share of a crop that pasted objects may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A training page at the working scale.

    Attributes:
        pixels: (height, width, channels).
        boxes: (boxes, 4) in pixels.
        labels: (boxes,) number of the class, or `IGNORED` for a crowd.
    """

    pixels: Pixels
    boxes: Floats
    labels: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How crops are made.

    Attributes:
        side: of a crop.
        jitter: logarithm of the largest change of scale.
        copy_paste: probability that objects are pasted into a crop.
        is_line_art: the pages are drawings: objects are pasted onto empty paper, and lines below them stay visible.
        has_flips: half of the crops are mirrored.
        tones: strength of the changes of contrast, brightness and colour, 0 to 1.
        fill: tone per channel outside of a page.
    """

    side: int
    jitter: float
    copy_paste: float
    is_line_art: bool
    has_flips: bool
    tones: float
    fill: Pixels


class CropMaker:
    """Makes crops of training pages; equal generators give equal crops."""

    def __init__(self, pages: Sequence[Page], style: Style) -> None:
        """Prepare the choice of objects: each class is chosen by the inverse of the root of its number of boxes."""
        self._pages = pages
        self._style = style
        places = [
            (number, index)
            for number, page in enumerate(pages)
            for index in range(len(page.boxes))
            if page.labels[index] != IGNORED
        ]
        labels = np.array([pages[number].labels[index] for number, index in places])
        counts = np.bincount(labels)
        weights = 1.0 / np.sqrt(counts[labels])
        self._places = places
        self._weights = weights / weights.sum()
        areas = [np.prod(pages[number].boxes[index, 2:] - pages[number].boxes[index, :2]) for number, index in places]
        self._typical = max(float(np.median(areas)), 1.0)

    def make(self, generator: Generator) -> tuple[Floats, Targets]:
        """Return a crop, (side, side, channels), 0 to 255, and its targets."""
        style = self._style
        factor = float(np.exp(generator.uniform(-style.jitter, style.jitter)))
        stretch = 0.0 if style.is_line_art else float(generator.uniform(-_MOST_STRETCHED, _MOST_STRETCHED))
        reach = (
            max(8, round(style.side / factor * np.exp(stretch / 2))),
            max(8, round(style.side / factor * np.exp(-stretch / 2))),
        )
        page, left, top = self._place(generator, reach)
        pixels, boxes, labels = _cut(page, left, top, reach, style.fill)
        if generator.random() < style.copy_paste:
            boxes, labels = self._paste(generator, pixels, boxes, labels)
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        resized = image.resize((style.side, style.side), Image.Resampling.BILINEAR)
        crop = np.asarray(resized, np.float32).reshape(style.side, style.side, -1)
        boxes = boxes * np.array([style.side / reach[0], style.side / reach[1]] * 2, np.float32)
        if style.has_flips and generator.random() < 0.5:
            crop = crop[:, ::-1]
            boxes = boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32)
            boxes = boxes + np.array([style.side, 0, style.side, 0], np.float32)
        boxes, labels = _visible(boxes, labels, style.side)
        return _toned(crop, style, generator), make_targets(boxes, labels, side=style.side)

    def _object(self, generator: Generator) -> tuple[Page, int]:
        number, index = self._places[int(generator.choice(len(self._places), p=self._weights))]
        return self._pages[number], index

    def _place(self, generator: Generator, reach: tuple[int, int]) -> tuple[Page, int, int]:
        """Return a page, and left and top of a region: mostly around an object, else anywhere."""
        if generator.random() < _AROUND_AN_OBJECT:
            page, index = self._object(generator)
            box = page.boxes[index]
            size = np.array(reach, np.float64)
            spread = np.maximum(size - (box[2:] - box[:2]), size * 0.2)
            x, y = (box[:2] + box[2:]) / 2 + generator.uniform(-0.5, 0.5, 2) * spread
        else:
            page = self._pages[int(generator.integers(len(self._pages)))]
            y, x = generator.random(2) * page.pixels.shape[:2]
        height, width = page.pixels.shape[:2]
        return page, _start(x - reach[0] / 2, width, reach[0]), _start(y - reach[1] / 2, height, reach[1])

    def _paste(
        self, generator: Generator, pixels: Pixels, boxes: Floats, labels: NDArray[np.int32]
    ) -> tuple[Floats, NDArray[np.int32]]:
        """Paste objects of other places into a region; return its boxes and labels with theirs."""
        rows, columns = pixels.shape[:2]
        most = int(np.clip(_PASTED_SHARE * rows * columns / self._typical, 1, 10))
        for _ in range(int(generator.integers(max(1, most // 3), most + 1))):
            page, index = self._object(generator)
            patch, mask = _patch(page, index, self._style)
            height, width = patch.shape[:2]
            if height >= rows or width >= columns:
                continue
            for _ in range(_TRIES):
                left, top = int(generator.integers(columns - width)), int(generator.integers(rows - height))
                target = pixels[top : top + height, left : left + width]
                if self._is_free(target, boxes, left, top, width, height):
                    _blend(target, patch, mask, self._style, generator)
                    box = np.array([[left, top, left + width, top + height]], np.float32)
                    boxes = np.concatenate([boxes, box])
                    labels = np.append(labels, page.labels[index]).astype(np.int32)
                    break
        return boxes, labels

    def _is_free(self, target: Pixels, boxes: Floats, left: int, top: int, width: int, height: int) -> bool:
        if len(boxes):
            apart_x = (boxes[:, 0] > left + width + _GAP) | (boxes[:, 2] < left - _GAP)
            apart_y = (boxes[:, 1] > top + height + _GAP) | (boxes[:, 3] < top - _GAP)
            if not (apart_x | apart_y).all():
                return False
        if not self._style.is_line_art:
            return True
        distance = np.abs(target.astype(np.int16) - self._style.fill.astype(np.int16)).max(axis=2)
        return bool((distance > 64).mean() < _MOST_INK)


def _start(wanted: float, length: int, reach: int) -> int:
    """Return the start of a region of a page; a smaller page lies anywhere within the region."""
    low, high = sorted((0, length - reach))
    return int(np.clip(round(wanted), low, high))


def _cut(
    page: Page, left: int, top: int, reach: tuple[int, int], fill: Pixels
) -> tuple[Pixels, Floats, NDArray[np.int32]]:
    """Return a region of a page, `reach` wide and high, with its boxes; what is outside of the page is filled."""
    height, width, channels = page.pixels.shape
    pixels = np.empty((reach[1], reach[0], channels), np.uint8)
    pixels[:] = fill
    x0, y0 = max(left, 0), max(top, 0)
    part = page.pixels[y0 : min(top + reach[1], height), x0 : min(left + reach[0], width)]
    pixels[y0 - top : y0 - top + part.shape[0], x0 - left : x0 - left + part.shape[1]] = part
    boxes = page.boxes - np.array([left, top, left, top], np.float32)
    is_inside = (boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < reach).all(axis=1)
    return pixels, boxes[is_inside], page.labels[is_inside]


def _visible(boxes: Floats, labels: NDArray[np.int32], side: int) -> tuple[Floats, NDArray[np.int32]]:
    """Return the boxes; of those that the crop cuts off, the visible part, as ignored."""
    inner = np.clip(boxes, 0, side)
    areas = [np.clip(one[:, 2:] - one[:, :2], 0, None).prod(axis=1) for one in (inner, boxes)]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    is_whole = (areas[0] >= _VISIBLE * areas[1]) & ((centres > 0) & (centres < side)).all(axis=1)
    kept = areas[0] > 0
    shown = np.where(is_whole[:, None], boxes, inner)
    return shown[kept].astype(np.float32), np.where(is_whole, labels, IGNORED)[kept].astype(np.int32)


def _patch(page: Page, index: int, style: Style) -> tuple[Pixels, Floats]:
    """Return an object's pixels, and how far they cover what is below: 1 inside, less at the edges of a photograph."""
    left, top, right, bottom = (round(float(value)) for value in page.boxes[index])
    height, width = page.pixels.shape[:2]
    left, top = max(left, 0), max(top, 0)
    patch = page.pixels[top : max(top + 1, min(bottom, height)), left : max(left + 1, min(right, width))]
    shape = patch.shape[:2]
    if style.is_line_art:
        return patch, np.ones((*shape, 1), np.float32)
    ramps = [np.clip((0.5 - np.abs((np.arange(n) + 0.5) / n - 0.5)) * 8, 0, 1) for n in shape]
    return patch, (ramps[0][:, None] * ramps[1][None, :])[..., None].astype(np.float32)


def _blend(target: Pixels, patch: Pixels, mask: Floats, style: Style, generator: Generator) -> None:
    """Put a patch onto a region of equal size; on drawings, half of the time the lines below stay visible."""
    if not style.is_line_art:
        target[:] = np.rint(patch * mask + target * (1 - mask)).astype(np.uint8)
    elif generator.random() < 0.5:
        is_darker = style.fill.mean() > 127
        target[:] = np.minimum(target, patch) if is_darker else np.maximum(target, patch)
    else:
        target[:] = patch


def _toned(crop: Floats, style: Style, generator: Generator) -> Floats:
    """Return a crop with other contrast, brightness, colours and noise."""
    if not style.tones:
        return np.ascontiguousarray(crop)
    gains = np.full(crop.shape[2], 1 + style.tones * generator.uniform(-0.3, 0.3))
    shift = style.tones * generator.uniform(-30, 30)
    if crop.shape[2] == 3 and not style.is_line_art:
        gains = gains * (1 + style.tones * generator.uniform(-0.15, 0.15, 3))
        grey = crop.mean(axis=2, keepdims=True)
        crop = grey + (crop - grey) * np.float32(1 + style.tones * generator.uniform(-0.4, 0.4))
    noise = generator.standard_normal(crop.shape, np.float32) * np.float32(style.tones * generator.uniform(0, 6))
    mean = crop.mean()
    toned = (crop - mean) * gains.astype(np.float32) + mean + np.float32(shift) + noise
    return np.asarray(np.clip(toned, 0, 255), np.float32)
