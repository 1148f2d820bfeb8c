"""What a look into a data set finds: facts, tables, distributions, and findings with a level.

A plugin returns an `Inspection` from ``mlops_inspect_dataset``; the command line shows it. How a sample is read is the
plugin's business, how a distribution is drawn that of `mlops_core.report.kit`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import tree_manifest
from mlops_core.datasets.listing import list_data_files
from mlops_core.errors import PluginError
from mlops_core.names import require_name
from mlops_core.quantities import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.datasets.listing import DataFiles


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
        """Refuse what cannot be drawn, and a name that cannot be a file's."""
        require_name(self.name, what="distribution", error=PluginError)
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
    """Return facts about any folder: its files by type, empty and skipped files, and links that lead to nothing."""
    manifest = tree_manifest(folder)
    listed = list_data_files(folder)
    kinds = Counter(PurePosixPath(path).suffix.lower() or "no suffix" for path in listed.files)
    empty = tuple(path for path in listed.files if (folder / path).stat().st_size == 0)
    return Inspection(
        facts=(
            ("files", str(manifest.count)),
            ("bytes", str(manifest.size_bytes)),
            ("digest", manifest.digest),
        ),
        tables=(FactTable(title="files by kind", columns=("kind", "files"), rows=tuple(kinds.most_common())),),
        findings=(*_empty(empty), *findings_of_listing(listed)),
    )


def findings_of_listing(listed: DataFiles) -> tuple[DatasetFinding, ...]:
    """Return a note of hidden and tool files that were skipped, and an error of links that lead to nothing.

    Example:
        >>> [str(finding.level) for finding in findings_of_listing(DataFiles(skipped={".DS_Store": 2}, broken=("a",)))]
        ['error', 'note']
    """
    findings = []
    if listed.broken:
        text = counted(len(listed.broken), "link", one="leads to nothing", more="lead to nothing")
        text += " or to one of their own parent folders"
        findings.append(DatasetFinding(level=Severity.ERROR, check="broken links", message=text, samples=listed.broken))
    if listed.skipped:
        findings.append(
            DatasetFinding(level=Severity.NOTE, check="hidden and tool files", message=listed.skipped_text())
        )
    return tuple(findings)


def _empty(files: tuple[str, ...]) -> tuple[DatasetFinding, ...]:
    if not files:
        return ()
    text = counted(len(files), "file", one="is empty", more="are empty")
    return (DatasetFinding(level=Severity.WARNING, check="empty files", message=text, samples=files),)
