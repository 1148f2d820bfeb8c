"""SCENE_Dataset: landscapes drawn by code, with the six classes and the layout of the Intel scenes.

Light, season, horizon and haze of a picture vary more than the colours that distinguish two classes, so that the mean
colour is not enough. The same seed gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress = Callable[[str, int, int], None]

TRAIN_PICTURES, TEST_PICTURES = 36, 12
SIDE = 96
_QUALITY = 90

Pen: TypeAlias = ImageDraw.ImageDraw
Colour: TypeAlias = tuple[int, int, int]
Draw: TypeAlias = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The canvas of a picture, the horizon in pixels from the top, and the colours of the sky from top to horizon."""

    pen: Pen
    draw: Draw
    horizon: int
    sky: tuple[Colour, Colour]


def generate(folder: Path, *, seed: int, progress: Progress) -> None:
    """Write ``seg_train/<class>/<number>.jpg`` and ``seg_test/<class>/<number>.jpg``, 96 x 96 pixels each."""
    total = len(SCENES) * (TRAIN_PICTURES + TEST_PICTURES)
    done = 0
    for position, (name, draw_scene) in enumerate(sorted(SCENES.items())):
        for number in range(TRAIN_PICTURES + TEST_PICTURES):
            target = folder / ("seg_train" if number < TRAIN_PICTURES else "seg_test") / name
            target.mkdir(parents=True, exist_ok=True)
            picture = _picture(draw_scene, np.random.default_rng([seed, position, number]))
            picture.save(target / f"{number}.jpg", quality=_QUALITY)
            done += 1
            progress("image", done, total)


def _picture(draw_scene: Callable[[View], None], draw: Draw) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE))
    view = View(pen=ImageDraw.Draw(image), draw=draw, horizon=int(draw.integers(30, 62)), sky=_sky_colours(draw))
    for y in range(SIDE):
        view.pen.line((0, y, SIDE, y), fill=_between(*view.sky, min(1.0, y / view.horizon)))
    draw_scene(view)
    image = ImageEnhance.Color(image).enhance(draw.uniform(0.3, 1.3))
    image = ImageEnhance.Brightness(image).enhance(draw.uniform(0.55, 1.2))
    image = image.filter(ImageFilter.GaussianBlur(draw.uniform(0, 1.0)))
    values = np.asarray(image, dtype=np.float64)
    haze = draw.uniform(0, 0.35)
    values = (1 - haze) * values + haze * np.array(view.sky[1]) + draw.normal(0, draw.uniform(3, 12), values.shape)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _sky_colours(draw: Draw) -> tuple[Colour, Colour]:
    """Return the colours of a blue, grey or evening sky."""
    pairs: list[tuple[Colour, Colour]] = [
        ((70, 130, 220), (190, 215, 240)),
        ((140, 145, 150), (205, 205, 205)),
        ((60, 70, 120), (240, 160, 90)),
    ]
    return pairs[int(draw.integers(len(pairs)))]


