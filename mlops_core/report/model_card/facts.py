"""What a model card says, read from the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.evaluation.metrics import MetricReport
from mlops_core.installed.distributions import summary_of
from mlops_core.report.facts import read_facts, recorded_licences
from mlops_core.report.split_rows import read_part_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.datasets.licences import Licences
    from mlops_core.report.facts import Missing, RunFacts
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """Everything that a model card says.

    Attributes:
        run: the run that made the model, with its metrics.
        licences: of the data and the base models; None if the run has no record of them.
        parts: part of the split -> number of samples, or why they are not known.
        version: number of the model version; None if the model is not registered.
        description: one line about the use case; empty for none.
        licence: of the model itself, as its owner declares it; empty if nobody has.
    """

    run: RunFacts
    licences: Licences | None
    parts: Mapping[str, int] | Missing
    version: int | None = None
    description: str = ""
    licence: str = ""

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.run.record

    @property
    def report(self) -> MetricReport | None:
        """The evaluation; None if there is none."""
        return self.run.evaluation if isinstance(self.run.evaluation, MetricReport) else None


def read_card_facts(store: Store, run_id: str, *, version: int | None = None, licence: str = "") -> CardFacts:
    """Return what the model card of a run says.

    Args:
        store: the workspace that holds the run.
        run_id: its id.
        version: number of the model version; None for the one that the run registered.
        licence: of the model itself, as its owner declares it; empty if nobody has.

    Raises:
        UsageError: the workspace has no such run.
        StoreError: its record is damaged.
    """
    run = read_facts(store, run_id)
    return card_facts_of(store, run, version=run.record.model_version if version is None else version, licence=licence)


def card_facts_of(store: Store, run: RunFacts, *, version: int | None, licence: str = "") -> CardFacts:
    """Return what the model card of a run says whose facts are read already."""
    distribution, _, installed = run.record.plugin.rpartition(" ")
    return CardFacts(
        run=run,
        licences=recorded_licences(run.record),
        parts=read_part_counts(store, run.record),
        version=version,
        description=summary_of(distribution, installed),
        licence=licence,
    )
