"""From audio files to log-mel patches, on all cores, one clip at a time."""

from __future__ import annotations

import multiprocessing
import os
from functools import partial
from typing import TYPE_CHECKING

from mlops_aed.clips import read_split
from mlops_aed.config import DatasetSection, FeatureExtraction, Preprocessing
from mlops_aed.feature_store import write_features
from mlops_aed.features import clip_patches
from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mlops_aed.clips import Clip
    from mlops_core.steps import StepContext

_CHUNK = 16
_SHOWN = 5


def preprocess(context: StepContext) -> None:
    """Write the patches of every clip of the split, in its order.

    Raises:
        DatasetError: more clips than ``dataset.max_unreadable`` cannot be used; they are named.
    """
    clips = read_split(context.input("split"))
    limit = context.section("dataset", DatasetSection).max_unreadable
    classes = tuple(sorted({clip.label for clip in clips}))
    unreadable: list[str] = []
    write_features(context.output("features"), _usable(context, clips, unreadable, limit), classes)
    if unreadable:
        context.log.warning("%d clips were left out: %s", len(unreadable), "; ".join(unreadable))


def _usable(
    context: StepContext, clips: list[Clip], unreadable: list[str], limit: int
) -> Iterator[tuple[Clip, NDArray[np.float32]]]:
    work = partial(
        _patches_or_reason,
        audio=context.input("dataset") / "audio",
        preprocessing=context.section("preprocessing", Preprocessing),
        features=context.section("feature_extraction", FeatureExtraction),
    )
    with multiprocessing.get_context("fork" if os.name == "posix" else "spawn").Pool(os.cpu_count()) as pool:
        results = pool.imap(work, [clip.name for clip in clips], chunksize=_CHUNK)
        for done, (clip, found) in enumerate(zip(clips, results, strict=True), 1):
            context.progress("clip", done, len(clips))
            if isinstance(found, str):
                unreadable.append(found)
            else:
                yield clip, found
    if len(unreadable) > limit:
        more = f" and {len(unreadable) - _SHOWN} more" if len(unreadable) > _SHOWN else ""
        raise DatasetError(
            f"{len(unreadable)} of {len(clips)} clips cannot be used, at most dataset.max_unreadable={limit} are "
            f"left out: {'; '.join(unreadable[:_SHOWN])}{more}"
        )


def _patches_or_reason(
    name: str, *, audio: Path, preprocessing: Preprocessing, features: FeatureExtraction
) -> NDArray[np.float32] | str:
    try:
        return clip_patches(audio / name, preprocessing, features)
    except DatasetError as error:
        return str(error)
