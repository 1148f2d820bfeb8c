"""Decode image files to prepared pictures and fingerprints, on all cores; each file is decoded once.

The step precedes the split, because copies are found by their pixels.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from functools import partial
from typing import TYPE_CHECKING

from mlops_core import ConfigError, DatasetError
from mlops_image_classification.config import DatasetSection, Preprocessing
from mlops_image_classification.data.decoding import pixels_or_reason, with_autocontrast
from mlops_image_classification.data.fingerprints import fingerprint, write_fingerprints
from mlops_image_classification.data.labelled import listed
from mlops_image_classification.data.pictures import read_pictures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlops_core import StepContext
    from mlops_image_classification.data.labelled import Picture

    Pixels = NDArray[np.uint8]

BLOCK = 128
"""Pictures per file; a shard writes whole blocks, so that the files do not depend on the number of shards."""
_CHUNK = 8


def preprocess(context: StepContext) -> None:
    """Write the usable pictures, their fingerprints, and the reasons why others cannot be used.

    Raises:
        ConfigError: there are more shards than blocks.
        DatasetError: more than ``preprocessing.max_unreadable`` pictures cannot be used; they are named.
    """
    settings = context.section("preprocessing", Preprocessing)
    dataset = context.input("dataset")
    result = read_pictures(dataset, context.section("dataset", DatasetSection), context.log)
    pictures = result.pictures
    starts = range(context.shard.index * BLOCK, len(pictures), context.shard.count * BLOCK)
    if not starts:
        raise ConfigError(
            f"preprocessing.shards: {context.shard.count} shards are too many for {len(pictures)} pictures; "
            f"expected at least one block of {BLOCK} pictures per shard"
        )
    work = partial(pixels_or_reason, dataset=dataset, settings=settings)
    unreadable = list(result.broken_links) if context.shard.index == 0 else []
    done, total = 0, sum(len(pictures[start : start + BLOCK]) for start in starts)
    with multiprocessing.get_context("fork" if os.name == "posix" else "spawn").Pool(os.cpu_count()) as pool:
        for start in starts:
            block = pictures[start : start + BLOCK]
            results = pool.map(work, block, chunksize=_CHUNK)
            unreadable += _write_block(context, start // BLOCK, list(zip(block, results, strict=True)))
            done += len(block)
            context.progress("picture", done, total)
    if len(unreadable) > settings.max_unreadable:
        raise DatasetError(
            f"{len(unreadable)} of {max(done, len(unreadable))} pictures cannot be used; "
            f"preprocessing.max_unreadable is {settings.max_unreadable}: {listed(unreadable, separator='; ')}"
        )
    if unreadable:
        context.log.warning("%d pictures were left out: %s", len(unreadable), "; ".join(unreadable))


def _write_block(context: StepContext, block: int, results: list[tuple[Picture, Pixels | str]]) -> list[str]:
    """Write one block; return the reasons why pictures cannot be used.

    TensorFlow is imported after the worker processes were forked: forked copies of its threads would hang.
    """
    from mlops_image_classification.data.records import write_block

    usable = [(picture.number, pixels) for picture, pixels in results if not isinstance(pixels, str)]
    reasons = {picture.number: reason for picture, reason in results if isinstance(reason, str)}
    name = f"block-{block:06d}"
    folder = context.output("fingerprints")
    (folder / f"{name}.unreadable.json").write_text(json.dumps(reasons, indent=1) + "\n", encoding="utf-8")
    write_fingerprints(folder / f"{name}.npz", fingerprint(usable))
    cutoff = context.section("preprocessing", Preprocessing).autocontrast
    stretched = [(number, with_autocontrast(pixels, cutoff=cutoff)) for number, pixels in usable]
    write_block(context.output("pictures") / f"{name}.tfrecord", stretched)
    return list(reasons.values())
