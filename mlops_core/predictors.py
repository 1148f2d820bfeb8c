"""Loaded models: the `Predictor` that ``mlops_load_predictor`` returns, its answers, and further kinds of output.

An answer holds the scores of the classes, or the predicted number with an interval around it. A use case may add other
kinds of output to ``mlops predict``: it declares each as a `PredictionOutput`. How predictions are stored for the
metrics is the subject of `mlops_core.predictions`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

OptionValue = str | int | float | bool | None
_OPTION_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,15}")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The range in which a model expects the true number.

    Attributes:
        low: lower end, in the target's unit.
        high: upper end, not below the lower.
        level: share of samples whose true number should lie in the interval, between 0 and 1.

    Example:
        >>> Interval(low=8.5, high=11.5, level=0.9).level
        0.9
    """

    low: float
    high: float
    level: float

    def __post_init__(self) -> None:
        """Check the ends and the level.

        Raises:
            ValueError: the ends are not finite or not in order, or the level is not between 0 and 1.
        """
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"interval from {self.low} to {self.high}: expected finite ends, the lower first")
        if not 0 < self.level < 1:
            raise ValueError(f"interval level {self.level}: expected a share between 0 and 1, such as 0.9")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleScores:
    """The answer of a model for one sample: a file, or a part of a file that holds many.

    Attributes:
        path: the file, as passed to the predictor.
        scores: one score per class, in the order of `Predictor.classes`; (prediction,) for a regression.
        sample: which sample of a file that holds many, for example the row of a table; empty if the file is the sample.
        interval: the expected range of the true number of a regression; None if the model returns none.
        description: numbers that describe the sample itself, in the order of `DescribingPredictor.features`; empty
            unless the answer is of `DescribingPredictor.describe`.

    Example:
        >>> SampleScores(path="clip-1.wav", scores=(0.2, 0.8)).scores
        (0.2, 0.8)
    """

    path: str
    scores: tuple[float, ...]
    sample: str = ""
    interval: Interval | None = None
    description: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection(SampleScores):
    """The answer of a model that finds objects: the objects in one picture, with one score each.

    Attributes:
        labels: name of the class of each object.
        boxes: left, top, right and bottom of each object, in pixels of the picture as it is displayed.

    Example:
        >>> Detection(path="a.png", scores=(0.9,), labels=("valve",), boxes=((10.0, 20.0, 42.0, 40.0),)).labels
        ('valve',)
    """

    labels: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...]

    def __post_init__(self) -> None:
        """Check that there is a score, a label and a box for each object.

        Raises:
            ValueError: their numbers differ.
        """
        if not len(self.scores) == len(self.labels) == len(self.boxes):
            counts = f"{len(self.scores)} scores, {len(self.labels)} labels and {len(self.boxes)} boxes"
            raise ValueError(f"answer for {self.path}: {counts}; expected as many of each")

    def objects(self) -> list[dict[str, Any]]:
        """Return the objects as JSON types: label, score and box of each."""
        return [
            {"label": label, "score": float(score), "box": [float(value) for value in box]}
            for label, score, box in zip(self.labels, self.scores, self.boxes, strict=True)
        ]


