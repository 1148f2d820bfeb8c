"""The audio files of a data set, and the file of each name in a table.

A table may leave out the extension, or spell a name in another case or in another normal form of its letters than the
file system; a name may hold dots. Hidden files and those of tools are not data.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_aed.data.clips import listed
from mlops_aed.file_names import printable
from mlops_core import DatasetError, DatasetFinding, Severity, findings_of_listing, list_data_files

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mlops_aed.data.clips import Clip
    from mlops_core import DataFiles

AUDIO_SUFFIXES = frozenset(
    {
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".caf",
        ".w64",
        ".rf64",
    }
)
OTHER_AUDIO_SUFFIXES = frozenset(
    {".m4a", ".mp4", ".aac", ".wma", ".amr", ".webm", ".mka", ".ape", ".wv", ".3gp", ".ra"}
)
"""Suffixes of audio that cannot be decoded here."""
_AUDIO = "audio/"


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFiles:
    """The files of a data set.

    Attributes:
        names: all files in the form of clip names: below ``audio/`` or below the data set.
        listing: what `list_data_files` found.
    """

    names: frozenset[str]
    listing: DataFiles

    @property
    def audio(self) -> tuple[str, ...]:
        """The files that can be decoded by their suffix, as paths below the data set."""
        return tuple(path for path in self.listing.files if suffix_of(path) in AUDIO_SUFFIXES)

    @property
    def unreadable(self) -> dict[str, int]:
        """Suffix of audio that cannot be decoded -> number of files."""
        suffixes = Counter(suffix_of(path) for path in self.listing.files)
        return {suffix: count for suffix, count in sorted(suffixes.items()) if suffix in OTHER_AUDIO_SUFFIXES}


def suffix_of(path: str) -> str:
    """Return the last suffix in lower case."""
    return PurePosixPath(path).suffix.lower()


def list_files(dataset: Path) -> AudioFiles:
    """Return the files of a data set.

    Raises:
        DatasetError: a folder cannot be read.
    """
    try:
        listing = list_data_files(dataset)
    except OSError as error:
        raise DatasetError(f"{dataset} cannot be read: {error.strerror or error}") from error
    has_audio_folder = (dataset / "audio").is_dir()
    names: set[str] = set()
    for path in listing.files:
        if path.startswith(_AUDIO):
            names.add(path.removeprefix(_AUDIO))
        if "/" in path or not has_audio_folder:
            names.add(path)
    return AudioFiles(names=frozenset(names), listing=listing)


def require_text(names: Iterable[str], dataset: Path) -> None:
    """Check that names are text.

    Raises:
        DatasetError: bytes of a name are not UTF-8.
    """
    wrong = [printable(name) for name in names if not _is_text(name)]
    if wrong:
        raise DatasetError(
            f"{len(wrong)} file name(s) in {dataset} are not UTF-8: {listed(wrong)}; rename them, for example by convmv"
        )


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def find_files(
    clips: Sequence[Clip], files: AudioFiles, *, extension: str, dataset: Path, source: Path, log: logging.Logger
) -> list[Clip]:
    """Return the clips with the names of their files.

    Raises:
        DatasetError: a clip has no file, or more than one; the message names similar files.
    """
    resolver = _Resolver(files, extension)
    found: list[Clip] = []
    lost: list[str] = []
    respelled = 0
    for clip in clips:
        name = resolver.find(clip.name)
        if name is None and _exists(dataset, clip.name):  # hidden or no regular file, but the table lists it
            name = clip.name
        if name is None:
            lost.append(clip.name + resolver.hint(clip.name))
            continue
        respelled += name not in {clip.name, clip.name + extension}
        found.append(replace(clip, name=name, group=name if clip.group == clip.name else clip.group))
    if lost:
        audio = dataset / "audio" if (dataset / "audio").is_dir() else dataset
        raise DatasetError(f"{len(lost)} of {len(clips)} clips in {source} have no file in {audio}: {listed(lost)}")
    if respelled:
        log.info("%d names in %s differ from those of their files in case or normal form", respelled, source)
    return found


def _exists(dataset: Path, name: str) -> bool:
    path = PurePosixPath(name)
    places = (dataset / "audio" / name, dataset / name)
    return not path.is_absolute() and ".." not in path.parts and any(place.exists() for place in places)


def unused_findings(clips: Sequence[Clip], files: AudioFiles) -> list[DatasetFinding]:
    """Return findings about files that are no clips: hidden, of a type that cannot be decoded, or without a label."""
    findings = list(findings_of_listing(files.listing))
    if files.unreadable:
        kinds = ", ".join(f"{suffix} ({count})" for suffix, count in files.unreadable.items())
        text = f"{sum(files.unreadable.values())} audio files cannot be decoded and are not used: {kinds}"
        findings.append(DatasetFinding(level=Severity.WARNING, check="other audio", message=text))
    used = {clip.name for clip in clips}
    rest = tuple(path for path in files.audio if path not in used and path.removeprefix("audio/") not in used)
    if rest:
        text = f"{len(rest)} audio files are not used: without a label, or not of the chosen classes"
        findings.append(DatasetFinding(level=Severity.NOTE, check="unused files", message=text, samples=rest))
    return findings


class _Resolver:
    """Finds the file of a name."""

    def __init__(self, files: AudioFiles, extension: str) -> None:
        self._names = files.names
        self._extension = extension
        self._known = AUDIO_SUFFIXES | OTHER_AUDIO_SUFFIXES | {extension.lower()}
        self._folded: defaultdict[str, list[str]] = defaultdict(list)
        self._stems: defaultdict[str, list[str]] = defaultdict(list)

    def find(self, name: str) -> str | None:
        """Return the name of the file; None if there is none, or several."""
        candidates = (name,) if suffix_of(name) in self._known else (name, name + self._extension)
        exact = next((candidate for candidate in candidates if candidate in self._names), None)
        if exact is not None:
            return exact
        self._fill()
        for candidate in candidates:
            similar = self._folded.get(_folded(candidate), [])
            if similar:
                return similar[0] if len(similar) == 1 else None
        return None

    def hint(self, name: str) -> str:
        """Return a note with files of a similar name; empty if there are none."""
        self._fill()
        stem = name[: -len(suffix_of(name))] if suffix_of(name) in self._known else name
        same = self._folded.get(_folded(name), []) or self._stems.get(_folded(stem), [])
        same = same or self._stems.get(_folded(stem.rpartition("/")[2]), [])
        return f" (there is {' and '.join(sorted(map(printable, same))[:3])})" if same else ""

    def _fill(self) -> None:
        if self._folded or not self._names:
            return
        for name in self._names:
            self._folded[_folded(name)].append(name)
            stem = _folded(str(PurePosixPath(name).with_suffix("")))
            for key in {stem, stem.rpartition("/")[2]}:
                self._stems[key].append(name)


def _folded(name: str) -> str:
    """Return a name in one case and normal form, with forward slashes."""
    text = unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./"))
    return unicodedata.normalize("NFC", text.casefold())
