"""Does training wait for its input? The same network fed from a mapped file and from a tensor in memory.

    python benchmarks/training_input.py [--steps 40] [--rounds 3] [--variants] [--json]

Updates per second, by the clock, turn by turn in one process; the ratio is the median of the rounds' ratios.
--variants also tries what is cheap to try: jit_compile, batch sizes, threads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

PATCHES, SHAPE, CLASSES = 2048, (64, 96), 10
TARGET = 0.95
"""Minimum speed of training from the mapped file, relative to the speed on a tensor in memory."""


def build(*, has_jit: bool) -> Any:
    """Return a compiled depthwise-separable network of some 139,000 weights."""
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
    """Return mapped patches and their targets."""
    values = np.random.default_rng(0).standard_normal((PATCHES, *SHAPE)).astype("<f4")
    values.tofile(folder / "patches.f32")
    mapped = np.memmap(folder / "patches.f32", dtype="<f4", mode="r", shape=values.shape)
    return mapped, np.eye(CLASSES, dtype=np.float32)[np.arange(PATCHES) % CLASSES]


def feeders(model: Any, folder: Path, batch_size: int) -> dict[str, Callable[[int], None]]:
    """Return ways to train for a number of updates."""
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
        "fit on a tensor in memory": fit_memory,
        "updates on a tensor in memory": memory,
        "updates from the mapped file, augmented, in turn": waiting,
        "updates from the mapped file, augmented, ahead": ahead,
    }


def measure(steps: int, rounds: int, *, batch_size: int, has_jit: bool) -> dict[str, list[float]]:
    """Return patches a second in each round."""
    with tempfile.TemporaryDirectory() as folder:
        ways = feeders(build(has_jit=has_jit), Path(folder), batch_size)
        for way in ways.values():
            way(2)
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way(steps)
                found[name].append(steps * batch_size / (time.perf_counter() - start))
        return found


def elsewhere(steps: int, rounds: int, *, environment: dict[str, str], arguments: list[str]) -> dict[str, list[float]]:
    run = [sys.executable, __file__, "--raw", "--steps", str(steps), "--rounds", str(rounds), *arguments]
    done = subprocess.run(run, env={**os.environ, **environment}, capture_output=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


VARIANTS: dict[str, tuple[dict[str, str], list[str]]] = {
    "jit_compile": ({}, ["--jit"]),
    "batch of 16": ({}, ["--batch-size", "16"]),
    "batch of 64": ({}, ["--batch-size", "64"]),
    "one thread": ({"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}, []),
    "without oneDNN": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, []),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--jit", action="store_true", help="compile the network with XLA")
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--raw", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    found = measure(options.steps, options.rounds, batch_size=options.batch_size, has_jit=options.jit)
    if options.raw:
        print(json.dumps(found))
        return
    memory = found["updates on a tensor in memory"]
    fit = found["fit on a tensor in memory"]
    table = {
        name: {
            "patches_per_s": statistics.median(values),
            "to_updates_in_memory": statistics.median(a / b for a, b in zip(values, memory, strict=True)),
            "to_fit_in_memory": statistics.median(a / b for a, b in zip(values, fit, strict=True)),
        }
        for name, values in found.items()
    }
    for name, (environment, arguments) in VARIANTS.items() if options.variants else ():
        values = elsewhere(options.steps, options.rounds, environment=environment, arguments=arguments)
        table[f"fit in memory, {name}"] = {"patches_per_s": statistics.median(values["fit on a tensor in memory"])}
    ratio = table["updates from the mapped file, augmented, ahead"]["to_updates_in_memory"]
    if options.json:
        print(json.dumps(table, indent=2))
    else:
        show(table)
    if ratio < TARGET:
        sys.exit(f"missed: updates from the mapped file are {ratio:.2f} of those on a tensor, expected {TARGET}")


def show(table: dict[str, dict[str, float]]) -> None:
    """Print the table."""
    print("| input | patches/s | to updates in memory | to fit in memory |\n|---|---|---|---|")
    for name, row in table.items():
        ratios = [f"{row[key]:.2f}" if key in row else "" for key in ("to_updates_in_memory", "to_fit_in_memory")]
        print(f"| {name} | {row['patches_per_s']:.0f} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
