"""The calibration that commands keep in the workspace, in the folder where a server of the same model looks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import StoreError
from mlops_core.serving.drift.opening import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.serving.drift.policy import DriftPolicy
    from mlops_core.serving.drift.preparation import PreparedReference
    from mlops_core.serving.drift.reference import DriftReference


def kept_preparation(reference: DriftReference, policy: DriftPolicy, folder: Path | None) -> PreparedReference:
    """Return the calibration of a folder, made there where it is missing; a folder that cannot be used keeps none.

    Raises:
        UsageError, DatasetError, ConfigError: see `mlops_core.serving.drift.prepare`.
    """
    try:
        return prepare(reference, policy, folder)
    except StoreError:  # a workspace on a disk that is full or read-only
        return prepare(reference, policy)
