"""Steps that read a small array, add one, and write it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_core import Prediction, StepContext, write_predictions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def generate(folder: Path, *, seed: int, progress: Callable[[str, int, int], None]) -> None:
    """Write the first array."""
    np.save(folder / "array.npy", np.arange(1000.0) + seed)
    progress("array", 1, 1)


def advance(context: StepContext) -> None:
    """Add one to the array."""
    np.save(context.output("array") / "array.npy", np.load(context.input("array") / "array.npy") + 1)


def evaluate(context: StepContext) -> None:
    """Write one prediction."""
    row = Prediction(sample="a", group="a", label="x", scores=(1.0, 0.0))
    write_predictions(context.output("predictions"), ("x", "y"), [row])
