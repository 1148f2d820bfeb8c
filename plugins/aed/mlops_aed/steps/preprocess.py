"""Step ``preprocess``: log-mel patches of all clips, on all cores; it can be sharded."""

from __future__ import annotations

import contextlib
from itertools import groupby, islice
from typing import TYPE_CHECKING

from mlops_aed.config import DatasetSection, FeatureExtraction, Preprocessing
from mlops_aed.data.clips import iter_split, read_split_classes
from mlops_aed.data.extraction import Extraction, available_cores, extract
from mlops_aed.data.feature_store import DATA_FILE, FeatureWriter, iter_rows, read_left_out
from mlops_core import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from mlops_core import StepContext

_SHOWN = 5


def preprocess(context: StepContext) -> None:
    """Write the patches of this shard's clips, in the order of the split."""
    classes, total = read_split_classes(context.input("split"))
    clips = islice(iter_split(context.input("split")), context.shard.index, None, context.shard.count)
    extraction = Extraction(
        dataset=context.input("dataset"),
        preprocessing=context.section("preprocessing", Preprocessing),
        features=context.section("feature_extraction", FeatureExtraction),
    )
    mine = len(range(context.shard.index, total, context.shard.count))
    workers = max(1, available_cores() // context.shard.count)
    done = 0
    with FeatureWriter(context.output("features"), classes=classes, shape=_shape(context)) as writer:
        for chunk in extract(clips, extraction, spool=context.scratch, workers=workers):
            writer.add_chunk(chunk)
            done += len(chunk.clips)
            context.progress("clip", done, mine)


def merge(context: StepContext) -> None:
    """Merge the patches of the shards in the order of the split; the result does not depend on their number.

    Raises:
        DatasetError: more clips than ``dataset.max_unreadable`` cannot be used; the message names them.
    """
    parts = context.parts("features")
    left_out = [reason for part in parts for reason in read_left_out(part)]
    classes, total = read_split_classes(context.input("split"))
    _check_limit(left_out, total, context.section("dataset", DatasetSection).max_unreadable)
    if left_out:
        context.log.warning("%d clips were left out: %s", len(left_out), "; ".join(left_out))
    folder = context.output("features")
    if len(parts) == 1:
        for path in parts[0].iterdir():
            path.rename(folder / path.name)
        return
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(FeatureWriter(folder, classes=classes, shape=_shape(context)))
        sources = [stack.enter_context((part / DATA_FILE).open("rb", buffering=0)) for part in parts]
        _interleave(context.input("split"), parts, sources, writer)


def _interleave(split: Path, parts: tuple[Path, ...], sources: Sequence[IO[bytes]], writer: FeatureWriter) -> None:
    iterators = [_clip_counts(part) for part in parts]
    heads = [next(counts, None) for counts in iterators]
    left_out = [iter(read_left_out(part)) for part in parts]
    for position, clip in enumerate(iter_split(split)):
        shard = position % len(parts)
        head = heads[shard]
        if head is None or head[0] != clip.name:
            writer.left_out.append(next(left_out[shard]))
            continue
        writer.copy_clip(clip, head[1], sources[shard])
        heads[shard] = next(iterators[shard], None)


def _clip_counts(part: Path) -> Iterator[tuple[str, int]]:
    """Yield (clip, number of its patches) in the order of the file."""
    for name, rows in groupby(iter_rows(part), key=lambda row: row.clip):
        yield name, sum(1 for _ in rows)


def _check_limit(left_out: list[str], total: int, limit: int) -> None:
    if len(left_out) > limit:
        more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        raise DatasetError(
            f"{len(left_out)} of {total} clips cannot be used, at most dataset.max_unreadable={limit} are "
            f"left out: {'; '.join(left_out[:_SHOWN])}{more}"
        )


def _shape(context: StepContext) -> tuple[int, int]:
    features = context.section("feature_extraction", FeatureExtraction)
    return features.n_mels, features.patch_length
