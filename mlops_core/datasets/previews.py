"""What a sample looks or sounds like: `Preview`, which a plugin returns for the report of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Marked(Protocol):
        """A box with what became of it; `mlops_core.predictions.boxes.MarkedBox` is one."""

        @property
        def label(self) -> str:
            """Name of the class."""

        @property
        def box(self) -> tuple[float, float, float, float]:
            """Left, top, right and bottom."""

        @property
        def fate(self) -> str:
            """``right``, ``confused``, ``missed`` or ``invented``."""


MEDIA_TYPES = (
    "audio/flac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/plain",
)
"""What every browser shows and none executes; SVG and HTML are not among them."""
PREVIEW_LIMIT = 256 * 1024
"""Bytes of one preview; a report holds several in one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A sample in a form that a person can see or hear.

    Attributes:
        media_type: one of `MEDIA_TYPES`; ``text/plain`` is UTF-8.
        data: the content, at most `PREVIEW_LIMIT` bytes.
        caption: one line, for example ``"2.0 s of 5.0 s, from 1.5 s"``; may be empty.

    Example:
        >>> Preview(media_type="text/plain", data="a short text".encode(), caption="the first line").kind
        'text'
    """

    media_type: str
    data: bytes
    caption: str = ""

    def __post_init__(self) -> None:
        """Refuse what a report cannot contain."""
        if self.media_type not in MEDIA_TYPES:
            raise PluginError(f"preview: media type {self.media_type!r}; expected one of {', '.join(MEDIA_TYPES)}")
        if len(self.data) > PREVIEW_LIMIT:
            raise PluginError(f"preview: {len(self.data)} bytes; at most {PREVIEW_LIMIT} fit into a report")

    @property
    def kind(self) -> str:
        """Return ``audio``, ``image`` or ``text``."""
        return self.media_type.partition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedSample:
    """A sample whose detections were judged: the argument of `mlops_get_boxes_preview`.

    Attributes:
        sample: id of the sample.
        boxes: its true boxes, then the invented ones, each with what became of it.

    Example:
        >>> MarkedSample(sample="a.png", boxes=()).sample
        'a.png'
    """

    sample: str
    boxes: Sequence[Marked]
