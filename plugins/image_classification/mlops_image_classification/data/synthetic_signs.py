"""ROAD_SIGN_Dataset: traffic signs drawn by code, in tracks as a camera in a passing car would record them.

There are twelve signs; some differ only in a number or in left and right. Background, light, tilt and wear vary more
between tracks than within a track, so that a split by picture instead of by track would overestimate a model. The same
seed gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress = Callable[[str, int, int], None]

TRAIN_TRACKS, TEST_TRACKS, FRAMES = 8, 3, 4
_CANVAS = 128
_SMALLEST, _LARGEST = 22, 64
_RED, _BLUE, _YELLOW = (190, 25, 35), (25, 70, 160), (240, 190, 30)
_WHITE, _BLACK = (240, 240, 240), (20, 20, 20)

Point: TypeAlias = tuple[float, float]
Pen: TypeAlias = ImageDraw.ImageDraw


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The properties that all frames of a track share.

    Attributes:
        tilt_deg: rotation of the sign.
        light: factor of the brightness.
        contrast: factor of the contrast.
        fading: share of grey in the colours.
        lean: horizontal shift of the top, as a share of the width.
        background: colours at the upper and the lower edge.
        seed: seed of the texture behind the sign.
    """

    tilt_deg: float
    light: float
    contrast: float
    fading: float
    lean: float
    background: tuple[tuple[int, int, int], tuple[int, int, int]]
    seed: int


def generate(folder: Path, *, seed: int, progress: Progress) -> None:
    """Write ``train/<sign>/<track>_<frame>.png`` and ``test/<sign>/<track>_<frame>.png``, 22 to 64 pixels wide."""
    total = len(SIGNS) * (TRAIN_TRACKS + TEST_TRACKS) * FRAMES
    done = 0
    for position, (name, draw_sign) in enumerate(sorted(SIGNS.items())):
        for number in range(TRAIN_TRACKS + TEST_TRACKS):
            draw = np.random.default_rng([seed, position, number])
            track = _track(draw)
            target = folder / ("train" if number < TRAIN_TRACKS else "test") / name
            target.mkdir(parents=True, exist_ok=True)
            for frame in range(FRAMES):
                side = round(_SMALLEST + (_LARGEST - _SMALLEST) * (frame + draw.uniform(0, 1)) / FRAMES)
                _picture(draw_sign, track, side, draw).save(target / f"{number:05d}_{frame:05d}.png")
                done += 1
                progress("image", done, total)


def _track(draw: np.random.Generator) -> Track:
    upper, lower = (tuple(int(value) for value in draw.integers(30, 220, 3)) for _ in range(2))
    return Track(
        tilt_deg=float(draw.normal(0, 5)),
        light=float(draw.uniform(0.4, 1.25)),
        contrast=float(draw.uniform(0.6, 1.15)),
        fading=float(draw.uniform(0, 0.4)),
        lean=float(draw.normal(0, 0.05)),
        background=(upper, lower),  # type: ignore[arg-type]  # three channels each
        seed=int(draw.integers(1 << 30)),
    )


