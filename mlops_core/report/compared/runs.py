"""Reads everything that the comparison of two runs shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.report.compared.code import ChangedFile, compare_code
from mlops_core.report.compared.data import compare_files, compare_samples
from mlops_core.report.compared.paired_tests import PairedTest, paired_tests
from mlops_core.report.compared.sides import compare_sides
from mlops_core.report.comparison import RunComparison, compare_runs
from mlops_core.report.facts import Missing, RunFacts, read_facts
from mlops_core.report.previews import read_previews

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.datasets.previews import Preview
    from mlops_core.report.compared.data import FileChanges, SampleChanges
    from mlops_core.report.compared.sides import ChangedSides
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.store import Store

SHOWN_SIDES = 12
"""Number of samples that are shown with their previews, in each direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRuns:
    """Two runs, compared in full.

    Attributes:
        earlier: facts of the earlier run.
        later: facts of the later run.
        facts: the comparison of their metrics and facts.
        samples: how the samples differ.
        files: how the files of the data differ.
        sources: how the source files differ.
        tests: metric -> the paired test, or why there is none.
        sides: the samples that changed sides.
        previews: sample -> its preview, of those that a page shows.
    """

    earlier: RunFacts
    later: RunFacts
    facts: RunComparison
    samples: SampleChanges | Missing
    files: FileChanges | Missing
    sources: tuple[ChangedFile, ...] | Missing
    tests: Mapping[str, PairedTest | Missing]
    sides: ChangedSides | Missing
    previews: Mapping[str, Preview | Missing] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON types only; a part that is not available is ``{"missing": reason}``."""
        sources = self.sources
        return {
            **self.facts.to_json(),
            "samples": _json(self.samples),
            "files": _json(self.files),
            "sources": _json(sources) if isinstance(sources, Missing) else [file.to_json() for file in sources],
            "tests": {name: _json(test) for name, test in self.tests.items()},
            "changed_sides": _json(self.sides),
        }


def _json(part: Any) -> dict[str, Any]:
    if isinstance(part, Missing):
        return {"missing": part.reason}
    data: dict[str, Any] = part.to_json()
    return data


def compare_stored_runs(
    store: Store, earlier_id: str, later_id: str, *, use_case: UseCase | None = None, with_previews: bool = False
) -> ComparedRuns:
    """Compare two runs in full.

    Args:
        store: the workspace that holds both.
        earlier_id: id of a run, the beginning of one, or ``latest``.
        later_id: the same.
        use_case: of the runs; None to load it.
        with_previews: also read the previews of the samples that changed sides.

    Raises:
        UsageError: the workspace has no such run.
        StoreError: a record is damaged.
    """
    earlier, later = read_facts(store, earlier_id), read_facts(store, later_id)
    compared = compare_runs(earlier, later)
    sides = compare_sides(store, earlier.record, later.record)
    previews: dict[str, Preview | Missing] = {}
    if with_previews and not isinstance(sides, Missing):
        shown = (*sides.lost[:SHOWN_SIDES], *sides.gained[:SHOWN_SIDES])
        samples = (change.sample for change in shown)
        previews = dict(read_previews(store, later.record, samples, use_case=use_case))
    return ComparedRuns(
        earlier=earlier,
        later=later,
        facts=compared,
        samples=compare_samples(store, earlier.record, later.record),
        files=compare_files(store, earlier.record, later.record),
        sources=compare_code(store, earlier.record, later.record),
        tests=paired_tests(store, earlier, later, compared, use_case=use_case),
        sides=sides,
        previews=previews,
    )
