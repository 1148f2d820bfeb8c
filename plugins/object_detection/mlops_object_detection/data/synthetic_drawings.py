"""SYMBOL_DETECTION_Dataset: piping drawings drawn by code, with eight symbols on pipes, beside tags and notes.

They are generated, not real drawings: the glyphs are few and equal on all sheets. The same seed gives the same bytes.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image, ImageDraw, ImageFont

from mlops_object_detection.data.labels import LABEL_MAP_FILE
from mlops_object_detection.data.pages import Box, Page, write_annotations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress = Callable[[str, int, int], None]

SHEETS = 20
SIZE = (480, 360)
_SYMBOLS_PER_SHEET = 15
_PAPER, _INK = 250, 15
_MARGIN, _GAP = 14, 8
_TRIES = 60

Pen: TypeAlias = ImageDraw.ImageDraw
Frame: TypeAlias = tuple[int, int, int, int]


def _gate_valve(pen: Pen, frame: Frame) -> None:
    left, top, right, bottom = frame
    pen.polygon([(left, top), (right, bottom), (right, top), (left, bottom)], outline=_INK, fill=_PAPER, width=2)


def _closed_valve(pen: Pen, frame: Frame) -> None:
    left, top, right, bottom = frame
    pen.polygon([(left, top), (right, bottom), (right, top), (left, bottom)], outline=_INK, fill=_INK)


def _pump(pen: Pen, frame: Frame) -> None:
    left, top, right, bottom = frame
    middle = (top + bottom) // 2
    pen.ellipse(frame, outline=_INK, fill=_PAPER, width=2)
    pen.polygon([(left + 6, top + 5), (left + 6, bottom - 5), (right - 2, middle)], outline=_INK, width=2)


def _instrument(pen: Pen, frame: Frame) -> None:
    left, top, right, bottom = frame
    pen.ellipse(frame, outline=_INK, fill=_PAPER, width=2)
    pen.line([(left, (top + bottom) // 2), (right, (top + bottom) // 2)], fill=_INK, width=2)


def _tank(pen: Pen, frame: Frame) -> None:
    pen.rounded_rectangle(frame, radius=12, outline=_INK, fill=_PAPER, width=2)


def _exchanger(pen: Pen, frame: Frame) -> None:
    left, top, right, bottom = frame
    pen.rectangle(frame, outline=_INK, fill=_PAPER, width=2)
    middle, step = (top + bottom) // 2, (right - left) // 4
    points = [(left + step * index, middle + (-7 if index % 2 else 7)) for index in range(5)]
    pen.line(points, fill=_INK, width=2)


def _reducer(pen: Pen, frame: Frame) -> None:
    left, top, right, bottom = frame
    pen.polygon(
        [(left, top), (right, top + 5), (right, bottom - 5), (left, bottom)], outline=_INK, fill=_PAPER, width=2
    )


def _flange(pen: Pen, frame: Frame) -> None:
    left, top, right, bottom = frame
    pen.rectangle((left, top, left + 3, bottom), fill=_INK)
    pen.rectangle((right - 3, top, right, bottom), fill=_INK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyph:
    """A symbol: how it is drawn, and its size in pixels."""

    draw: Callable[[Pen, Frame], None]
    width: int
    height: int


GLYPHS = {
    "Equipment/Exchanger/Heat exchanger": Glyph(draw=_exchanger, width=48, height=30),
    "Equipment/Pump/Centrifugal pump": Glyph(draw=_pump, width=32, height=32),
    "Equipment/Vessel/Tank": Glyph(draw=_tank, width=36, height=56),
    "Instrument/Indicator/Field instrument": Glyph(draw=_instrument, width=26, height=26),
    "Piping/Fittings/Flange": Glyph(draw=_flange, width=16, height=22),
    "Piping/Fittings/Reducer": Glyph(draw=_reducer, width=24, height=20),
    "Valve/Manual/Closed valve": Glyph(draw=_closed_valve, width=30, height=18),
    "Valve/Manual/Gate valve": Glyph(draw=_gate_valve, width=30, height=18),
}


def generate(folder: Path, *, seed: int, progress: Progress) -> None:
    """Write ``images/<n>.png``, ``labels/annotations.jsonl`` and ``label_config_map.json``; one sheet is empty."""
    (folder / "images").mkdir()
    pages = []
    for number in range(SHEETS):
        image, page = _sheet(random.Random(f"{seed}/{number}"), number)  # noqa: S311  a drawing, not a secret
        image.save(folder / page.name, "PNG")
        pages.append(page)
        progress("drawings", number + 1, SHEETS)
    (folder / "labels").mkdir()
    write_annotations(folder / "labels", pages, prefix=None)
    (folder / "labels" / "MLTable").unlink()
    names = {str(number): name for number, name in enumerate(sorted(GLYPHS), 1)}
    (folder / LABEL_MAP_FILE).write_text(json.dumps(names, indent=2) + "\n", encoding="utf-8")


def _sheet(choice: random.Random, number: int) -> tuple[Image.Image, Page]:
    width, height = SIZE
    image = Image.new("L", SIZE, _PAPER)
    pen = ImageDraw.Draw(image)
    rows = sorted(choice.sample(range(50, height - 50, 30), 4))
    for row in rows:
        pen.line([(10, row), (width - 10, row)], fill=_INK, width=2)
    for column in choice.sample(range(40, width - 40, 35), 3):
        pen.line([(column, min(rows)), (column, max(rows))], fill=_INK, width=2)
    count = 0 if number == SHEETS - 1 else _SYMBOLS_PER_SHEET
    frames: list[Frame] = []
    boxes = []
    names = sorted(GLYPHS)
    for index in range(count):
        name = names[(index + number) % len(names)]
        frame = _free_frame(choice, GLYPHS[name], rows, frames)
        if frame is None:
            continue
        GLYPHS[name].draw(pen, frame)
        frames.append(frame)
        boxes.append(_box(name, frame))
    _write_notes(pen, choice, frames)
    return image, Page(name=f"images/{number}.png", width=width, height=height, boxes=tuple(boxes))


def _free_frame(choice: random.Random, glyph: Glyph, rows: list[int], taken: list[Frame]) -> Frame | None:
    """Return where a symbol fits: mostly on a pipe, apart from the others; None if there is no place."""
    for _ in range(_TRIES):
        left = choice.randrange(_MARGIN, SIZE[0] - glyph.width - _MARGIN)
        centre = choice.choice(rows) if choice.random() < 0.8 else choice.randrange(40, SIZE[1] - 40)
        top = min(max(centre - glyph.height // 2, _MARGIN), SIZE[1] - glyph.height - _MARGIN)
        frame = (left, top, left + glyph.width - 1, top + glyph.height - 1)
        if all(_are_apart(frame, other) for other in taken):
            return frame
    return None


def _are_apart(one: Frame, other: Frame) -> bool:
    return one[0] > other[2] + _GAP or one[2] < other[0] - _GAP or one[1] > other[3] + _GAP or one[3] < other[1] - _GAP


def _box(name: str, frame: Frame) -> Box:
    width, height = SIZE
    return Box(
        label=name,
        left=frame[0] / width,
        top=frame[1] / height,
        right=(frame[2] + 1) / width,
        bottom=(frame[3] + 1) / height,
    )


def _write_notes(pen: Pen, choice: random.Random, frames: list[Frame]) -> None:
    """Write tags beside some symbols, and a circle and a square that are none."""
    font = ImageFont.load_default(size=10)
    for left, _, _, bottom in frames:
        if choice.random() < 0.6:
            tag = f"{choice.choice('PTVFX')}-{choice.randrange(100, 999)}"
            pen.text((left, bottom + 2), tag, fill=_INK, font=font)
    x, y = choice.randrange(20, SIZE[0] - 60), 12
    pen.text((x, y), f"NOTE {math.floor(choice.random() * 90) + 10}", fill=_INK, font=font)