def _picture(draw_sign: Callable[[Pen], None], track: Track, side: int, draw: np.random.Generator) -> Image.Image:
    sign = Image.new("RGBA", (_CANVAS, _CANVAS))
    draw_sign(ImageDraw.Draw(sign))
    scale, shift = draw.uniform(1.0, 1.15), draw.uniform(-6, 6, 2)
    lean = track.lean + draw.normal(0, 0.01)
    half = _CANVAS / 2
    sign = sign.rotate(track.tilt_deg + draw.normal(0, 1.5), Image.Resampling.BILINEAR)
    matrix = (scale, lean, half - half * (scale + lean) + shift[0], 0.0, scale, half - half * scale + shift[1])
    sign = sign.transform(sign.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    scene = _background(track)
    scene.paste(sign, mask=sign.getchannel("A"))
    scene = ImageEnhance.Color(scene).enhance(1 - track.fading)
    scene = ImageEnhance.Contrast(scene).enhance(track.contrast)
    scene = ImageEnhance.Brightness(scene).enhance(track.light * draw.uniform(0.95, 1.05))
    scene = scene.filter(ImageFilter.GaussianBlur(draw.uniform(0, 2.0)))
    small = np.asarray(scene.resize((side, side), Image.Resampling.BOX), dtype=np.float64)
    noisy = small + draw.normal(0, draw.uniform(2, 10), small.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _background(track: Track) -> Image.Image:
    draw = np.random.default_rng(track.seed)
    upper, lower = (np.array(colour, np.float64) for colour in track.background)
    ramp = np.linspace(0, 1, _CANVAS)[:, None, None]
    coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    texture = np.asarray(coarse.resize((_CANVAS, _CANVAS), Image.Resampling.BICUBIC), dtype=np.float64) - 128
    values = upper * (1 - ramp) + lower * ramp + 0.35 * texture
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


# --- The signs, on a canvas of 128 x 128 ------------------------------------------------------------------


def _disc(pen: Pen, radius: float, colour: tuple[int, int, int]) -> None:
    pen.ellipse((64 - radius, 64 - radius, 64 + radius, 64 + radius), fill=colour)


def _polygon(pen: Pen, radius: float, corners: int, turn_deg: float, colour: tuple[int, int, int]) -> None:
    angles = np.deg2rad(turn_deg + 360 / corners * np.arange(corners))
    pen.polygon([(64 + radius * float(np.sin(a)), 64 - radius * float(np.cos(a))) for a in angles], fill=colour)


def _text(pen: Pen, text: str, size: int, colour: tuple[int, int, int], centre: Point = (64, 64)) -> None:
    pen.text(centre, text, fill=colour, font=ImageFont.load_default(size), anchor="mm", stroke_width=2)


def _speed(pen: Pen, limit: int) -> None:
    _disc(pen, 58, _RED)
    _disc(pen, 44, _WHITE)
    _text(pen, str(limit), 52, _BLACK)


def _warning(pen: Pen) -> None:
    _polygon(pen, 66, 3, 0, _RED)
    _polygon(pen, 42, 3, 0, _WHITE)


def _mirrored(points: list[Point]) -> list[Point]:
    return [(128 - x, y) for x, y in points]


_ARROW: list[Point] = [(34, 40), (74, 40), (74, 28), (100, 52), (74, 76), (74, 64), (56, 64), (56, 104), (34, 104)]
_BEND: list[Point] = [(52, 96), (52, 70), (72, 58), (66, 50), (86, 50), (82, 72), (76, 66), (62, 76), (62, 96)]


def _turn(pen: Pen, points: list[Point]) -> None:
    _disc(pen, 58, _BLUE)
    pen.polygon(points, fill=_WHITE)


def _curve(pen: Pen, points: list[Point]) -> None:
    _warning(pen)
    pen.polygon(points, fill=_BLACK)


def _no_entry(pen: Pen) -> None:
    _disc(pen, 58, _RED)
    pen.rectangle((24, 53, 104, 75), fill=_WHITE)


def _stop(pen: Pen) -> None:
    _polygon(pen, 62, 8, 22.5, _WHITE)
    _polygon(pen, 57, 8, 22.5, _RED)
    _text(pen, "STOP", 36, _WHITE)


def _yield(pen: Pen) -> None:
    _polygon(pen, 66, 3, 180, _RED)
    _polygon(pen, 42, 3, 180, _WHITE)


def _priority(pen: Pen) -> None:
    _polygon(pen, 62, 4, 0, _WHITE)
    _polygon(pen, 46, 4, 0, _YELLOW)


def _danger(pen: Pen) -> None:
    _warning(pen)
    pen.rectangle((59, 44, 69, 74), fill=_BLACK)
    pen.ellipse((58, 78, 70, 90), fill=_BLACK)


SIGNS: dict[str, Callable[[Pen], None]] = {
    "curve_left": lambda pen: _curve(pen, _mirrored(_BEND)),
    "curve_right": lambda pen: _curve(pen, _BEND),
    "danger": _danger,
    "no_entry": _no_entry,
    "priority": _priority,
    "speed_30": lambda pen: _speed(pen, 30),
    "speed_50": lambda pen: _speed(pen, 50),
    "speed_80": lambda pen: _speed(pen, 80),
    "stop": _stop,
    "turn_left": lambda pen: _turn(pen, _mirrored(_ARROW)),
    "turn_right": lambda pen: _turn(pen, _ARROW),
    "yield": _yield,
}
