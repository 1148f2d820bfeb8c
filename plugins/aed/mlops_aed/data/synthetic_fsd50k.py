"""AED_Dataset_FSD50K: generated clips in the layout of FSD50K, with an ontology of their own and clips of two sounds.

The sounds of `mlops_aed.data.synthetic` are grouped below ``struck``, ``signal``, ``nature`` and ``machine``, and
these below ``sound``, except one, so that sounds are at two depths, as in AudioSet's ontology. Lengths vary. The same
seed gives the same bytes.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np

from mlops_aed.data.synthetic import RATE_HZ, SOUNDS, make_clip, make_recording, write_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

PARENTS = {
    "alarm": ("signal",),
    "bell": ("struck", "signal"),
    "chirp": ("nature",),
    "clicks": ("machine",),
    "crackle": ("nature",),
    "engine": ("machine",),
    "knock": ("struck",),
    "rain": ("water",),
    "siren": ("signal",),
    "waves": ("water",),
    "water": ("nature",),
    "struck": ("sound",),
    "signal": ("sound",),
    "nature": ("sound",),
    "machine": ("sound",),
    "sound": (),
}
PARTS = {("dev", "train"): 10, ("dev", "val"): 3, ("eval", ""): 4}
"""Number of clips per sound; one in five holds a second sound."""


def generate(folder: Path, *, seed: int, progress: Callable[[str, int, int], None]) -> None:
    """Write ground truth, ontology and audio (16 kHz, 16 bit, mono, 0.6 to 2 s) into `folder`."""
    truth = folder / "FSD50K.ground_truth"
    truth.mkdir()
    _write_ontology(folder / "ontology.json")
    _write_vocabulary(truth / "vocabulary.csv")
    total, done = len(SOUNDS) * sum(PARTS.values()), 0
    tables: dict[str, list[tuple[str, ...]]] = {"dev": [], "eval": []}
    for (name, part), count in PARTS.items():
        audio = folder / f"FSD50K.{name}_audio"
        audio.mkdir(exist_ok=True)
        for number in range(count * len(SOUNDS)):
            draw = np.random.default_rng([seed, len(name), len(part), number])
            sounds, samples = _sounds(draw, number)
            fname = f"{10_000 + done * 7}"
            write_clip(audio / f"{fname}.wav", samples)
            labels = sorted({above for sound in sounds for above in _with_ancestors(sound)})
            row = (fname, ",".join(labels), ",".join(map(_mid, labels)))
            tables[name].append((*row, part) if name == "dev" else row)
            done += 1
            progress("clip", done, total)
    for name, rows in tables.items():
        with (truth / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("fname", "labels", "mids", "split") if name == "dev" else ("fname", "labels", "mids"))
            writer.writerows(rows)


def _sounds(draw: np.random.Generator, number: int) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    names = sorted(SOUNDS)
    first = names[number % len(names)]
    samples = make_clip(SOUNDS[first], make_recording(draw), draw)
    length = int(RATE_HZ * draw.uniform(0.6, 2.0))
    if draw.uniform() >= 0.2:
        return (first,), samples[:length]
    second = names[(number + 1 + int(draw.integers(len(names) - 1))) % len(names)]
    mixed = samples + make_clip(SOUNDS[second], make_recording(draw), draw)
    return (first, second), (mixed / max(1.0, float(np.abs(mixed).max())))[:length]


def _with_ancestors(name: str) -> Iterator[str]:
    yield name
    for parent in PARENTS[name]:
        yield from _with_ancestors(parent)


def _mid(name: str) -> str:
    return f"/g/{name}"


def _write_ontology(path: Path) -> None:
    entries = [
        {"id": _mid(name), "name": name, "child_ids": [_mid(child) for child in PARENTS if name in PARENTS[child]]}
        for name in PARENTS
    ]
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def _write_vocabulary(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(
            (number, name, _mid(name)) for number, name in enumerate(sorted(PARENTS))
        )
