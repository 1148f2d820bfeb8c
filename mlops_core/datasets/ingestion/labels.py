"""Where a data set keeps its labels, and how an annotation changes them: a folder per class, or a column of a table."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.datasets.ingestion.annotations import Annotation


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """A CSV table with the labels, for a data set without a folder per class.

    Attributes:
        file: relative path of the table in the data set.
        sample: column with the sample: its name or, for a table without names, its position from 0.
        label: column with the label, likewise.
    """

    file: str
    sample: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What annotations changed.

    Attributes:
        corrected: samples with another label than before.
        added: new samples.
        confirmed: samples that had the label already.
    """

    corrected: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()


def apply_annotations(
    folder: Path, held: Mapping[str, Annotation], *, annotations: Path, table: LabelTable | None = None
) -> Changes:
    """Apply annotations to the files of a data set.

    Args:
        folder: with the data set; it is changed.
        held: sample -> the annotation that holds.
        annotations: folder with the files of new samples.
        table: with the labels; None for a folder per class.

    Raises:
        DatasetError: a sample does not exist, a label is unknown, or a new sample exists or has no file.
    """
    labels = _TableLabels(folder, table) if table else _FolderLabels(folder)
    additions = {sample: each for sample, each in held.items() if each.file and not labels.has(sample)}
    introduced = {each.label for each in additions.values()}
    corrected, confirmed = [], []
    for sample, annotation in held.items():
        if sample in additions:
            continue
        if not labels.has(sample):
            raise DatasetError(
                f"annotation {annotation.origin}: the data set has no sample {sample}; name one that it has, or give "
                "the file of a new sample"
            )
        if annotation.label == labels.of(sample):
            confirmed.append(sample)
            continue
        known = labels.known(sample) | introduced
        if annotation.label not in known:
            near = did_you_mean(annotation.label, known) or f"; labels: {', '.join(sorted(known)[:20])}"
            raise DatasetError(
                f"annotation {annotation.origin}: the data set has no label {annotation.label!r}{near}; a new label "
                "comes with a new sample"
            )
        labels.correct(sample, annotation)
        corrected.append(sample)
    for sample, annotation in additions.items():
        source = annotations / annotation.file
        if not source.is_file():
            raise DatasetError(f"annotation {annotation.origin}: no file {annotation.file} beside the annotations")
        labels.add(sample, annotation, source)
    labels.finish()
    return Changes(corrected=tuple(corrected), added=tuple(additions), confirmed=tuple(confirmed))


class _FolderLabels:
    """The label of a sample is the name of its folder; the folders beside it are the other labels."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._moves: list[tuple[Path, Path, str]] = []

    def has(self, sample: str) -> bool:
        return (self._folder / sample).is_file()

    def of(self, sample: str) -> str:
        return (self._folder / sample).parent.name if "/" in sample else ""

    def known(self, sample: str) -> set[str]:
        if "/" not in sample:
            return set()
        return {each.name for each in (self._folder / sample).parent.parent.iterdir() if each.is_dir()}

    def correct(self, sample: str, annotation: Annotation) -> None:
        source = self._folder / sample
        self._moves.append((source, source.parent.parent / annotation.label / source.name, annotation.origin))

    def add(self, sample: str, annotation: Annotation, source: Path) -> None:
        if "/" not in sample:
            raise DatasetError(
                f"annotation {annotation.origin}: {sample} is in no class folder; expected LABEL/{sample}"
            )
        place = self._folder / sample
        target = place.parent.parent / annotation.label / place.name
        _require_free(target, annotation.origin)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    def finish(self) -> None:
        """Move files in two steps, so that two samples of one name can change places."""
        waiting = []
        for number, (source, target, origin) in enumerate(self._moves):
            aside = self._folder / f".moving-{number}"
            source.rename(aside)
            waiting.append((aside, target, origin))
        for aside, target, origin in waiting:
            _require_free(target, origin)
            target.parent.mkdir(parents=True, exist_ok=True)
            aside.rename(target)


def _require_free(target: Path, origin: str) -> None:
    if target.exists():
        raise DatasetError(
            f"annotation {origin}: {target.parent.name}/{target.name} exists already; rename one of the two samples"
        )


class _TableLabels:
    """Samples and labels are columns of a CSV table; line ends, delimiter and order of the table are kept."""

    def __init__(self, folder: Path, table: LabelTable) -> None:
        self._folder = folder
        self._table = table
        try:
            text = (folder / table.file).read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"table of labels {table.file} cannot be read: {error}; expected CSV in UTF-8") from None
        self._line_end = "\r\n" if "\r\n" in text else "\n"
        first = text.partition("\n")[0]
        self._delimiter = max(",;\t", key=first.count)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter) if row]
        has_header = not (table.sample.isdecimal() and table.label.isdecimal())
        self._header = rows[:1] if has_header else []
        self._rows = rows[len(self._header) :]
        self._sample, self._label = (self._position(name) for name in (table.sample, table.label))
        self._by_sample: dict[str, list[str]] = {}
        for row in self._rows:
            if len(row) <= max(self._sample, self._label):
                raise DatasetError(f"table of labels {table.file}: the row {row[:3]} has too few columns")
            if self._by_sample.setdefault(row[self._sample], row) is not row:
                raise DatasetError(f"table of labels {table.file} names the sample {row[self._sample]!r} twice")

    def _position(self, name: str) -> int:
        if not self._header:
            return int(name)
        columns = self._header[0]
        if name not in columns:
            raise DatasetError(
                f"table of labels {self._table.file} has no column '{name}'{did_you_mean(name, columns)}"
            )
        return columns.index(name)

    def has(self, sample: str) -> bool:
        return sample in self._by_sample

    def of(self, sample: str) -> str:
        return self._by_sample[sample][self._label]

    def known(self, sample: str) -> set[str]:  # noqa: ARG002  the labels are those of the whole table
        return {row[self._label] for row in self._rows}

    def correct(self, sample: str, annotation: Annotation) -> None:
        self._by_sample[sample][self._label] = annotation.label

    def add(self, sample: str, annotation: Annotation, source: Path) -> None:
        target = self._folder / sample
        _require_free(target, annotation.origin)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        row = [""] * max(self._sample + 1, self._label + 1, *map(len, (*self._header, *self._rows[:1])))
        row[self._sample], row[self._label] = sample, annotation.label
        self._rows.append(row)

    def finish(self) -> None:
        with (self._folder / self._table.file).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter=self._delimiter, lineterminator=self._line_end)
            writer.writerows([*self._header, *self._rows])
