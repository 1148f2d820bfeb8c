"""Leaks in a split manifest: a group, a sample's content or a near copy of it in more than one part.

Core calls `check_leaks` after each step that writes a manifest and before each evaluation that reads one, on every
engine. The two samples of a leak are named. Copies within one part are accepted. It owns the rule, not the format of
the manifest (`mlops_core.datasets.splits`), nor what is found in predictions (`mlops_core.evaluation.coverage`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_core.datasets.digests import file_digest
from mlops_core.datasets.splits import EMPTY_DIGEST, FOLD, iter_members, read_split
from mlops_core.errors import DatasetError
from mlops_core.quantities import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pydantic

    from mlops_core.datasets.splits import SplitRow

    M = TypeVar("M", bound=pydantic.BaseModel)

FILE = "file"
"""Column of a manifest with the path of a sample's file below the data set, where the sample is not that path."""
_VERIFIED_BYTES = 2 << 30
"""Of so many bytes of files at most, the digests of a manifest are computed again."""
_SHOWN_DIGEST = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """Two samples that are so similar that they must not be in two parts.

    Attributes:
        first: name of a sample.
        second: name of another sample.
        reason: how similar they are, for the error message.

    Example:
        >>> NearDuplicate(first="a.png", second="b.png", reason="correlation 0.998").reason
        'correlation 0.998'
    """

    first: str
    second: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSplit:
    """A split that a step has just written, with what that step read: the argument of `mlops_find_near_duplicates`.

    Attributes:
        folder: holds the manifest and whatever else the step wrote there.
        inputs: name of each input of the step -> its folder; read only.
        sections: the configuration sections that the step declares, as JSON types.

    Example:
        >>> digest = row_digest(["1.5"])
        >>> row = SplitRow(sample="clip-1.wav", group="speaker-7", label="yes", part="test", digest=digest)
        >>> write_split(Path("."), [row])
        >>> [row.sample for row in WrittenSplit(folder=Path("."), inputs={}).rows("test")]
        ['clip-1.wav']
    """

    folder: Path
    inputs: Mapping[str, Path]
    sections: Mapping[str, Any] = field(default_factory=dict)

    def rows(self, *parts: str) -> Iterator[SplitRow]:
        """Return an iterator over the rows, as `mlops_core.read_split` does."""
        return read_split(self.folder, *parts)

    def section(self, name: str, model: type[M]) -> M:
        """Return the configuration section `name` as `model`.

        Raises:
            KeyError: the step that wrote the split does not declare the section.
        """
        return model.model_validate(self.sections[name])


def check_leaks(folder: Path, *, between_folds: bool = False) -> None:
    """Raise an error if a group, or equal content, is in more than one part of the manifest in `folder`.

    Args:
        folder: holds the manifest, which is streamed.
        between_folds: the folds of rows without a part are regarded as parts.

    Raises:
        DatasetError: there is a leak, or the manifest is damaged.
    """
    groups, contents = _Leaks(), _Leaks()
    for sample, group, _, part, digest, fold in iter_members(folder, FOLD):
        place = part or (f"fold {fold}" if between_folds and fold else "")
        if place:
            groups.add(group, sample, place)
            if digest not in ("", EMPTY_DIGEST):
                contents.add(digest, sample, place)
    if groups.first:
        raise DatasetError(
            f"{groups.message('are of the same group')}; expected each group in one part: split by group"
        )
    if contents.first:
        raise DatasetError(
            f"{contents.message('have the same content')}; expected copies in one part: give them one group, or leave "
            "one out"
        )


class _Leaks:
    """Keys of samples that are in more than one part: the first one, and how many."""

    def __init__(self) -> None:
        self.first: tuple[str, str, str, str, str] | None = None
        self._places: dict[str, tuple[str, str]] = {}
        self._keys: set[str] = set()

    def add(self, key: str, sample: str, place: str) -> None:
        """Note a sample and its part."""
        earlier = self._places.setdefault(key, (sample, place))
        if earlier[1] != place:
            self._keys.add(key)
            if self.first is None:
                self.first = (key, *earlier, sample, place)

    def message(self, relation: str) -> str:
        """Return what leaks."""
        assert self.first is not None  # noqa: S101  for mypy: the caller asks for it first
        key, first, first_place, second, second_place = self.first
        name = f"SHA-256 {key[:_SHOWN_DIGEST]}" if relation.startswith("have") else f"'{key}'"
        more = f"; {counted(len(self._keys) - 1, 'more leak')} like it" if len(self._keys) > 1 else ""
        return f"split leaks: '{first}' ({first_place}) and '{second}' ({second_place}) {relation}, {name}{more}"


def check_near_duplicates(folder: Path, pairs: Iterable[NearDuplicate]) -> None:
    """Raise an error if two samples of a pair are in different parts of the manifest in `folder`.

    Args:
        folder: holds the manifest.
        pairs: read once; pairs with a sample that the manifest does not have are ignored, as a sample may be left out.

    Raises:
        DatasetError: there is a leak.
    """
    parts = {sample: part for sample, _, _, part, _ in iter_members(folder)}
    for pair in pairs:
        first, second = parts.get(pair.first), parts.get(pair.second)
        if first and second and first != second:
            reason = f" ({pair.reason})" if pair.reason else ""
            raise DatasetError(
                f"split leaks: '{pair.first}' ({first}) and '{pair.second}' ({second}) are near duplicates{reason}; "
                "expected them in one part: give them one group, or leave one out"
            )


def check_digests(folder: Path, dataset: Path) -> None:
    """Raise an error if the digest of a sample that is a file of the data set is not that of its content.

    A sample is a file if its name, or its column ``file``, is the path of one below the data set. All files are read up
    to 2 GiB; of more, as many as fit, evenly distributed over the manifest.

    Raises:
        DatasetError: a digest is wrong, or a file cannot be read.
    """
    files = list(_files(folder, dataset))
    total = sum(os.path.getsize(dataset / name) for _, _, name in files)  # noqa: PTH202  called for each of many
    for sample, expected, name in files[:: max(1, -(-total // _VERIFIED_BYTES))]:
        path = dataset / name
        try:
            digest = file_digest(path)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror}; the split has it as '{sample}'") from error
        if digest != expected:
            raise DatasetError(
                f"split: '{sample}' has the digest {expected[:_SHOWN_DIGEST]}, but {path} has "
                f"{digest[:_SHOWN_DIGEST]}; expected the SHA-256 of its content: mlops_core.file_digest"
            )


def _files(folder: Path, dataset: Path) -> Iterator[tuple[str, str, str]]:
    """Yield sample, digest and path below the data set of each sample that is a file of the data set."""
    for sample, _, _, _, digest, file in iter_members(folder, FILE):
        name = file or sample
        is_below = not name.startswith("/") and ".." not in name.split("/")
        if digest and is_below and os.path.isfile(f"{dataset}/{name}"):  # noqa: PTH113  called for each of many
            yield sample, digest, name
