"""Tracks: pictures of one object, recognised by their names, belong to one part of a split.

``dataset.group_pattern`` extracts the track from a file name or, where the names do not match, from the path below the
class folder. A pattern that fits the names badly would let frames of one track into several parts, so its fit is
measured, reported, and refused where it groups nothing. Marks of copies and of augmented pictures, such as `` (1)``,
`` - Copy``, ``_aug2`` and ``_flip``, and the suffixes of earlier formats are not part of a name. A track whose name
continues that of another track belongs to that track.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_image_classification.data.labelled import TEST, VALIDATION, group_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlops_image_classification.data.labelled import Picture

_CHANGES = "copy|aug|augmented|flip|flipped|hflip|vflip|mirror|mirrored|blur|blurred|noise|noisy|rotated"
_FORMATS = "ppm|png|jpe?g|bmp"
_COPY = re.compile(
    rf"(?: ?\(\d+\)| - copy(?: \(\d+\))?|[ _-](?:{_CHANGES})[ _-]?\d*"
    rf"|(?:[._](?:{_FORMATS}))+\.rf\.\w+|\.(?:{_FORMATS})(?=\.\w))+"  # an export of Roboflow; a format before another
    r"(?=\.\w*[A-Za-z]\w*$|$)",
    re.IGNORECASE,
)
_FRAME = re.compile(r"(?:^|[\W\d_])(?:frame|frm)[ _-]?\d+$", re.IGNORECASE)
_SHOWN = 3
_LINKED = 2
_MINIMUM_PICTURES = 3
"""A class with fewer pictures cannot be split at all, whatever its tracks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFit:
    """How well a group pattern fits the names of the pictures.

    Attributes:
        pattern: ``dataset.group_pattern``.
        matched: number of pictures whose name matches.
        total: number of pictures to which the pattern was applied.
        linked: number of groups of at least two pictures.
        unmatched: the first names that do not match.
        classes: number of classes.
        whole: classes of which all pictures are one track.
        frame: a track that is named like a frame, if most of them are; else empty.
        is_drawn: whether the split draws a part; otherwise the data set assigns all of them.
    """

    pattern: str
    matched: int
    total: int
    linked: int
    unmatched: tuple[str, ...] = ()
    classes: int
    whole: tuple[str, ...] = ()
    frame: str = ""
    is_drawn: bool = True

    @property
    def problem(self) -> str:
        """Return why a split by these tracks is refused; empty if it is not."""
        if self.is_drawn and self.total and not self.linked:
            shown = f", such as {', '.join(self.unmatched)}" if self.unmatched else ""
            return (
                f"dataset.group_pattern '{self.pattern}' groups nothing: {self.matched} of {self.total} names match, "
                f"and no two pictures have the same track{shown}; set it to a pattern that extracts the track from the "
                "names, or to null if the pictures are unrelated"
            )
        if self.is_drawn and self.frame:
            return (
                f"dataset.group_pattern '{self.pattern}' takes '{self.frame}' for a track, named like a frame; "
                "set it to a pattern that extracts the track from the names, or to null if the pictures are unrelated"
            )
        if len(self.whole) > self.classes / 2:
            return (
                f"dataset.group_pattern '{self.pattern}' makes one track of all pictures of "
                f"{len(self.whole)} class(es), such as '{self.whole[0]}', which cannot be split; set it to a pattern "
                "that extracts the track from the names, or to null if the pictures are unrelated"
            )
        return ""

    @property
    def summary(self) -> str:
        """Return the numbers as one line; names that do not match are shown."""
        text = f"dataset.group_pattern: {self.matched} of {self.total} names match, {self.linked} tracks"
        if self.matched == self.total:
            return text
        rest = f"{self.total - self.matched} picture(s) of other names are treated as unrelated"
        return f"{text}; {rest}: {', '.join(self.unmatched)}{' ...' * (self.total - self.matched > _SHOWN)}"


def track_in(path: str, pattern: str | None) -> str | None:
    """Return the track of a picture, given its path below the class folder; None if the pattern does not match.

    The name of the file is searched first, then the path, so that a folder per track is recognised, too.
    """
    if pattern is None:
        return None
    folder, slash, name = path.rpartition("/")
    name = _COPY.sub("", name)
    path = f"{folder}{slash}{name}"
    match = re.search(pattern, name) or (re.search(pattern, path) if name != path else None)
    return unicodedata.normalize("NFC", match[1]) if match and match[1] else None


def joined_tracks(pictures: Iterable[Picture]) -> list[Picture]:
    """Return the pictures with each track that continues the name of another track of its class joined to that.

    So the frames of ``00003`` and those of ``00003_00012``, which are made from one of them, are one group.
    """
    listed = list(pictures)
    tracks: defaultdict[str, set[str]] = defaultdict(set)
    for picture in listed:
        if picture.track:
            tracks[picture.label].add(picture.track)
    return [_joined(picture, tracks[picture.label]) if picture.track else picture for picture in listed]


def _joined(picture: Picture, tracks: set[str]) -> Picture:
    track = picture.track or ""
    shorter = (track[: found.start()] for found in re.finditer(r"[\W_]", track))
    first = next((name for name in shorter if name in tracks), None)
    return (
        picture if first is None else replace(picture, track=first, group=group_of(picture.name, picture.label, first))
    )


def fit_of_tracks(pictures: Sequence[Picture], pattern: str) -> TrackFit:
    """Return how well `pattern` fits the pictures that it was applied to."""
    parts = {picture.part for picture in pictures}
    applied = [picture for picture in pictures if picture.track is not None]
    unmatched = [picture.name.rpartition("/")[2] for picture in applied if not picture.track]
    sizes = Counter(picture.group for picture in applied)
    by_class: defaultdict[str, set[str]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for picture in applied:
        by_class[picture.label].add(picture.group)
        counts[picture.label] += 1
    whole = (name for name, groups in by_class.items() if len(groups) == 1 and counts[name] >= _MINIMUM_PICTURES)
    tracks = sorted({picture.track for picture in applied if picture.track})
    frames = [track for track in tracks if _FRAME.search(track)]
    return TrackFit(
        pattern=pattern,
        matched=len(applied) - len(unmatched),
        total=len(applied),
        linked=sum(size >= _LINKED for size in sizes.values()),
        unmatched=tuple(unmatched[:_SHOWN]),
        classes=len(by_class),
        whole=tuple(sorted(whole)),
        frame=frames[0] if len(frames) > len(tracks) / 2 else "",
        is_drawn="" in parts or not {VALIDATION, TEST} <= parts,
    )
