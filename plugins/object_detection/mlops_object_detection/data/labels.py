"""Names of the classes and their numbers: ``label_config_map.json``, ``{"1": "Category/Sub-category/Label", ...}``.

A class k of a YOLO file, which counts from 0, is the number k + 1. Without the file, names come from ``classes.txt``,
``obj.names`` or ``names`` in ``data.yaml``, or, where the label files hold names, from these.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from mlops_core import DatasetError, did_you_mean
from mlops_object_detection.data.layouts.raw_labels import without_repetition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LABEL_MAP_FILE = "label_config_map.json"
NAME_FILES = ("classes.txt", "obj.names", "predefined_classes.txt")
_YOLO_FILES = ("data.yaml", "dataset.yaml")
_LIMIT = 4 << 20


class _UniqueKeys(yaml.BaseLoader):
    """Reads YAML as texts only, so that a class ``on`` is not a truth value; a key that appears twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  yaml's own
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        doubled = [key for key, count in keys.items() if count > 1]
        if doubled:
            raise yaml.YAMLError(f"{doubled[0]!r} appears twice")
        return super().construct_mapping(node, deep=deep)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """Number -> name of each class; None as `names` where any name is legal.

    Attributes:
        names: number from 1 -> name.
        source: file that has them, for errors.
    """

    names: Mapping[int, str] | None = None
    source: str = ""

    def name_of(self, number: int, where: str) -> str:
        """Return the name of a class by its number.

        Raises:
            DatasetError: there is none.
        """
        if self.names is None:
            raise DatasetError(
                f"{where}: class {number} has no name; expected {LABEL_MAP_FILE}, {NAME_FILES[0]} or data.yaml with "
                "the names of the classes in the data set"
            )
        if number not in self.names:
            known = f"{min(self.names)} to {max(self.names)}" if self.names else "none"
            raise DatasetError(f"{where}: class {number} is not in {self.source}; expected one of its numbers: {known}")
        return self.names[number]

    def check(self, name: str, where: str) -> str:
        """Return a name that the map has.

        Raises:
            DatasetError: the name is unknown, or empty.
        """
        if not name.strip():
            raise DatasetError(f"{where}: the label is empty; expected the name of a class")
        if not name.isprintable():
            raise DatasetError(f"{where}: label {name!r} has a line break or another control character; remove it")
        if self.names is not None and name not in self.names.values():
            hint = did_you_mean(name, sorted(self.names.values()))
            raise DatasetError(f"{where}: label '{name}' is not in {self.source}{hint}")
        return name


def read_label_map(folder: Path, files: Iterable[str], *, chosen: str | None = None) -> LabelMap:
    """Return the classes that a data set declares.

    Args:
        folder: of the data set.
        files: its files, relative to the folder.
        chosen: path of the file of names; None to look for it.

    Raises:
        DatasetError: the file is damaged, or there are several different ones.
    """
    files = tuple(files)
    if chosen is not None:
        path = folder / chosen
        if not path.is_file():
            raise DatasetError(f"dataset.label_config_map: no file {path}{did_you_mean(chosen, files)}")
        return _read(path, chosen)
    for names in ((LABEL_MAP_FILE,), (*NAME_FILES, *_YOLO_FILES)):
        found = [_read(folder / file, file) for file in files if file.rpartition("/")[2] in names]
        maps = [one for one in found if one.names]
        different = [one for one in maps if one.names != maps[0].names]
        if different:
            raise DatasetError(
                f"{maps[0].source} and {different[0].source} name different classes; choose one with "
                "dataset.label_config_map"
            )
        if maps:
            return maps[0]
    return LabelMap()


def check_distinct(names: Iterable[str], source: str) -> None:
    """Raise an error if two names differ in case or blanks only, or one cannot be a name.

    Raises:
        DatasetError: both are named.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = "".join(unicodedata.normalize("NFKC", name).split()).casefold()
        if not key:
            raise DatasetError(f"{source}: a class has an empty name; expected a text")
        other = seen.setdefault(key, name)
        if other != name:
            raise DatasetError(
                f"{source}: '{other}' and '{name}' differ only in case, blanks or Unicode form; use one of them"
            )


def _read(path: Path, shown: str) -> LabelMap:
    try:
        if path.stat().st_size > _LIMIT:
            raise DatasetError(f"{shown} is larger than {_LIMIT:,} bytes; expected a short list of class names")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{shown} cannot be read: {error}; expected UTF-8 text") from error
    suffix = shown.rpartition(".")[2].lower()
    reader = {"json": _from_json, "yaml": _from_yaml, "yml": _from_yaml}.get(suffix, _from_lines)
    names = reader(text, shown)
    check_distinct(names.values(), shown)
    doubled = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
    if doubled:
        raise DatasetError(f"{shown}: '{doubled[0]}' has several numbers; expected each name once")
    return LabelMap(names=names or None, source=shown)


def _from_json(text: str, shown: str) -> dict[int, str]:
    try:
        data = json.loads(text, object_pairs_hook=without_repetition)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f'{shown}: {error}; expected a JSON object such as {{"1": "Valve"}}') from None
    if not isinstance(data, dict):
        raise DatasetError(f"{shown}: expected a JSON object with a name for each number")
    return dict(_entry(key, name, shown) for key, name in data.items())


def _entry(key: str, name: Any, shown: str) -> tuple[int, str]:
    if not key.isascii() or not key.isdigit() or int(key) < 1:
        raise DatasetError(f"{shown}: number '{key}'; expected whole numbers from 1, as texts")
    if not isinstance(name, str):
        raise DatasetError(f"{shown}: the name of {key} is {name!r}; expected a text")
    return int(key), name


def _from_lines(text: str, shown: str) -> dict[int, str]:
    del shown
    return {number: line.strip() for number, line in enumerate(text.splitlines(), 1) if line.strip()}


def _from_yaml(text: str, shown: str) -> dict[int, str]:
    """Return ``names`` of a YOLO data file, a list or a mapping from 0; empty if it has none."""
    try:
        data = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506  texts, lists and mappings only
    except (yaml.YAMLError, RecursionError) as error:
        raise DatasetError(f"{shown}: {' '.join(str(error).split())}; expected YAML with 'names'") from None
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, list):
        names = {str(number): name for number, name in enumerate(names)}
    if not isinstance(names, dict):
        return {}
    if not all(key.isascii() and key.isdigit() for key in names):
        raise DatasetError(f"{shown}: names has keys other than whole numbers from 0")
    if isinstance(count := data.get("nc"), str) and count.strip() != str(len(names)):
        raise DatasetError(f"{shown}: nc is {count!r}, and names has {len(names)} classes; expected equal numbers")
    if not all(isinstance(name, str) for name in names.values()):
        raise DatasetError(f"{shown}: names has an entry that is not a text; expected the name of each class")
    return {int(key) + 1: name for key, name in sorted(names.items(), key=lambda item: int(item[0]))}