def _between(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _varied(colour: Colour, draw: Draw, spread: int = 25) -> Colour:
    red, green, blue = (int(np.clip(value + draw.integers(-spread, spread + 1), 0, 255)) for value in colour)
    return red, green, blue


def _ground(view: View, colour: Colour) -> None:
    view.pen.rectangle((0, view.horizon, SIDE, SIDE), fill=_varied(colour, view.draw))


def _house(view: View, box: tuple[int, int, int, int]) -> None:
    """Draw a wall with rows of windows."""
    wall = _varied((150, 135, 120), view.draw, 60)
    window = _varied((70, 80, 100) if sum(wall) > 330 else (230, 220, 150), view.draw)
    view.pen.rectangle(box, fill=wall)
    step = int(view.draw.integers(6, 10))
    for x in range(box[0] + 2, box[2] - 3, step):
        for y in range(box[1] + 3, box[3] - 3, step):
            view.pen.rectangle((x, y, x + step // 2 - 1, y + step // 2), fill=window)


def _buildings(view: View) -> None:
    left = -int(view.draw.integers(0, 12))
    while left < SIDE:
        width = int(view.draw.integers(16, 36))
        _house(view, (left, int(view.draw.integers(4, 45)), left + width, SIDE))
        left += width + int(view.draw.integers(0, 4))


def _forest(view: View) -> None:
    _ground(view, (70, 90, 40))
    leaves: Colour = [(35, 80, 35), (60, 110, 40), (140, 100, 40)][int(view.draw.integers(3))]
    for _ in range(int(view.draw.integers(140, 220))):
        x, y, radius = view.draw.uniform(-5, 100), view.draw.uniform(-5, 75), view.draw.uniform(3, 9)
        view.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_varied(leaves, view.draw, 35))
    for _ in range(int(view.draw.integers(6, 14))):
        x, width = view.draw.uniform(0, SIDE), view.draw.uniform(1.5, 5)
        top = view.draw.uniform(0, 35)
        view.pen.rectangle((x, top, x + width, view.draw.uniform(75, SIDE)), fill=_varied((60, 45, 35), view.draw))


def _ridge(view: View, top: int, bottom: int, peaks: int) -> list[tuple[float, float]]:
    xs = np.linspace(-10, SIDE + 10, 2 * peaks + 1)
    ys = np.where(np.arange(len(xs)) % 2 == 1, top, bottom) + view.draw.uniform(-7, 7, len(xs))
    xs = xs + view.draw.uniform(-5, 5, len(xs))
    return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]


def _mountain(view: View) -> None:
    top = int(view.draw.integers(6, 26))
    for layer, colour in enumerate(((110, 110, 125), (85, 85, 90), (75, 85, 60))):
        points = _ridge(view, top + 20 * layer, top + 34 + 18 * layer, int(view.draw.integers(2, 4)))
        view.pen.polygon([(-10, SIDE), *points, (SIDE + 10, SIDE)], fill=_varied(colour, view.draw))
        if layer == 0 and view.draw.uniform() < 0.6:
            for x, y in points[1::2]:
                view.pen.polygon([(x, y), (x - 6, y + 9), (x + 1, y + 7), (x + 7, y + 10)], fill=(235, 235, 240))


def _glacier(view: View) -> None:
    top = int(view.draw.integers(12, 40))
    view.pen.polygon(
        [(-10, SIDE), *_ridge(view, top, top + 12, 3), (106, SIDE)], fill=_varied((225, 235, 245), view.draw, 10)
    )
    for _ in range(int(view.draw.integers(25, 50))):
        x, y = view.draw.uniform(-5, SIDE), view.draw.uniform(top + 8, SIDE)
        length, fall = view.draw.uniform(6, 26), view.draw.uniform(-7, 7)
        shade = _varied((120, 175, 215), view.draw, 30)
        view.pen.line((x, y, x + length, y + fall), fill=shade, width=int(view.draw.integers(1, 3)))


def _sea(view: View) -> None:
    water: Colour = [(30, 90, 140), (60, 120, 130), (70, 85, 100)][int(view.draw.integers(3))]
    _ground(view, water)
    for _ in range(int(view.draw.integers(40, 80))):
        y = view.horizon + (SIDE - view.horizon) * view.draw.uniform(0, 1) ** 1.5
        x, length = view.draw.uniform(-10, SIDE), view.draw.uniform(4, 12 + (y - view.horizon) / 2)
        view.pen.line((x, y, x + length, y), fill=_varied(_between(water, (255, 255, 255), 0.45), view.draw))
    if view.draw.uniform() < 0.4:
        slope = view.draw.uniform(-8, 8)
        view.pen.polygon([(0, 88 + slope), (SIDE, 88 - slope), (SIDE, SIDE), (0, SIDE)], fill=(205, 185, 140))


def _street(view: View) -> None:
    _ground(view, (120, 115, 110))
    centre = int(view.draw.integers(36, 60))
    for side in (-1, 1):
        for far, near in ((6, 16), (16, 30), (30, 52)):
            edges = sorted((centre + side * far, centre + side * near))
            top = view.horizon - near + int(view.draw.integers(-6, 4))
            _house(view, (edges[0], max(0, top), edges[1], view.horizon + near // 2))
    view.pen.polygon(
        [(centre - 4, view.horizon), (centre + 4, view.horizon), (SIDE + 10, SIDE), (-10, SIDE)],
        fill=_varied((75, 75, 80), view.draw),
    )
    for share in (0.15, 0.35, 0.6, 0.9):
        y = view.horizon + (SIDE - view.horizon) * share
        view.pen.line((centre, y, centre, y + 1 + 9 * share), fill=(235, 235, 225), width=1 + round(3 * share))


SCENES: dict[str, Callable[[View], None]] = {
    "buildings": _buildings,
    "forest": _forest,
    "glacier": _glacier,
    "mountain": _mountain,
    "sea": _sea,
    "street": _street,
}
