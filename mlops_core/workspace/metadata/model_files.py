"""``model_metadata.json``, ``best_model_metadata.json`` and the tags of a model version, for programs that read them.

All are written from the registry: what is best says the alias ``best``, which moves by core's own rule (strictly
better, on the same test set), never a tag. An engine copies the tags to the service's registry.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

from mlops_core.errors import StoreError
from mlops_core.workspace.files import write_atomically
from mlops_core.workspace.registry import BEST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.workspace.model_versions import ModelVersion
    from mlops_core.workspace.registry import Registry

MODEL_METADATA_FILE = "model_metadata.json"
BEST_METADATA_FILE = "best_model_metadata.json"
BEST_TAG = "best_model"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


def model_metadata(version: ModelVersion, *, name: str = "") -> dict[str, str | float]:
    """Return the content of ``model_metadata.json``: name, version, and every metric that is a number.

    Args:
        version: the version.
        name: of the model elsewhere; empty for the use case's.
    """
    metrics = {metric: value for metric, value in sorted(version.metrics.items()) if math.isfinite(value)}
    return {"name": _name(version, name), "version": str(version.version), **metrics}


def best_model_metadata(best: ModelVersion, *, name: str = "") -> dict[str, str]:
    """Return the content of ``best_model_metadata.json``: name and version of the best version."""
    return {"name": _name(best, name), "version": str(best.version)}


def model_tags(version: ModelVersion, *, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the tags of a version in a service's registry, as texts.

    The metrics, ``best_model`` (``true`` for the version that the alias ``best`` names, ``false`` for every other),
    ``dataset_version``, and ``build_source`` and ``build_id`` from the variables BUILD_SOURCE and BUILD_ID (``local``
    where they are not set).
    """
    variables = environ or {}
    metrics = {metric: repr(value) for metric, value in sorted(version.metrics.items()) if math.isfinite(value)}
    return {
        **metrics,
        BEST_TAG: "true" if BEST in version.aliases else "false",
        "build_source": variables.get("BUILD_SOURCE") or "local",
        "build_id": variables.get("BUILD_ID") or "local",
        "dataset_version": version.dataset_asset or version.dataset_digest[:12],
        "run_id": version.run_id,
    }


def tag_changes(versions: Mapping[str, Mapping[str, str]], best: str) -> tuple[tuple[str, str], ...]:
    """Return the tags ``best_model`` that have to change elsewhere, in the order in which to change them.

    The old mark is removed before the new one is set: where the second call fails, no version is marked, never two.

    Args:
        versions: version -> its tags as they are now.
        best: the version that the alias ``best`` names; empty for none.

    Example:
        >>> tag_changes({"1": {"best_model": "True"}, "2": {"best_model": "false"}, "3": {}}, "3")
        (('1', 'false'), ('3', 'true'))
    """
    marked = [version for version, tags in versions.items() if tags.get(BEST_TAG, "").strip().lower() == "true"]
    cleared = tuple((version, "false") for version in marked if version != best)
    return cleared + (((best, "true"),) if best and best not in marked else ())


def write_model_files(registry: Registry, version: ModelVersion, folder: Path, *, name: str = "") -> tuple[Path, ...]:
    """Write both files for a version into a folder, the second one only if there is a best version; return them.

    Args:
        registry: holds the version.
        version: the version.
        folder: is made if it does not exist.
        name: of the model elsewhere, as the variable MODEL_BASE_NAME gives it; empty for the use case's.

    Raises:
        StoreError: they cannot be written.
    """
    found = {MODEL_METADATA_FILE: model_metadata(version, name=name)}
    target = registry.alias_target(version.use_case, BEST)
    if target is not None:
        best = registry.version(version.use_case, target)
        found[BEST_METADATA_FILE] = {**best_model_metadata(best, name=name)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in found.items():
            write_atomically(folder / file, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}; the files about the model were not written") from error
    return tuple(folder / file for file in found)


def _name(version: ModelVersion, name: str) -> str:
    return name or _NOT_IN_NAMES.sub("-", version.use_case)
