"""Catalogue entries: what a data set is called, where its files come from, and what must be in it.

A data set is a folder. How its files arrive is in `mlops_core.datasets.storage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_core.errors import PipelineError

if TYPE_CHECKING:
    from pathlib import Path

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (label, done, total)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file at a public address.

    Attributes:
        url: http(s) address.
        sha256: checksum in hexadecimal; empty when the publisher gives none.
        md5: likewise, for publishers that give only this one.
        size: of the file in bytes; None when it is not known.
        unpack: unpack the archive (zip, tar, tar.gz, ...) instead of keeping it.
        strip: leading path components that are dropped when unpacking.
        to: sub-folder of the data set; empty for its top.

    Example:
        >>> Source(url="https://example.org/data-1.zip", sha256="0" * 64, strip=1).unpack
        True
    """

    url: str
    sha256: str = ""
    md5: str = ""
    size: int | None = None
    unpack: bool = True
    strip: int = 0
    to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """A commit of a git repository; the commit's id is the checksum of all its files.

    Example:
        >>> GitSource(url="https://example.org/data.git", revision="main")
        Traceback (most recent call last):
        ...
        mlops_core.errors.PipelineError: git source ...: revision 'main' is not a full commit id
    """

    url: str
    revision: str

    def __post_init__(self) -> None:
        """Refuse anything that could mean another content tomorrow."""
        if len(self.revision) != 40 or not set(self.revision) <= set("0123456789abcdef"):
            raise PipelineError(f"git source {self.url}: revision {self.revision!r} is not a full commit id")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedSource:
    """Data made by code: ``"package.module:function"``, called as ``function(folder, seed=, progress=)``.

    Example:
        >>> GeneratedSource(run="my_plugin.data:make")
        GeneratedSource(run='my_plugin.data:make')
    """

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSource:
    """One zip archive in several files, as ``zip -s`` writes it.

    Attributes:
        parts: ``.z01``, ``.z02``, ... and last ``.zip``, each with its checksum.
        strip: leading path components that are dropped when unpacking.
        to: sub-folder of the data set; empty for its top.

    Example:
        >>> parts = tuple(Source(url=f"https://example.org/data.{part}") for part in ("z01", "zip"))
        >>> len(SplitSource(parts=parts).parts)
        2
    """

    parts: tuple[Source, ...]
    strip: int = 0
    to: str = ""


AnySource: TypeAlias = Source | SplitSource | GitSource | GeneratedSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A catalogue entry.

    Attributes:
        name: by which a configuration asks for it.
        title: one line for people.
        licence: of the data.
        homepage: where its publisher describes it; empty for generated data.
        description: what it holds.
        size_bytes: of the download; 0 for generated data.
        sources: what is fetched, in this order.
        required: relative paths or globs without which it is not complete.

    Example:
        >>> Dataset(
        ...     name="toy", title="Toy data", licence="CC0", sources=(GeneratedSource(run="my_plugin.data:make"),)
        ... ).is_generated
        True
    """

    name: str
    title: str
    licence: str
    homepage: str = ""
    description: str = ""
    size_bytes: int = 0
    sources: tuple[AnySource, ...]
    required: tuple[str, ...] = ()

    @property
    def is_generated(self) -> bool:
        """Whether the data is made by code, not recorded from the world."""
        return any(isinstance(source, GeneratedSource) for source in self.sources)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON types only."""
        sources = [{"kind": type(source).__name__, **asdict(source)} for source in self.sources]
        return {**asdict(self), "sources": sources, "required": list(self.required)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Dataset:
        """Return the entry that `to_json` wrote."""
        sources = tuple(_source_from_json(source) for source in data["sources"])
        return cls(**{**data, "sources": sources, "required": tuple(data["required"])})


def _source_from_json(data: Mapping[str, Any]) -> AnySource:
    fields = dict(data)
    kind = fields.pop("kind")
    if kind == SplitSource.__name__:
        return SplitSource(**{**fields, "parts": tuple(Source(**part) for part in fields["parts"])})
    kinds: dict[str, type[AnySource]] = {plain.__name__: plain for plain in (Source, GitSource, GeneratedSource)}
    return kinds[kind](**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetChoice:
    """The data set that a configuration asks for.

    Attributes:
        name: its name.
        path: the folder that the user says it is in; None to take it from the catalogue.
        entry: its entry in the catalogue; None when `path` is set.
    """

    name: str
    path: Path | None = None
    entry: Dataset | None = None
