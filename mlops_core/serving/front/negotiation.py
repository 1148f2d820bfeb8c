"""Content types: what a request carries (``Content-Type``) and what its sender reads (``Accept``)."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from mlops_core.serving.refusals import RefusedRequestError, shown
from mlops_core.serving.workers.answers import AnswerFormat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_core.predictors import ContentType

_FORMATS = {
    "application/json": AnswerFormat.JSON,
    "application/jsonlines": AnswerFormat.JSON_LINES,
    "application/jsonl": AnswerFormat.JSON_LINES,
    "application/x-ndjson": AnswerFormat.JSON_LINES,
    "text/csv": AnswerFormat.CSV,
}
_RANGES = {"*/*": "application/json", "application/*": "application/json", "text/*": "text/csv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedAnswer:
    """The answer that a request asks for.

    Attributes:
        media_type: as the sender spells it, without parameters.
        format: its format.
        has_heading: a CSV table begins with the names of its columns.
    """

    media_type: str = "application/json"
    format: AnswerFormat = AnswerFormat.JSON
    has_heading: bool = False

    @property
    def content_type(self) -> str:
        """Value of the header ``Content-Type``."""
        if self.format is not AnswerFormat.CSV:
            return self.media_type
        return f"{self.media_type}; charset=utf-8; header={'present' if self.has_heading else 'absent'}"


def wanted_answer(accept: str | None, *, default: str = "application/json") -> WantedAnswer:
    """Return the answer to send for the header ``Accept``.

    Args:
        accept: the header; None or ``*/*`` for the default.
        default: media type of the default.

    Raises:
        RefusedRequestError: the server has none of the types (406).
    """
    if accept is None or not accept.strip() or accept.strip() == "*/*":
        return WantedAnswer(media_type=default, format=_FORMATS.get(default, AnswerFormat.JSON))
    for media_type, parameters in sorted(_accepted(accept), key=lambda pair: -_quality(pair[1])):
        name = default if media_type == "*/*" else _RANGES.get(media_type, media_type)
        if name in _FORMATS and _quality(parameters) > 0:
            return WantedAnswer(
                media_type=name, format=_FORMATS[name], has_heading=parameters.get("header", "").lower() == "present"
            )
    raise RefusedRequestError(
        HTTPStatus.NOT_ACCEPTABLE,
        f"Accept: {shown(accept)}: no such answer; accept one of {', '.join(dict.fromkeys(AnswerFormat))}",
    )


def is_answer_type(media_type: str) -> bool:
    """Return whether answers can have this media type."""
    return media_type in _FORMATS


def request_type(content_type: str | None, known: Sequence[ContentType]) -> ContentType:
    """Return the content type of a request.

    Raises:
        RefusedRequestError: the use case does not know it (415).
    """
    names = ", ".join(each.media_type for each in known)
    if content_type is None or not content_type.strip():
        raise RefusedRequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the request has no Content-Type; send one of {names}"
        )
    media_type = content_type.partition(";")[0].strip().lower()
    for each in known:
        if each.media_type == media_type:
            return each
    raise RefusedRequestError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"Content-Type: {shown(content_type)}: this model does not read it; send one of {names}",
    )


def _accepted(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    for item in header.split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        yield media_type.lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _quality(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
