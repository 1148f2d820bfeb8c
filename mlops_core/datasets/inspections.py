"""What a look into a data set finds: facts, tables, distributions, and findings with a level.

A plugin returns an `Inspection` from ``mlops_inspect_dataset``; the command line shows it. How a sample is read is the
plugin's business, how a distribution is drawn that of `mlops_core.report.kit`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import tree_manifest
from mlops_core.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Severity(StrEnum):
    """How bad a finding is: an error makes ``mlops datasets check`` fail."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFinding:
    """A problem in a data set, or a fact that the user should know.

    Attributes:
        level: how bad it is.
        check: what was looked for, for example ``"exact duplicates"``.
        message: one line.
        samples: the affected samples, as paths or identifiers that a user can find.

    Example:
        >>> DatasetFinding(
        ...     level=Severity.ERROR, check="empty files", message="1 file is empty", samples=("a.wav",)
        ... ).level
        <Severity.ERROR: 'error'>
    """

    level: Severity
    check: str
    message: str
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FactTable:
    """A table of text and numbers; each row has one cell a column.

    Example:
        >>> FactTable(title="samples per class", columns=("class", "samples"), rows=(("yes", 12), ("no", 9))).rows[0]
        ('yes', 12)
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]

    def __post_init__(self) -> None:
        """Refuse a row of another length."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise PluginError(f"table '{self.title}': the row {row} has not {len(self.columns)} cells")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A histogram of a number, or the size of each class.

    Attributes:
        name: for a file, for example ``"duration"``.
        title: one line.
        unit: of the edges; empty for classes.
        edges: ascending, one more than `counts`; empty for classes.
        labels: of the bars, one a count; empty for numbers.
        counts: the number of samples between the edges, or of the class.

    Example:
        >>> Distribution(name="duration", title="Duration", unit="s", edges=(0.0, 1.0, 2.0), counts=(3, 5)).counts
        (3, 5)
    """

    name: str
    title: str
    unit: str = ""
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if len(self.labels or self.edges[1:]) != len(self.counts):
            raise PluginError(f"distribution '{self.name}': {len(self.counts)} counts do not fit its edges or labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that was found.

    Example:
        >>> fault = DatasetFinding(level=Severity.ERROR, check="empty files", message="1 file is empty")
        >>> Inspection(facts=(("samples", "12"),), findings=(fault,)).errors
        1
    """

    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[FactTable, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    findings: tuple[DatasetFinding, ...] = ()

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.level is Severity.ERROR for finding in self.findings)

    def to_json(self) -> Mapping[str, Any]:
        """Return everything as JSON types."""
        return asdict(self)


def inspect_files(folder: Path) -> Inspection:
    """Return facts about any folder: its files by type, and its empty files."""
    manifest = tree_manifest(folder)
    sizes = {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    kinds = Counter(path.suffix.lower() or "no suffix" for path in sizes)
    empty = tuple(sorted(str(path) for path, size in sizes.items() if size == 0))
    finding = DatasetFinding(
        level=Severity.WARNING, check="empty files", message=f"{len(empty)} file(s) are empty", samples=empty
    )
    return Inspection(
        facts=(
            ("files", str(manifest.count)),
            ("bytes", str(manifest.size_bytes)),
            ("digest", manifest.digest),
        ),
        tables=(FactTable(title="files by kind", columns=("kind", "files"), rows=tuple(kinds.most_common())),),
        findings=(finding,) if empty else (),
    )
