"""Rows of predictions kept as columns: tens of bytes each, where an object for each takes hundreds."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from mlops_core.predictions.records import Prediction
from mlops_core.predictors import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TEXT, _FLOAT, _INT = range(3)
_LARGEST_INT = 1 << 53
"""Whole numbers up to this one are exact as floating-point numbers."""
_DISTINCT = 1 << 12
"""Up to so many distinct texts, each is stored once, wherever it occurs."""
_make = Prediction.__new__
# A frozen data class sets its attributes through a slow way; these are what it uses in the end.
_set_sample, _set_part, _set_group, _set_label, _set_scores, _set_interval, _set_model, _set_truth, _set_found = (
    Prediction.__dict__[name].__set__
    for name in ("sample", "part", "group", "label", "scores", "interval", "model", "truth", "found")
)
_make_interval = Interval.__new__
_set_low, _set_high, _set_level = (Interval.__dict__[name].__set__ for name in ("low", "high", "level"))


class _Texts:
    """A column of texts; one that is equal to the text before it, or to one of few, is not stored again."""

    __slots__ = ("_bytes", "_ends", "_index", "_known", "_last", "_last_number")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])
        self._index = array("I")
        self._known: dict[str, int] | None = {}
        self._last: str | None = None
        self._last_number = 0

    def append(self, text: str) -> None:
        if text != self._last:
            self._last, self._last_number = text, self._number(text)
        self._index.append(self._last_number)

    def _number(self, text: str) -> int:
        number = self._known.get(text) if self._known is not None else None
        if number is not None:
            return number
        self._bytes += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))
        number = len(self._ends) - 2
        if self._known is not None:
            self._known[text] = number
            if len(self._known) > _DISTINCT:
                self._known = None
        return number

    def __getitem__(self, row: int) -> str:
        number = self._index[row]
        return self._bytes[self._ends[number] : self._ends[number + 1]].decode("utf-8", "surrogatepass")


class _Columns:
    """Every field of every row; rows that do not fit into columns, such as damaged ones, are kept as they are."""

    __slots__ = (
        "_groups",
        "_intervals",
        "_kinds",
        "_labels",
        "_models",
        "_odd",
        "_parts",
        "_samples",
        "_scores",
        "_text",
        "width",
    )

    def __init__(self, width: int) -> None:
        self.width = width
        self._samples, self._groups, self._text, self._models = (_Texts() for _ in range(4))
        self._parts, self._scores, self._labels, self._kinds = array("q"), array("d"), array("d"), bytearray()
        self._intervals: tuple[array[float], array[float], array[float]] | None = None
        self._odd: dict[int, Prediction] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    def append(self, row: Prediction) -> None:
        if not self._is_regular(row):
            self._odd[len(self._kinds)] = row
            row = Prediction(sample="", group="", label="", scores=(0.0,) * self.width)
        self._samples.append(row.sample)
        self._groups.append(row.group)
        self._models.append(row.model)
        self._parts.append(row.part)
        self._scores.extend(row.scores)
        label = row.label
        if isinstance(label, str):
            self._text.append(label)
            self._labels.append(0.0)
            self._kinds.append(_TEXT)
        else:
            self._text.append("")
            self._labels.append(label)
            self._kinds.append(_INT if isinstance(label, int) else _FLOAT)
        if row.interval is not None or self._intervals is not None:
            self._append_interval(row.interval)

    def _is_regular(self, row: Prediction) -> bool:
        label = row.label
        return (
            type(row.sample) is type(row.group) is type(row.model) is str
            and type(row.part) is int
            and abs(row.part) < _LARGEST_INT
            and (type(label) in (str, float) or (type(label) is int and abs(label) <= _LARGEST_INT))
            and len(row.scores) == self.width
            and not row.truth
            and not row.found
            and _are_exact(row.scores)
        )

    def _append_interval(self, interval: Interval | None) -> None:
        if self._intervals is None:
            before = [math.nan] * (len(self._kinds) - 1)
            self._intervals = (array("d", before), array("d", before), array("d", before))
        values = (interval.low, interval.high, interval.level) if interval else (math.nan,) * 3
        for column, value in zip(self._intervals, values, strict=True):
            column.append(value)

    def group(self, row: int) -> str:
        return self._odd[row].group if row in self._odd else self._groups[row]

    def sample(self, row: int) -> str:
        return self._odd[row].sample if row in self._odd else self._samples[row]

    def row(self, row: int) -> Prediction:
        if row in self._odd:
            return self._odd[row]
        made = _make(Prediction)
        kind = self._kinds[row]
        _set_sample(made, self._samples[row])
        _set_part(made, self._parts[row])
        _set_group(made, self._groups[row])
        _set_label(
            made, self._text[row] if kind == _TEXT else self._labels[row] if kind == _FLOAT else int(self._labels[row])
        )
        _set_scores(made, tuple(self._scores[row * self.width : (row + 1) * self.width]))
        _set_interval(made, self._interval(row) if self._intervals else None)
        _set_model(made, self._models[row])
        _set_truth(made, ())
        _set_found(made, ())
        return made

    def _interval(self, row: int) -> Interval | None:
        assert self._intervals is not None  # noqa: S101  for mypy
        lows, highs, levels = self._intervals
        if math.isnan(lows[row]):
            return None
        made = _make_interval(Interval)  # its numbers have been checked
        _set_low(made, lows[row])
        _set_high(made, highs[row])
        _set_level(made, levels[row])
        return made


def _are_exact(scores: Sequence[float]) -> bool:
    types = set(map(type, scores))
    return types == {float} or (types <= {float, int} and all(abs(score) <= _LARGEST_INT for score in scores))


class PredictionRows(Sequence[Prediction]):
    """Rows of predictions, in order; each is made when it is read, so that a million of them fit into little memory.

    They are equal to a tuple or a list of the same rows, and ``+`` returns a tuple.

    Example:
        >>> row = Prediction(sample="clip-1.wav", group="speaker-7", label="yes", scores=(0.2, 0.8))
        >>> rows = PredictionRows.of([row], width=2)
        >>> len(rows), rows[0].label, rows == (row,)
        (1, 'yes', True)
    """

    __slots__ = ("_columns", "_order")
    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have none

    def __init__(self, columns: _Columns, order: Sequence[int]) -> None:
        """Use `of`."""
        self._columns = columns
        self._order = order

    @classmethod
    def of(cls, rows: Iterable[Prediction], *, width: int) -> PredictionRows:
        """Keep `rows` as columns.

        Args:
            rows: read once.
            width: number of scores per row.
        """
        columns = _Columns(width)
        for row in rows:
            columns.append(row)
        return cls(columns, range(len(columns)))

    def select(self, positions: Iterable[int]) -> PredictionRows:
        """Return the rows at some positions, in that order, without copying them."""
        return PredictionRows(self._columns, array("I", (self._order[position] for position in positions)))

    def group(self, position: int) -> str:
        """Return the group of a row, without making the row."""
        return self._columns.group(self._order[position])

    def sample(self, position: int) -> str:
        """Return the sample of a row, without making the row."""
        return self._columns.sample(self._order[position])

    @overload
    def __getitem__(self, position: int) -> Prediction: ...

    @overload
    def __getitem__(self, position: slice) -> PredictionRows: ...

    def __getitem__(self, position: int | slice) -> Prediction | PredictionRows:
        """Return a row, or the rows of a slice."""
        if isinstance(position, slice):
            return PredictionRows(self._columns, self._order[position])
        return self._columns.row(self._order[position])

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._order)

    def __iter__(self) -> Iterator[Prediction]:
        """Yield the rows one by one."""
        return map(self._columns.row, self._order)

    def __eq__(self, other: object) -> bool:
        """Return whether `other` is a sequence of the same rows."""
        if not isinstance(other, PredictionRows | tuple | list):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    def __add__(self, other: Sequence[Prediction]) -> tuple[Prediction, ...]:
        """Return both as a tuple."""
        return (*self, *other)

    def __radd__(self, other: Sequence[Prediction]) -> tuple[Prediction, ...]:
        """Return both as a tuple."""
        return (*other, *self)

    def __repr__(self) -> str:
        """Return how many rows there are, in one line."""
        return f"<PredictionRows {len(self)} rows>"
