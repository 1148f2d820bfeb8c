"""The images of a data set by the names that label files use: paths, addresses, base names or stems."""

from __future__ import annotations

import contextlib
import posixpath
import unicodedata
from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mlops_core import DatasetError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlops_object_detection.data.layouts.raw_labels import RawLabels

_SHOWN = 5


class ImageNames:
    """The images of a data set, found by the names that label files use; Unicode names in whichever form."""

    def __init__(self, names: Sequence[str]) -> None:
        self._bases = sorted({PurePosixPath(name).name for name in names})
        self._by_path: defaultdict[str, list[str]] = defaultdict(list)
        self._by_base: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            path = PurePosixPath(_composed(name))
            for table, keys in (
                (self._by_path, (str(path), str(path.with_suffix("")))),
                (self._by_base, (path.name, path.stem)),
            ):
                for key in dict.fromkeys(keys):
                    table[key].append(name)

    def find(self, labels: RawLabels) -> tuple[str, bool]:
        """Return the image that a label file names by path, address, base name or stem; and if by its alternative.

        Raises:
            DatasetError: there is none, or several could be meant.
        """
        for url, is_alternative in ((labels.image, False), (labels.alternative, True)):
            for path in _spellings(url):
                names = self._candidates(path, PurePosixPath(_composed(labels.beside)))
                if len(names) > 1:
                    meant = listed(sorted(names))
                    raise DatasetError(f"{labels.where}: '{url}' may be {meant}; expected a path that is unique")
                if names:
                    return names[0], is_alternative
        hint = did_you_mean(PurePosixPath(_composed(labels.image)).name, self._bases)
        raise DatasetError(
            f"{labels.where}: no image '{labels.image}' in the data set{hint}; expected the name of one of its files"
        )

    def _candidates(self, path: str, beside: PurePosixPath) -> list[str]:
        """Return the images that a path fits best: exactly, or else by base name and the nearest folders."""
        for exact in (posixpath.normpath(beside.parent / path), posixpath.normpath(path)):
            if exact in self._by_path:
                return self._by_path[exact]
        names = self._by_base.get(PurePosixPath(path).name, [])
        for measure in (
            lambda name: _shared_parts(reversed(name.parts), reversed(PurePosixPath(path).parts)),
            lambda name: name.parent == beside.parent,
            lambda name: _shared_parts(name.parts, beside.parts),
        ):
            ranks = {name: measure(PurePosixPath(_composed(name))) for name in names}
            names = [name for name in names if ranks[name] == max(ranks.values())]
        return names


def _composed(text: str) -> str:
    """Return a name in the composed Unicode form: archives of some systems hold the other one."""
    return unicodedata.normalize("NFC", text)


def _spellings(url: str) -> Iterator[str]:
    """Yield what may be the path in a name: as it is; of an address, also without its query and percent signs."""
    if url:
        yield _composed(url.replace("\\", "/"))
    if "://" in url:
        with contextlib.suppress(ValueError):  # it is not an address
            yield _composed(unquote(urlsplit(url).path))


def _shared_parts(parts: Iterable[str], others: Iterable[str]) -> int:
    """Return how many components of two paths agree, from the first on; a file may lack its suffix."""
    count = 0
    for one, other in zip(parts, others, strict=False):
        if other not in (one, PurePosixPath(one).stem):
            break
        count += 1
    return count


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
