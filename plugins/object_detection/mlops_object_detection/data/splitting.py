"""The split into training, validation and test part: by group, balanced over the classes, with mandatory files.

A group, such as the sheets of one drawing, is never divided. A class that only one group has is kept in the training
part where that is possible; it is reported, and its average precision is not measured.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_core import DatasetError, SplitSample, did_you_mean, hold_out_groups, join_groups, list_data_files

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from mlops_object_detection.config import SplitSection
    from mlops_object_detection.data.earlier import EarlierParts
    from mlops_object_detection.data.pages import Page

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_NOTHING = ""
"""Class of a picture without objects, so that such pictures are divided as well."""
_UPSAMPLED = re.compile(r"(.+)_upsampled_.*")
_FOLDERS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
_LISTS = ("ImageSets", "Main")
_YEAR = re.compile(r"20\d\d$")
"""COCO's folders are ``train2017`` and ``val2017``."""
_KEYS = {
    TRAIN: "mandatory_train_filenames",
    VALIDATION: "mandatory_val_filenames",
    TEST: "mandatory_test_filenames",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The result of a split.

    Attributes:
        parts: name of each page -> part.
        groups: name of each page -> group.
        unmeasured: class -> why its average precision cannot be measured.
    """

    parts: Mapping[str, str]
    groups: Mapping[str, str]
    unmeasured: Mapping[str, str]


def divide(
    pages: Sequence[Page],
    settings: SplitSection,
    *,
    digests: Mapping[str, str],
    group_pattern: str | None,
    seed: int,
    listed: Mapping[str, str] | None = None,
) -> Division:
    """Return which part each page belongs to.

    Args:
        pages: of the data set.
        settings: of the split.
        digests: name of each page -> digest of its file; equal files are in one group.
        group_pattern: regular expression whose group is the name of a page's drawing; None for independent pages.
        seed: random seed.
        listed: name of a page -> part that a list of the data set gives it, as `listed_parts` returns.

    Raises:
        DatasetError: mandatory names match nothing or contradict each other, or the pages cannot fill the parts.
    """
    groups = _groups(pages, digests, group_pattern)
    fixed = _fixed(pages, groups, settings, listed or {})
    free = sorted(set(groups.values()) - fixed.keys())
    samples = _samples(pages, groups, settings, free)
    parts = dict(fixed)
    if TEST not in fixed.values():
        parts.update(dict.fromkeys(_fold(samples, settings, seed), TEST))
    rest = [sample for sample in samples if sample.group not in parts]
    if VALIDATION not in fixed.values() and settings.validation_split and len({one.group for one in rest}) > 2:
        held = hold_out_groups(rest, share=settings.validation_split, seed=seed + 1)
        parts.update(dict.fromkeys(held, VALIDATION))
    of_page = {page.name: parts.get(groups[page.name], TRAIN) for page in pages}
    _check(of_page, pages)
    return Division(parts=of_page, groups=groups, unmeasured=_unmeasured(pages, of_page, groups))


def divide_as_earlier(
    pages: Sequence[Page],
    earlier: EarlierParts,
    settings: SplitSection,
    *,
    digests: Mapping[str, str],
    group_pattern: str | None,
    seed: int,
) -> Division:
    """Return the parts of an earlier split; images that it does not name are the test part, unless it has one.

    Args:
        pages: of the data set.
        earlier: the earlier split.
        settings: of the split; where the earlier one has no validation part, it is drawn from the training part.
        digests: name of each page -> digest of its file; equal files are in one group.
        group_pattern: as of `divide`.
        seed: random seed.

    Raises:
        DatasetError: a group is in two parts, a page is in none, or a part is empty.
    """
    groups = _groups(pages, digests, group_pattern)
    rest = [page.name for page in pages if page.name not in earlier.parts]
    if earlier.has_test and rest:
        raise DatasetError(
            f"{len(rest)} images of the data set are in no part of the earlier split, such as {rest[0]}; expected "
            "every image in one; remove 'test' from the file of the versions to test those images, or make a new split"
        )
    parts = _earlier_groups(pages, earlier.parts, groups, digests)
    if VALIDATION not in parts.values() and settings.validation_split:
        samples = _samples(pages, groups, settings, [group for group, part in parts.items() if part == TRAIN])
        if len({sample.group for sample in samples}) > 2:
            held = hold_out_groups(samples, share=settings.validation_split, seed=seed + 1)
            parts.update(dict.fromkeys(held, VALIDATION))
    of_page = {page.name: parts[groups[page.name]] for page in pages}
    if TEST not in of_page.values():
        raise DatasetError(
            "the earlier split names every image of the data set for training or validation, and none is left to test; "
            "expected images that it does not name, or 'test: NAME:VERSION' in the file of the versions"
        )
    _check(of_page, pages)
    return Division(parts=of_page, groups=groups, unmeasured=_unmeasured(pages, of_page, groups))


def _earlier_groups(
    pages: Sequence[Page], earlier: Mapping[str, str], groups: Mapping[str, str], digests: Mapping[str, str]
) -> dict[str, str]:
    """Return group -> part of an earlier split.

    Raises:
        DatasetError: a group is in two of its parts.
    """
    parts: dict[str, str] = {}
    first: dict[str, str] = {}
    for page in pages:
        part, group = earlier.get(page.name, TEST), groups[page.name]
        other = first.setdefault(group, page.name)
        if parts.setdefault(group, part) != part:
            is_copy = digests[other] == digests[page.name]
            raise DatasetError(
                f"the earlier split has {other} in the {parts[group]} part and {page.name} in the {part} part, and "
                f"both are {'copies of one image' if is_copy else f'of the group {group!r}'}; expected them in one part"
            )
    return parts


def _groups(pages: Sequence[Page], digests: Mapping[str, str], pattern: str | None) -> dict[str, str]:
    own = {page.name: _group(page.name, pattern) for page in pages}
    names = {name for name, group in own.items() if group != name}
    if pattern is not None and len(set(own.values())) == len(own) and len(own) > 1 and not names:
        raise DatasetError(
            f"dataset.group_pattern {pattern!r} matches none of {len(own)} images, such as '{pages[0].name}'; expected "
            "a part of their names"
        )
    joined = join_groups((group, digests[name]) for name, group in own.items())
    return {name: joined[group] for name, group in own.items()}


def _group(name: str, pattern: str | None) -> str:
    path = PurePosixPath(name)
    copied = _UPSAMPLED.fullmatch(path.stem)
    if copied:  # a copy, <name>_upsampled_<n>.upsampled<suffix>, belongs to the image that it was made of
        return _group(str(path.with_name(copied[1] + path.suffix.replace(".upsampled", ""))), pattern)
    found = re.search(pattern, name) if pattern is not None else None
    return found[1] if found and found[1] else name


def listed_parts(folder: Path, pages: Sequence[Page]) -> dict[str, str]:
    """Return the parts that VOC's lists ``ImageSets/Main/train.txt``, ``val.txt`` and ``test.txt`` give pages, by name.

    Raises:
        DatasetError: a list cannot be read, or two of them have the same picture.
    """
    found: dict[str, str] = {}
    for file in list_data_files(folder).files:
        path = PurePosixPath(file)
        part = _FOLDERS.get(path.stem)
        if part is None or path.suffix != ".txt" or path.parts[-3:-1] != _LISTS:
            continue
        try:
            lines = (folder / file).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{file} cannot be read: {error}; expected one name of an image per line") from error
        stems = {line.strip() for line in lines}
        root = path.parents[2]
        for page in pages:
            name = PurePosixPath(page.name)
            if not name.is_relative_to(root) or stems.isdisjoint((name.stem, name.name)):
                continue
            if found.setdefault(page.name, part) != part:
                raise DatasetError(
                    f"{file}: '{name.stem}' is in the list of the {found[page.name]} part as well; expected it in one, "
                    "or set split.use_folders to false"
                )
    return found


def _fixed(
    pages: Sequence[Page], groups: Mapping[str, str], settings: SplitSection, listed: Mapping[str, str]
) -> dict[str, str]:
    """Return group -> part, as the mandatory lists say, and for other groups, as lists or folders of the data set."""
    fixed: dict[str, tuple[str, str]] = {}
    for part, key in _KEYS.items():
        for wanted in getattr(settings, key):
            for name in _matching(wanted, pages, key):
                other = fixed.setdefault(groups[name], (part, wanted))
                if other[0] != part:
                    raise DatasetError(
                        f"split.{key} has '{wanted}', split.{_KEYS[other[0]]} has '{other[1]}', which "
                        + ("is the same image" if other[1] == wanted else "belongs to the same group")
                        + "; expected each group in one part"
                    )
    parts = {group: part for group, (part, _) in fixed.items()}
    if settings.use_folders:
        parts = {**_of_folders(pages, groups, parts, listed), **parts}
    return parts


def _matching(wanted: str, pages: Sequence[Page], key: str) -> list[str]:
    """Return the pages of a name: its path, its base name or its stem, and the copies that were made of it."""
    names = [page.name for page in pages]
    found = [name for name in names if wanted in (name, PurePosixPath(name).name)]
    found = found or [name for name in names if PurePosixPath(name).stem == wanted]
    if not found:
        hint = did_you_mean(wanted, sorted({PurePosixPath(name).name for name in names}))
        raise DatasetError(f"split.{key}: no image '{wanted}' in the data set{hint}")
    if len({PurePosixPath(name).parent for name in found}) > 1:
        raise DatasetError(f"split.{key}: '{wanted}' may be {' or '.join(found)}; expected the path of one of them")
    return found


def _of_folders(
    pages: Sequence[Page], groups: Mapping[str, str], known: Mapping[str, str], listed: Mapping[str, str]
) -> dict[str, str]:
    """Return group -> part by the data set's lists or folders, if the training part has one.

    Raises:
        DatasetError: a group is in the lists or folders of two parts.
    """
    found: dict[str, str] = {}
    for page in pages:
        names = [_YEAR.sub("", name.lower()) for name in PurePosixPath(page.name).parts[:-1]]
        part = listed.get(page.name) or next((_FOLDERS[name] for name in names if name in _FOLDERS), None)
        group = groups[page.name]
        if part is None or group in known:
            continue
        if found.setdefault(group, part) != part:
            raise DatasetError(
                f"{page.name} and another image of its group '{group}' are in lists or folders of two parts; expected "
                "them in one part: remove the copy, or set split.use_folders to false"
            )
    if TRAIN not in found.values():
        return {}
    return {group: part for group, part in found.items() if part != TRAIN}


def _samples(
    pages: Sequence[Page], groups: Mapping[str, str], settings: SplitSection, free: Collection[str]
) -> list[SplitSample]:
    """Return one sample per box, so that the classes of a page count as often as they occur on it."""
    chosen = set(free)
    samples = []
    for page in pages:
        labels = [box.label for box in page.objects] if settings.use_stratified_split else []
        for index, label in enumerate(labels or [_NOTHING]):
            if groups[page.name] in chosen:
                samples.append(SplitSample(sample=f"{page.name}#{index}", group=groups[page.name], label=label))
    return samples


def _fold(samples: Sequence[SplitSample], settings: SplitSection, seed: int) -> frozenset[str]:
    """Return the groups of the test fold: the folds before it are held out first, each from what is left."""
    count = settings.stratified_split_n_fold
    groups = {sample.group for sample in samples}
    if len(groups) < 2:
        raise DatasetError(f"{len(groups)} groups of images can be divided; expected at least 2")
    if not settings.use_stratified_split:
        shuffled = sorted(groups)
        random.Random(seed).shuffle(shuffled)  # noqa: S311  a split, not a secret
        return frozenset(shuffled[settings.test_fold :: count][: max(1, len(shuffled) // 2)])
    rest = list(samples)
    for fold in range(settings.test_fold):
        held = hold_out_groups(rest, share=1 / (count - fold), seed=seed)
        rest = [sample for sample in rest if sample.group not in held]
    left = {sample.group for sample in rest}
    is_last = settings.test_fold == count - 1 or len(left) == 1
    held = frozenset(left) if is_last else hold_out_groups(rest, share=1 / (count - settings.test_fold), seed=seed)
    if not held or held == groups:
        raise DatasetError(
            f"split.test_fold {settings.test_fold} of {count} is empty: {len(groups)} groups of images do not fill so "
            "many folds; lower split.stratified_split_n_fold or split.test_fold"
        )
    return held


def _check(parts: Mapping[str, str], pages: Sequence[Page]) -> None:
    counts = Counter(parts.values())
    objects: Counter[str] = Counter()
    for page in pages:
        objects[parts[page.name]] += len(page.objects)
    for part in (TRAIN, TEST):
        if not counts[part] or not objects[part]:
            raise DatasetError(
                f"the {part} part has {counts[part]} images with {objects[part]} objects; expected some: "
                f"{dict(sorted(counts.items()))}; change the mandatory lists, or lower split.stratified_split_n_fold"
            )


def _unmeasured(pages: Sequence[Page], parts: Mapping[str, str], groups: Mapping[str, str]) -> dict[str, str]:
    where: defaultdict[str, set[str]] = defaultdict(set)
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for page in pages:
        for box in page.objects:
            where[box.label].add(parts[page.name])
            owners[box.label].add(groups[page.name])
    reasons = {}
    for label in sorted(where):
        of = f"it occurs in {len(owners[label])} group{'s' if len(owners[label]) > 1 else ''}"
        if TEST not in where[label]:
            reasons[label] = f"no test image has it: {of}"
        elif TRAIN not in where[label]:
            reasons[label] = f"no training image has it: {of}"
    return reasons
