"""The content types of requests that a served model reads."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentType:
    """A content type of requests that a served model reads.

    The body of a request is written to a file with the suffix, which is passed to `Predictor.predict`.

    Attributes:
        media_type: such as ``"audio/wav"``, in lower case and without parameters.
        suffix: of the file, with its dot.
        has_rows: a file holds one sample per row, so a request may carry any number of them.

    Example:
        >>> ContentType(media_type="audio/wav", suffix=".wav").suffix
        '.wav'
    """

    media_type: str
    suffix: str
    has_rows: bool = False

    def __post_init__(self) -> None:
        """Check the type and the suffix.

        Raises:
            ValueError: one of them is not legal.
        """
        if not _MEDIA_TYPE.fullmatch(self.media_type):
            raise ValueError(f"'{self.media_type}' is not a media type; expected lower case, such as 'audio/wav'")
        if not SUFFIX.fullmatch(self.suffix):
            raise ValueError(f"'{self.suffix}' is not a suffix of a file; expected one such as '.wav'")
