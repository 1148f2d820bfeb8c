"""Abalone_Generated: a table made by code with the columns of Abalone, to try the pipeline offline.

Each animal grows towards a final size of its own, so that size says little about the age of old animals; the share of
the shell in the weight grows with age and says more. Two heights of 0 imitate the faults of the real table. The same
seed gives the same bytes.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

ROWS = 4000
ZERO_HEIGHTS = 2
FILE = "abalone_generated.csv"
COLUMNS = (
    "Sex",
    "Length",
    "Diameter",
    "Height",
    "Whole weight",
    "Shucked weight",
    "Viscera weight",
    "Shell weight",
    "Rings",
)


def generate(folder: Path, *, seed: int, progress: Callable[[str, int, int], None]) -> None:
    """Write ``abalone_generated.csv`` into `folder`."""
    draw = np.random.default_rng(seed)
    rings = np.clip(np.round(3 + draw.gamma(4.6, 1.52, ROWS)), 1, 29)
    sizes = _sizes(rings, draw)
    weights = _weights(rings, sizes, draw)
    height = np.round(sizes[2], 3)
    height[draw.choice(ROWS, ZERO_HEIGHTS, replace=False)] = 0
    is_infant = draw.random(ROWS) < 1 / (1 + np.exp((rings - 8.0) / 1.3))
    sex = np.where(is_infant, "I", np.where(draw.random(ROWS) < 0.5, "M", "F"))
    with (folder / FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        columns = (sizes[0], sizes[1], height, *weights)
        for index in range(ROWS):
            cells = [f"{column[index]:.4g}" for column in columns]
            writer.writerow((sex[index], *cells, int(rings[index])))
    progress("row", ROWS, ROWS)


def _sizes(rings: Numbers, draw: np.random.Generator) -> tuple[Numbers, Numbers, Numbers]:
    """Return length, diameter and height by von Bertalanffy growth towards a final size per animal."""
    final = draw.normal(0.64, 0.045, ROWS)
    pace = np.exp(draw.normal(np.log(0.20), 0.16, ROWS))
    length = np.clip(final * (1 - np.exp(-pace * (rings + 0.5))), 0.08, 0.85)
    diameter = length * draw.normal(0.78, 0.015, ROWS)
    height = length * (0.20 + 0.005 * rings) * np.exp(draw.normal(0, 0.06, ROWS))
    return length, diameter, height


def _weights(
    rings: Numbers, sizes: tuple[Numbers, Numbers, Numbers], draw: np.random.Generator
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Return the weights of the whole, the meat, the viscera and the shell; the shell's share grows with age."""
    whole = 22.0 * sizes[0] * sizes[1] * sizes[2] * np.exp(draw.normal(0, 0.06, ROWS))
    shell = whole * (0.20 + 0.008 * rings) * np.exp(draw.normal(0, 0.09, ROWS))
    meat = whole * (0.47 - 0.006 * rings) * np.exp(draw.normal(0, 0.07, ROWS))
    viscera = whole * 0.21 * np.exp(draw.normal(0, 0.12, ROWS))
    return whole, meat, viscera, shell
