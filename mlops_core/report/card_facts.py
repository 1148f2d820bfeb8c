"""Reads what a model card says from the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.report.facts import read_facts, recorded_licences
from mlops_core.report.model_card import CardFacts
from mlops_core.report.split_rows import read_part_counts
from mlops_core.use_cases.distributions import summary_of

if TYPE_CHECKING:
    from mlops_core.report.facts import RunFacts
    from mlops_core.workspace.store import Store


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
