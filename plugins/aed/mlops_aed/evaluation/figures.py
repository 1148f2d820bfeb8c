"""Confusion matrices as pictures, with the file names of the model zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.ImageDraw import ImageDraw

    from mlops_core import ConfusionMatrix

_CELL, _MARGIN, _TOP = 56, 150, 40
_LIGHT, _DARK, _INK, _PAPER = (247, 251, 255), (8, 48, 107), (20, 20, 20), (255, 255, 255)
_HALF = 0.5


def matrix_name(kind: str, level: str, *, part: str = "test_set") -> str:
    """Return the file name of a picture.

    Args:
        kind: ``float_model``, ``quant_model``, or ``float`` for an exported ONNX model.
        level: ``clip`` or ``patch``.
        part: the scored part of the data.
    """
    return f"{kind}_{level}_confusion_matrix_{part}.png"


def draw_matrix(matrix: ConfusionMatrix, path: Path, *, title: str) -> None:
    """Write the picture: one row per true class, one column per predicted class, in percent of the row."""
    from PIL import Image, ImageDraw

    size = len(matrix.classes)
    picture = Image.new("RGB", (_MARGIN + size * _CELL + 20, _TOP + size * _CELL + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((8, 12), f"{title} (rows: true class, columns: predicted class, percent of the row)", fill=_INK)
    for row, (name, counts) in enumerate(zip(matrix.classes, matrix.counts, strict=True)):
        _draw_row(pen, counts, top=_TOP + row * _CELL)
        pen.text((8, _TOP + row * _CELL + 22), name[:22], fill=_INK)
    _write_upwards(picture, matrix.classes, top=_TOP + size * _CELL)
    picture.save(path)


def _draw_row(pen: ImageDraw, counts: tuple[int, ...], *, top: int) -> None:
    total = sum(counts)
    for column, count in enumerate(counts):
        share = count / total if total else 0.0
        left = _MARGIN + column * _CELL
        colour = tuple(round(light + share * (dark - light)) for light, dark in zip(_LIGHT, _DARK, strict=True))
        pen.rectangle((left, top, left + _CELL - 2, top + _CELL - 2), fill=colour)
        pen.text((left + 12, top + 22), f"{100 * share:.1f}", fill=_PAPER if share > _HALF else _INK)


def _write_upwards(picture: object, names: tuple[str, ...], *, top: int) -> None:
    """Write the names of the columns below them, rotated so that long names fit."""
    from PIL import Image, ImageDraw

    for column, name in enumerate(names):
        label = Image.new("RGB", (_MARGIN - 20, 14), _PAPER)
        ImageDraw.Draw(label).text((0, 0), name[:22], fill=_INK)
        turned = label.rotate(-90, expand=True)
        picture.paste(turned, (_MARGIN + column * _CELL + 18, top + 8))  # type: ignore[attr-defined]  # an Image
