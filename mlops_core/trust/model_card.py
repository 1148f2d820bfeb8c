"""The model card of a registered version; `mlops_core.report.model_card` says what is in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.report.model_card import model_card, read_card_facts
from mlops_core.trust.bundles.model_signing import CARD_FILES

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.workspace.model_versions import ModelVersion
    from mlops_core.workspace.store import Store


def version_card(store: Store, version: ModelVersion, *, licence: str = "") -> str:
    """Return the model card of a registered version.

    Args:
        store: the workspace that holds its run.
        version: the version.
        licence: of the model itself, as its owner declares it; empty if nobody has.

    Raises:
        UsageError: its run is gone.
        StoreError: the record of its run is damaged.
    """
    return model_card(read_card_facts(store, version.run_id, version=version.version, licence=licence))


def write_card(folder: Path, text: str) -> Path:
    """Write a model card into the folder of an exported model and return its path; nothing is replaced.

    Raises:
        OSError: it cannot be written.
    """
    path = next((folder / name for name in CARD_FILES if not (folder / name).exists()), folder / CARD_FILES[-1])
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path
