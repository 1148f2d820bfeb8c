"""A log-mel spectrogram as a picture, with the events below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_core import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_aed.audio.events import Event
    from mlops_aed.config import FeatureExtraction

_COLUMNS = 4
"""Number of columns per step; a step is a quarter of a patch."""
_KEPT = 8192
"""Largest number of columns, so that memory does not grow with the stream."""
_WIDTH, _HEIGHT, _ROW, _MARGIN = 1600, 256, 22, 120
_BACKGROUND, _TEXT, _AXIS = (255, 255, 255), (20, 20, 20), (120, 120, 120)
_COLOURS = ((59, 110, 165), (196, 90, 60), (70, 140, 80), (140, 90, 160), (180, 140, 40), (60, 150, 160))


class Sonogram:
    """Keeps a few columns per second of a recording, for a picture of all of it."""

    def __init__(self, settings: FeatureExtraction, *, rate: int) -> None:
        """Start at time 0."""
        self._step = max(1, settings.patch_length // 4)
        self._column_s = self._step * settings.hop_length / rate / _COLUMNS
        self._columns: list[NDArray[np.float32]] = []
        self._waiting: list[NDArray[np.float32]] = []
        self._merged = 1
        self._rest: NDArray[np.float32] = np.zeros((settings.n_mels, 0), dtype=np.float32)

    def add(self, patches: NDArray[np.float32]) -> None:
        """Add patches (patches, n_mels, frames), each a quarter of its length after the one before."""
        for patch in patches:
            for part in np.array_split(patch[:, : self._step], _COLUMNS, axis=1):
                if part.shape[1]:
                    self._add_column(part.mean(axis=1))
        self._rest = patches[-1][:, self._step :]

    def _add_column(self, column: NDArray[np.float32]) -> None:
        """Keep a column; once there are more than the picture can show, merge columns in pairs."""
        self._waiting.append(column)
        if len(self._waiting) < self._merged:
            return
        self._columns.append(np.mean(self._waiting, axis=0))
        self._waiting.clear()
        if len(self._columns) >= _KEPT:
            pairs = np.stack(self._columns).reshape(_KEPT // 2, 2, -1)
            self._columns = list(pairs.mean(axis=1))
            self._merged *= 2
            self._column_s *= 2

    def draw(self, path: Path, events: Sequence[Event], *, duration_s: float) -> None:
        """Write the picture: time to the right, mel bands upwards, one row per class below.

        Raises:
            UsageError: the file cannot be written.
        """
        from PIL import Image, ImageDraw

        labels = sorted({event.label for event in events})
        picture = Image.new("RGB", (_MARGIN + _WIDTH, _HEIGHT + _ROW * (len(labels) + 2)), _BACKGROUND)
        pixels = self._pixels(duration_s)
        width = max(1, min(_WIDTH, _place(pixels.shape[1] * self._column_s, duration_s) - _MARGIN))
        picture.paste(Image.fromarray(pixels).resize((width, _HEIGHT)), (_MARGIN, 0))
        pen = ImageDraw.Draw(picture)
        pen.text((8, 8), "mel bands", fill=_TEXT)
        for number, label in enumerate(labels):
            top = _HEIGHT + _ROW * (number + 1)
            pen.text((8, top + 4), label, fill=_TEXT)
            for event in events:
                if event.label == label:
                    left, right = (_place(at, duration_s) for at in (event.onset_s, event.offset_s))
                    pen.rectangle((left, top + 3, max(right, left + 2), top + _ROW - 3), fill=_COLOURS[number % 6])
        for tick in range(11):
            at = duration_s * tick / 10
            place = min(_place(at, duration_s), _MARGIN + _WIDTH - 40)
            pen.text((place, _HEIGHT + 4), f"{at:.4g} s", fill=_AXIS)
        try:
            picture.save(path)
        except (OSError, ValueError) as error:
            raise UsageError(f"--picture: {path} cannot be written: {error}") from error

    def _pixels(self, duration_s: float) -> NDArray[np.uint8]:
        """Return the picture's colours, low bands at the bottom, shape (n_mels, columns, 3)."""
        count = max(1, round(duration_s / self._column_s))
        if not self._columns:
            return np.zeros((1, 1, 3), dtype=np.uint8)
        values = np.stack((*self._columns, *self._last_columns())[:count], axis=1)[::-1]
        low, high = float(values.min()), float(values.max())
        grey = (values - low) / ((high - low) or 1.0)
        colours = np.stack([grey, grey**2, 0.25 + 0.5 * np.sin(np.pi * grey)], axis=2)
        return np.asarray(255 * np.clip(colours, 0, 1), dtype=np.uint8)

    def _last_columns(self) -> list[NDArray[np.float32]]:
        """Return the columns of the last patch after its first quarter."""
        frames = max(1, self._step * self._merged // _COLUMNS)
        starts = range(0, self._rest.shape[1] - frames + 1, frames)
        return [self._rest[:, start : start + frames].mean(axis=1) for start in starts]


def check_picture(path: Path) -> None:
    """Check that a picture can be written to `path`.

    Raises:
        UsageError: the suffix is not that of a picture format, or the folder does not exist.
    """
    from PIL import Image

    if path.suffix.lower() not in Image.registered_extensions():
        raise UsageError(f"--picture: {path}: unknown file extension: {path.suffix or 'none'}; name the picture .png")
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"--picture: {path}: expected the name of a file in an existing folder")


def _place(at_s: float, duration_s: float) -> int:
    return _MARGIN + round(_WIDTH * at_s / (duration_s or 1.0))
