"""The folder in which a server keeps the state of its drift detector: one per server process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.names import require_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core.evaluation.reference_statistics import ReferenceStatistics
    from mlops_core.serving.drift.policy import DriftPolicy
    from mlops_core.serving.models import ServedModel

DRIFT_FOLDER = "drift"
_SERVERS = 100


def state_folders(
    workspace: Path, model: ServedModel, reference: ReferenceStatistics, policy: DriftPolicy
) -> Iterator[Path]:
    """Yield the folders for a model's state below a workspace; a server uses the first one that no other one uses.

    Their names hold the digests of reference and policy, so that the state of another one is never found there.
    """
    first = calibration_folder(workspace, model, reference, policy)
    yield first
    yield from (first.with_name(f"{first.name}-{number}") for number in range(2, _SERVERS))


def calibration_folder(
    workspace: Path, model: ServedModel, reference: ReferenceStatistics, policy: DriftPolicy
) -> Path:
    """Return the folder of the first server of a model, in which commands keep the calibration, too."""
    version = model.facts.get("version")
    name = f"version-{version}" if isinstance(version, int) else "folder"
    require_name(model.use_case, what="use case")
    place = workspace / DRIFT_FOLDER / model.use_case
    return place / f"{name}-{reference.digest[:12]}-{policy.digest[:8]}"
