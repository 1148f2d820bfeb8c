"""Further kinds of output that a use case adds to ``mlops predict``, each with options of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OptionValue = str | int | float | bool | None
_OPTION_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class OptionType(StrEnum):
    """Type of the value of an `OutputOption`."""

    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"
    FLAG = "flag"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOption:
    """A command-line option that belongs to a `PredictionOutput`.

    Attributes:
        name: the option without its dashes, such as ``"threshold"``.
        help: one line for ``--help``.
        type: type of the value.
        default: value if the option is not set.
        minimum: lowest legal number; None for no limit.
        maximum: highest legal number; None for no limit.
        metavar: placeholder of the value in ``--help``; empty for the type's own.

    Example:
        >>> OutputOption(name="threshold", help="Smallest score.", type=OptionType.FLOAT, default=0.5).default
        0.5
    """

    name: str
    help: str
    type: OptionType = OptionType.TEXT
    default: OptionValue = None
    minimum: float | None = None
    maximum: float | None = None
    metavar: str = ""

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            ValueError: it cannot be the name of an option.
        """
        _require_option_name(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionOutput:
    """A kind of output that a use case adds to ``mlops predict``, chosen with ``--<name> FORMAT``.

    Attributes:
        name: name of the kind, and of the option that selects it, such as ``"events"``.
        help: one line for ``--help``.
        formats: legal values of the option; ``--json`` in place of the first one selects the format ``"json"`` if
            it is one of them.
        write: ``"package.module:function"``, called as ``function(predictor, request, emitter)`` with the loaded
            `Predictor`, an `OutputRequest` and an `OutputEmitter`.
        options: options that are legal only together with this output.
        reads_standard_input: whether ``-`` is legal in place of a file.

    Example:
        >>> PredictionOutput(
        ...     name="events", help="Write events.", formats=("csv", "json"), write="my_plugin.events:write"
        ... ).formats
        ('csv', 'json')
    """

    name: str
    help: str
    formats: tuple[str, ...]
    write: str
    options: tuple[OutputOption, ...] = ()
    reads_standard_input: bool = False

    def __post_init__(self) -> None:
        """Check names and formats.

        Raises:
            ValueError: the name is not legal, there is no format, or `write` is not a reference to a function.
        """
        _require_option_name(self.name)
        if not self.formats:
            raise ValueError(f"output '{self.name}' has no format; expected at least one")
        if not _REFERENCE.fullmatch(self.write):
            raise ValueError(f"output '{self.name}': write is {self.write!r}; expected 'package.module:function'")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionInput:
    """One input of ``mlops predict``.

    Attributes:
        name: as on the command line; ``-`` for standard input.
        content: an existing file, or a stream that cannot seek.

    Example:
        >>> PredictionInput(name="clip-1.wav", content=Path("clip-1.wav")).name
        'clip-1.wav'
    """

    name: str
    content: Path | IO[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRequest:
    """What the user asks of a `PredictionOutput`.

    Attributes:
        inputs: files and streams, in the order of the command line.
        format: one of the output's formats.
        options: name -> value of each of the output's options; the default where it was not set.

    Example:
        >>> OutputRequest(inputs=(), format="csv", options={"threshold": 0.5}).options["threshold"]
        0.5
    """

    inputs: tuple[PredictionInput, ...]
    format: str
    options: Mapping[str, OptionValue]


class OutputEmitter(Protocol):
    """Where a `PredictionOutput` writes its results.

    Example:
        >>> def write(predictor, request, emitter: OutputEmitter):
        ...     for one in request.inputs:
        ...         emitter.line(one.name)
    """

    def line(self, text: str) -> None:
        """Write a line to standard output at once, so that a stream can be followed."""

    def document(self, data: object) -> None:
        """Write `data` (JSON types) to standard output; call once per request."""

    def note(self, text: str) -> None:
        """Write a line that is not part of the result, to standard error."""


def _require_option_name(name: str) -> None:
    if not _OPTION_NAME.fullmatch(name):
        raise ValueError(f"'{name}' is not a valid option name; expected lower-case words joined by hyphens")