@runtime_checkable
class Predictor(Protocol):
    """A trained model, loaded and ready to predict.

    A predictor may also have a method ``warm_up()``, which predicts a sample of its own making. Each process of
    ``mlops serve`` calls it once before the server reports that it is ready, so that no request waits for what is
    loaded on first use. It must import what any request may need: ``mlops package --serve`` leaves large packages out
    of an image if they were not imported by then.

    Example:
        >>> class Constant:
        ...     classes = ("no", "yes")
        ...
        ...     def predict(self, paths):
        ...         return (SampleScores(path=str(path), scores=(0.2, 0.8)) for path in paths)
        >>> isinstance(Constant(), Predictor)
        True
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores; empty for a regression."""

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield one answer per file, in order; for a file that holds many samples, one per sample, in order.

        A model that finds objects answers with `Detection`.

        Raises:
            DatasetError: a file cannot be used; the message names it.
        """


@runtime_checkable
class DescribingPredictor(Predictor, Protocol):
    """A predictor that also describes samples by numbers, so that ``mlops serve`` sees when they change.

    Without it, a server watches the scores. A description shows a change of the data that the scores hide, such as
    noise or another microphone. It is computed on the way to the prediction, from what has been decoded for it, and
    should cost no more than a few percent of it. The evaluation step describes the test samples in the same way and
    writes that with `mlops_core.write_descriptions`.

    Example:
        >>> class Loudness:
        ...     classes = ("no", "yes")
        ...     features = ("level",)
        ...
        ...     def predict(self, paths):
        ...         return self.describe(paths)
        ...
        ...     def describe(self, paths):
        ...         for path in paths:
        ...             yield SampleScores(path=str(path), scores=(0.2, 0.8), description=(0.5,))
        >>> isinstance(Loudness(), DescribingPredictor)
        True
    """

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the numbers of a description, at most 4096; empty if this model's samples are not described."""

    def describe(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield the answers of `predict`, each with a description; raises the errors of `predict`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """A change of sample files, such as noise, with which ``mlops drift simulate`` shows how soon drift is found.

    Attributes:
        name: such as ``"gain"``; unique within the predictor.
        strengths: one row of the result each; distinct finite numbers, at least one.
        write: called as ``write(source, target, strength)``: reads the sample file ``source`` and writes the changed
            copy to ``target``, which the predictor reads as it does ``source``. Equal arguments give equal copies; a
            file with many samples keeps their number and order. It may raise `DatasetError`.
        unit: of the strengths, such as ``"dB"``; empty for none.
        suffix: of ``target``, with its dot; empty for that of ``source``.

    Example:
        >>> copy = lambda source, target, strength: target.write_bytes(source.read_bytes())
        >>> list(Perturbation(name="gain", strengths=(-6, 3.5), unit="dB", write=copy).labels())
        ['gain -6 dB', 'gain 3.5 dB']
    """

    name: str
    strengths: tuple[float, ...]
    write: Callable[[Path, Path, float], object]
    unit: str = ""
    suffix: str = ""

    def __post_init__(self) -> None:
        """Check name, strengths and suffix.

        Raises:
            ValueError: one of them is not legal.
        """
        if not self.name.strip():
            raise ValueError("a perturbation has no name; expected one such as 'gain'")
        if not self.strengths or len(set(self.strengths)) < len(self.strengths):
            raise ValueError(f"perturbation '{self.name}': strengths {self.strengths}; expected distinct numbers")
        if not all(map(math.isfinite, self.strengths)):
            raise ValueError(f"perturbation '{self.name}': strengths {self.strengths}; expected finite numbers")
        if self.suffix and not _SUFFIX.fullmatch(self.suffix):
            raise ValueError(f"'{self.suffix}' is not a suffix of a file; expected one such as '.wav'")

    def labels(self) -> Iterator[str]:
        """Yield the name of each row: name, strength and unit."""
        return (" ".join(filter(None, (self.name, f"{strength:g}", self.unit))) for strength in self.strengths)


@runtime_checkable
class PerturbingPredictor(Predictor, Protocol):
    """A predictor that names changes of sample files, with which ``mlops drift simulate`` works.

    Without it, the simulation changes the vectors that describe the samples.

    Example:
        >>> class Names:
        ...     classes = ("no", "yes")
        ...     perturbations = ()
        ...
        ...     def predict(self, paths):
        ...         return (SampleScores(path=str(path), scores=(0.2, 0.8)) for path in paths)
        >>> isinstance(Names(), PerturbingPredictor)
        True
    """

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """Changes that are likely in operation; empty for none."""


# --- Inputs that arrive as bytes --------------------------------------------------------------------------


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
        if not _SUFFIX.fullmatch(self.suffix):
            raise ValueError(f"'{self.suffix}' is not a suffix of a file; expected one such as '.wav'")


# --- Further kinds of output ------------------------------------------------------------------------------


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
        formats: legal values of the option; ``--json`` selects the format ``"json"`` if it is one of them.
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
