"""Training input: the same network trained from a memory-mapped file and from a tensor in memory.

    python benchmarks/training_input.py [--steps 40] [--rounds 3] [--variants] [--json]

Patches per second of wall time and processor time per patch, alternating in one process; a ratio is the median of the
ratios of the rounds. --variants also measures jit_compile, batch sizes and threads.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import timed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATCHES, SHAPE, CLASSES = 2048, (64, 96), 10
FIT = "fit on a tensor in memory"
UPDATES = "updates on a tensor in memory"
AHEAD = "updates from the mapped file, augmented, ahead"
TARGET = 0.95
"""Share of the speed with a tensor in memory that training from the mapped file must reach."""


def build(*, has_jit: bool) -> Any:
    """Return a compiled depthwise-separable network with about 139,000 weights."""
    import keras

    inputs = keras.Input((*SHAPE, 1))
    x = keras.layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False)(inputs)
    for filters, strides in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        x = keras.layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Conv2D(filters, 1, use_bias=False)(x)))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(x))
    model.compile("adam", "categorical_crossentropy", jit_compile=has_jit)
    return model


def inputs(folder: Path) -> tuple[Any, Any]:
    """Return memory-mapped patches and their targets."""
    values = np.random.default_rng(0).standard_normal((PATCHES, *SHAPE)).astype("<f4")
    values.tofile(folder / "patches.f32")
    mapped = np.memmap(folder / "patches.f32", dtype="<f4", mode="r", shape=values.shape)
    return mapped, np.eye(CLASSES, dtype=np.float32)[np.arange(PATCHES) % CLASSES]


def feeders(model: Any, folder: Path, batch_size: int) -> dict[str, Callable[[int], None]]:
    """Return name -> function that trains for a number of updates."""
    import tensorflow as tf
    from mlops_aed.config import DataAugmentation
    from mlops_aed.training.augmentation import training_batches
    from mlops_aed.training.inputs import Ahead, MappedPatches

    mapped, targets = inputs(folder)
    tensor, labels = tf.constant(np.asarray(mapped)[..., None]), tf.constant(targets)
    patches = MappedPatches(mapped, range(PATCHES)).normalised()

    def batches(seed: int) -> Any:
        return training_batches(patches, targets, settings=DataAugmentation(), batch_size=batch_size, seed=seed)

    def fit_memory(steps: int) -> None:
        count = min(PATCHES, steps * batch_size)
        model.fit(tensor[:count], labels[:count], batch_size=batch_size, epochs=1, verbose=0, shuffle=False)

    def memory(steps: int) -> None:
        for step in range(steps):
            start = step * batch_size % (PATCHES - batch_size + 1)
            model.train_on_batch(tensor[start : start + batch_size], labels[start : start + batch_size])

    def waiting(steps: int) -> None:
        source = batches(1)
        for _ in range(steps):
            model.train_on_batch(*next(source))

    def ahead(steps: int) -> None:
        with Ahead(batches(1)) as source:
            for _ in range(steps):
                model.train_on_batch(*next(source))

    return {
        FIT: fit_memory,
        UPDATES: memory,
        "updates from the mapped file, augmented, synchronous": waiting,
        AHEAD: ahead,
    }


Rounds = dict[str, list[tuple[float, float]]]
"""Name -> (patches per second of wall time, processor milliseconds per patch) in each round."""


def measure(steps: int, rounds: int, *, batch_size: int, has_jit: bool) -> Rounds:
    """Return speed and processor time of each way to train, in each round."""
    with tempfile.TemporaryDirectory() as folder:
        ways = feeders(build(has_jit=has_jit), Path(folder), batch_size)
        for way in ways.values():
            way(2)
        measured: Rounds = {name: [] for name in ways}
        patches = steps * batch_size
        for _ in range(rounds):
            for name, way in ways.items():
                timing = timed(functools.partial(way, steps))
                measured[name].append((patches / timing.wall_s, 1000 * timing.processor_s / patches))
        return measured


def elsewhere(steps: int, rounds: int, *, environment: dict[str, str], arguments: list[str]) -> Rounds:
    """Return the result of `measure` in a separate process with other environment variables."""
    run = [sys.executable, __file__, "--raw", "--steps", str(steps), "--rounds", str(rounds), *arguments]
    done = subprocess.run(run, env={**os.environ, **environment}, capture_output=True, check=True)
    measured: Rounds = json.loads(done.stdout.splitlines()[-1])
    return measured


VARIANTS: dict[str, tuple[dict[str, str], list[str]]] = {
    "jit_compile": ({}, ["--jit"]),
    "batch of 16": ({}, ["--batch-size", "16"]),
    "batch of 64": ({}, ["--batch-size", "64"]),
    "one thread": ({"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}, []),
    "without oneDNN": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, []),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="number of updates per round")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--jit", action="store_true", help="compile the network with XLA")
    parser.add_argument("--variants", action="store_true", help="also measure jit_compile, batch sizes and threads")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--raw", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    measured = measure(options.steps, options.rounds, batch_size=options.batch_size, has_jit=options.jit)
    if options.raw:
        print(json.dumps(measured))
        return
    table = {name: row(rounds, measured) for name, rounds in measured.items()}
    for name, (environment, arguments) in VARIANTS.items() if options.variants else ():
        variant = elsewhere(options.steps, options.rounds, environment=environment, arguments=arguments)
        table[f"fit in memory, {name}"] = speed(variant[FIT])
    ratio = table[AHEAD]["to_updates_in_memory"]
    if options.json:
        print(json.dumps(table, indent=2))
    else:
        show(table)
    if ratio < TARGET:
        sys.exit(f"missed: updates from the mapped file have {ratio:.2f} of the speed with a tensor, expected {TARGET}")


def speed(rounds: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return the medians over the rounds."""
    return {
        "patches_per_s": statistics.median(per_s for per_s, _ in rounds),
        "processor_ms": statistics.median(processor_ms for _, processor_ms in rounds),
    }


def row(rounds: Sequence[tuple[float, float]], measured: Rounds) -> dict[str, float]:
    """Return a row of the table: medians, and ratios of speed and of processor time to training in memory."""
    ratios = {}
    for key, reference in (("to_updates_in_memory", measured[UPDATES]), ("to_fit_in_memory", measured[FIT])):
        pairs = list(zip(rounds, reference, strict=True))
        ratios[key] = statistics.median(own[0] / other[0] for own, other in pairs)
        ratios[f"processor_{key}"] = statistics.median(own[1] / other[1] for own, other in pairs)
    return speed(rounds) | ratios


def show(table: dict[str, dict[str, float]]) -> None:
    """Print the table; ratios of processor time are in parentheses."""
    print("| input | patches/s | processor ms/patch | to updates in memory | to fit in memory |\n|---|---|---|---|---|")
    for name, values in table.items():
        ratios = [
            f"{values[key]:.2f} ({values[f'processor_{key}']:.2f})" if key in values else ""
            for key in ("to_updates_in_memory", "to_fit_in_memory")
        ]
        print(f"| {name} | {values['patches_per_s']:.0f} | {values['processor_ms']:.2f} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
