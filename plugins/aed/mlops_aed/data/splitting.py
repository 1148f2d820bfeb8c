"""Assigning clips to training, validation and test: by fold, by whole recording, or at random, without a leak."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_aed.data.clips import PARTS, TEST, TRAIN, VALIDATION, Clip, listed
from mlops_core import DatasetError, SplitSample, check_no_leak, join_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlops_aed.config import DatasetSection


def assign_parts(clips: Sequence[Clip], settings: DatasetSection, *, seed: int) -> list[Clip]:
    """Return the clips with their parts: test, validation, and the rest for training.

    Parts that the data set assigns are kept, and are expected of every clip without a fold. With the strategy ``fold``,
    one fold is the test part; a data set without folds is split by recording. Without a validation fold, whole source
    recordings are held out of the training folds, class by class, until they hold ``validation_split`` of the clips of
    each class. Clips that calibrate are training clips, of which none validate; if there are test clips only, the other
    parts are empty.

    Recordings with copies of the same file are one group. Where fold or data set assign them to several parts, those of
    the test part stay, and the other clips of the group are left out.

    Raises:
        DatasetError: a fold is missing, a recording is in two parts, or a class is missing in a part.
    """
    clips = _with_parts(clips, settings)
    given, clips = {clip.name: clip.group for clip in clips}, _join_copies(clips)
    if all(clip.part for clip in clips):
        parted = _official(clips, settings, seed=seed)
    elif settings.strategy == "fold" and any(clip.fold for clip in clips):
        parted = _by_fold(clips, settings, seed=seed)
    else:
        if settings.test_fold is not None or settings.validation_fold is not None:
            raise DatasetError(
                "dataset.test_fold, dataset.validation_fold: the data set has no folds, or strategy is not 'fold'"
            )
        parted = _by_group(clips, settings, seed=seed)
    _check_groups([replace(clip, group=given[clip.name]) for clip in parted if settings.strategy != "random"])
    parted = _without_copies(parted)
    _check_parts(parted, settings)
    return parted


def _with_parts(clips: Sequence[Clip], settings: DatasetSection) -> Sequence[Clip]:
    """Return the clips with a part each, if the data set assigns one to some of them.

    A data set may have folds for development and a test part without a fold: its folds train and validate.
    """
    rest = [clip for clip in clips if not clip.part]
    if not rest or len(rest) == len(clips):
        return clips
    has_folds = settings.strategy == "fold" and settings.test_fold is None and all(clip.fold for clip in rest)
    if not has_folds or all(clip.part != TEST for clip in clips):
        raise DatasetError(
            f"{len(rest)} of {len(clips)} clips have no part, which the others have: "
            f"{listed([clip.name for clip in rest])}; expected a split in every row or in none, "
            "or a fold in each row without one and no dataset.test_fold"
        )
    _require_fold("validation_fold", settings.validation_fold, {clip.fold for clip in rest})
    parts = {settings.validation_fold: VALIDATION}
    return [clip if clip.part else replace(clip, part=parts.get(clip.fold, TRAIN)) for clip in clips]


def _require_fold(key: str, fold: int | None, folds: set[int]) -> None:
    if fold is not None and fold not in folds:
        raise DatasetError(f"dataset.{key}: no fold {fold}; folds: {', '.join(map(str, sorted(folds)))}")


def _join_copies(clips: Sequence[Clip]) -> list[Clip]:
    """Return the clips with one group for recordings that have a copy of the same file."""
    joined = join_groups((clip.group, clip.digest) for clip in clips)
    return [replace(clip, group=joined[clip.group]) for clip in clips]


def _without_copies(clips: Sequence[Clip]) -> list[Clip]:
    """Return the clips without those whose group is also in a part that matters more: test, then validation."""
    rank = {TEST: 0, VALIDATION: 1, TRAIN: 2}
    best: dict[str, int] = {}
    for clip in clips:
        best[clip.group] = min(rank[clip.part], best.get(clip.group, len(rank)))
    return [clip for clip in clips if rank[clip.part] == best[clip.group]]


def explain_test_part(clips: Sequence[Clip], settings: DatasetSection) -> str:
    """Return what determines the test part of `clips`, and that ``test_split`` has no effect, if it has none."""
    if any(clip.part for clip in clips):
        reason = "the parts that the data set assigns"
    elif settings.strategy == "fold" and any(clip.fold for clip in clips):
        reason = f"fold {_test_fold(clips, settings)}"
    else:
        return f"test part: {settings.test_split:.0%} of the clips of each class (dataset.test_split)"
    return f"test part: {reason}; dataset.test_split has no effect"


def _official(clips: Sequence[Clip], settings: DatasetSection, *, seed: int) -> list[Clip]:
    if any(clip.part == VALIDATION for clip in clips) or not _is_validated(settings):
        return list(clips)
    held = _held_out([clip for clip in clips if clip.part == TRAIN], settings.validation_split, seed=seed)
    return [replace(clip, part=VALIDATION) if clip.part == TRAIN and clip.group in held else clip for clip in clips]


def _by_fold(clips: Sequence[Clip], settings: DatasetSection, *, seed: int) -> list[Clip]:
    folds = {clip.fold for clip in clips}
    test_fold = _test_fold(clips, settings)
    _require_fold("test_fold", test_fold, folds)
    _require_fold("validation_fold", settings.validation_fold, folds)
    if settings.validation_fold is not None:
        by_fold = {test_fold: TEST, settings.validation_fold: VALIDATION}
        return [replace(clip, part=by_fold.get(clip.fold, TRAIN)) for clip in clips]
    held = _validating([clip for clip in clips if clip.fold != test_fold], settings, seed=seed)
    return [
        replace(clip, part=TEST if clip.fold == test_fold else VALIDATION if clip.group in held else TRAIN)
        for clip in clips
    ]


def _test_fold(clips: Sequence[Clip], settings: DatasetSection) -> int:
    return max(clip.fold for clip in clips) if settings.test_fold is None else settings.test_fold


def _is_validated(settings: DatasetSection) -> bool:
    """Return whether training clips are held out: not if they only calibrate, or if there are none."""
    return settings.calibration_csv is None and (settings.csv is not None or settings.test_csv is None)


def _validating(clips: Iterable[Clip], settings: DatasetSection, *, seed: int) -> set[str]:
    return _held_out(clips, settings.validation_split, seed=seed) if _is_validated(settings) else set()


def left_out_copies(clips: Sequence[Clip], parted: Sequence[Clip]) -> str:
    """Return what `assign_parts` left out of `clips`, as a sentence; empty for nothing."""
    kept = {clip.name for clip in parted}
    names = [clip.name for clip in clips if clip.name not in kept]
    if not names:
        return ""
    return (
        f"{len(names)} clip(s) left out, whose recordings have a copy in the test or validation part: {listed(names)}"
    )


def _by_group(clips: Sequence[Clip], settings: DatasetSection, *, seed: int) -> list[Clip]:
    if settings.strategy == "random":
        clips = _join_copies([replace(clip, group=clip.name) for clip in clips])
    tested = _held_out(clips, settings.test_split, seed=seed)
    rest = [clip for clip in clips if clip.group not in tested]
    held = _validating(rest, settings, seed=seed + 1)
    return [
        replace(clip, part=TEST if clip.group in tested else VALIDATION if clip.group in held else TRAIN)
        for clip in clips
    ]


def _held_out(clips: Iterable[Clip], share: float, *, seed: int) -> set[str]:
    """Return groups that hold `share` of each class's clips; a clip of several labels counts for each."""
    by_class: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for clip in clips:
        for label in clip.labels:
            by_class[label][clip.group] += 1
    held: set[str] = set()
    draw = random.Random(seed)  # noqa: S311  a split, not a secret
    for label in sorted(by_class):
        groups = sorted(by_class[label])
        draw.shuffle(groups)
        target = share * sum(by_class[label].values())
        taken = sum(by_class[label][group] for group in groups if group in held)
        free = [group for group in groups if group not in held]
        for group in free[:-1]:  # at least one recording is left for training
            if taken >= target:
                break
            held.add(group)
            taken += by_class[label][group]
    return held


def _check_groups(clips: Sequence[Clip]) -> None:
    check_no_leak(
        {
            part: [
                SplitSample(sample=clip.name, group=clip.group, label=clip.label) for clip in clips if clip.part == part
            ]
            for part in PARTS
        }
    )


def _check_parts(clips: Sequence[Clip], settings: DatasetSection) -> None:
    parts: dict[str, list[Clip]] = {part: [clip for clip in clips if clip.part == part] for part in PARTS}
    if settings.calibration_csv is not None and not parts[TRAIN]:
        raise DatasetError("dataset.calibration_csv: no clip is left to calibrate; more recordings are needed")
    classes = {label for clip in clips for label in clip.labels}
    for part in PARTS if _is_validated(settings) else (TEST,):
        lacking = sorted(classes - {label for clip in parts[part] for label in clip.labels})
        if lacking:
            raise DatasetError(f"the {part} part has no clip of {listed(lacking)}; each class must be in each part")
