"""VOC labels: an XML file per image with ``filename``, ``size`` and ``object`` elements, boxes in pixels."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from xml.parsers import expat

from mlops_core import DatasetError
from mlops_object_detection.data.layouts.raw_labels import RawLabels, number_of, whole_number_of
from mlops_object_detection.data.pages import Box

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlops_object_detection.data.labels import LabelMap

_LIMIT = 16 << 20
_START = 4096
_OBJECT_ELEMENTS = ("object", "bndbox")
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def is_voc(path: Path) -> bool:
    """Return whether an XML file begins like a VOC annotation."""
    try:
        with path.open("rb") as stream:
            return b"<annotation" in stream.read(_START)
    except OSError:
        return False


def read(folder: Path, files: Sequence[str], labels: LabelMap) -> Iterator[RawLabels]:
    """Yield the boxes of each file.

    Raises:
        DatasetError: a file is not valid; file and line are named.
    """
    del labels  # names are checked with those of the other layouts
    for file in files:
        document = _parsed(folder / file, file)
        width, height = (_pixels(document.texts.get(f"size/{key}"), file) for key in ("width", "height"))
        named = document.texts.get("filename", "")
        stem = PurePosixPath(file).stem
        is_own = PurePosixPath(named.replace("\\", "/")).stem == stem
        yield RawLabels(
            image=named if is_own else stem,
            beside=file,
            width=width,
            height=height,
            boxes=tuple(_box(fields, f"{file} (line {line})") for line, fields in document.objects),
            in_pixels=True,
            where=file,
            places=tuple(f"{file} (line {line})" for line, _ in document.objects),
            alternative="" if is_own else named,
        )


def _pixels(text: str | None, file: str) -> int | None:
    """Return a side of the image; None if it is not given, or 0, as some tools write."""
    if not text:
        return None
    try:
        return whole_number_of(text) or None
    except ValueError:
        raise DatasetError(f"{file}: size {text!r}; expected a number of pixels") from None


def _box(fields: dict[str, str], where: str) -> Box:
    name = " ".join(fields.get("name", "").split())
    numbers = []
    for side in _SIDES:
        try:
            numbers.append(number_of(fields[f"bndbox/{side}"]))
        except (KeyError, ValueError):
            found = fields.get(f"bndbox/{side}")
            raise DatasetError(f"{where}: {side} of '{name}' is {found!r}; expected a number of pixels") from None
    left, top, right, bottom = numbers
    return Box(label=name, left=left, top=top, right=right, bottom=bottom)


class _Document:
    """Texts of an annotation by their path, and of each of its objects with its line."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self.texts: dict[str, str] = {}
        self.objects: list[tuple[int, dict[str, str]]] = []
        self._path: list[str] = []
        self._text = ""

    def start(self, name: str, attributes: dict[str, str], line: int) -> None:
        del attributes
        self._path.append(name)
        self._text = ""
        if self._path[1:] == ["object"]:
            self.objects.append((line, {}))
        elif name.lower() in _OBJECT_ELEMENTS and self._path[1:2] != ["object"]:
            raise DatasetError(
                f"{self._shown} (line {line}): the element '{'/'.join(self._path)}' is not read; expected "
                f"annotation/object{'' if name.lower() == 'object' else '/bndbox'}, with one annotation per file"
            )

    def end(self, name: str) -> None:
        del name
        inner, text = self._path[1:], self._text.strip()
        if inner[:1] == ["object"] and len(inner) > 1:
            if "part" not in inner:
                self._add_field("/".join(inner[1:]), text)
        elif inner:
            self._add_text("/".join(inner), text)
        self._path.pop()
        self._text = ""

    def _add_field(self, key: str, text: str) -> None:
        line, fields = self.objects[-1]
        if key in fields and (key == "name" or key.startswith("bndbox")):
            raise DatasetError(f"{self._shown} (line {line}): the object has two elements '{key}'; expected one")
        fields[key] = text

    def _add_text(self, key: str, text: str) -> None:
        if key in self.texts and (key == "filename" or key.startswith("size/")):
            raise DatasetError(f"{self._shown}: there are two elements '{key}'; expected one")
        self.texts[key] = text

    def add(self, text: str) -> None:
        self._text += text


def _parsed(path: Path, shown: str) -> _Document:
    """Return the contents of a file; entities, which can be made to grow without limit, are refused."""
    document = _Document(shown)
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: document.start(name, attributes, parser.CurrentLineNumber)
    parser.EndElementHandler = document.end
    parser.CharacterDataHandler = document.add

    def refuse(*declaration: object) -> None:
        raise DatasetError(f"{shown} declares the entity {declaration[0]!r}; expected XML without entities")

    def refuse_use(*used: object) -> None:
        raise DatasetError(f"{shown} uses the entity {used[0]!r}; expected XML without entities")

    parser.EntityDeclHandler = refuse
    parser.SkippedEntityHandler = refuse_use
    try:
        if path.stat().st_size > _LIMIT:
            raise DatasetError(f"{shown} is larger than {_LIMIT:,} bytes; expected the labels of one image")
        parser.Parse(path.read_bytes(), True)
    except (OSError, expat.ExpatError, LookupError, ValueError) as error:  # the last two: of its encoding
        raise DatasetError(f"{shown} cannot be read: {error}; expected a VOC annotation") from None
    return document
