"""The model that a server serves: a registered version, or a folder that holds a model."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError, StoreError, UsageError
from mlops_core.settings import expand_home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.use_cases.discovery import InstalledUseCase
    from mlops_core.workspace.store import Store

EXPORTED = "mlops-model.json"
_EXPORT_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model, and what is known about it.

    Attributes:
        use_case: name of its use case.
        folder: the model's files.
        label: the version, or the folder where it is not a registered version.
        code: folder with the plugin's code that was kept with the model; None to use the installed plugin.
        advice: what to do where another version of the plugin made the model and it does not work; empty if the
            installed plugin made it.
        facts: what the registry or the export says about it; empty for a plain folder.
    """

    use_case: str
    folder: Path
    label: str
    code: Path | None = None
    advice: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the use case and the version."""
        return f"{self.use_case} {self.label}"


def find_model(use_case: str, wanted: str | None = None, *, workspace: Path | str | None = None) -> ServedModel:
    """Return the model to serve.

    Args:
        use_case: name of the use case.
        wanted: a version number, an alias, or a folder; None for the newest version that is not rejected.
        workspace: folder of the registry.

    Raises:
        UsageError: there is no such version or folder.
        StoreError: the artifact is gone or damaged.
        PluginError: the use case's plugin cannot be found.
    """
    from mlops_core.use_cases.discovery import find_use_case

    installed = find_use_case(use_case)
    if wanted is not None and (os.sep in wanted or wanted in (".", "..") or wanted.startswith("~")):
        return _in_folder(installed, expand_home(wanted, what="--model"))
    try:
        return _registered(installed, wanted, workspace=workspace)
    except UsageError as error:
        if wanted is not None and os.path.isdir(wanted):  # noqa: PTH112  False also for a name that is too long
            return _in_folder(installed, Path(wanted))
        raise UsageError(f"{error}; --model takes a number, an alias, or a folder such as ./model") from error


def _registered(installed: InstalledUseCase, wanted: str | None, *, workspace: Path | str | None) -> ServedModel:
    from mlops_core.api import code_of_other_version, model_path, workspace_path
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store:
        version = Registry(store).servable_version(installed.name, wanted)
        verdict = _verdict(store, version.run_id)
    code, advice = code_of_other_version(installed, version, workspace=workspace)
    return ServedModel(
        use_case=version.use_case,
        folder=model_path(version, workspace=workspace),
        label=f"version {version.version}",
        code=code,
        advice=advice,
        facts={**version.to_json(), **({"verdict": verdict} if verdict else {})},
    )


def _verdict(store: Store, run_id: str) -> dict[str, Any] | None:
    """Return what the gate said about the model; None where the run was removed."""
    try:
        verdict = store.runs.load(run_id).verdict
    except MlopsError:
        return None
    return verdict.to_json() if verdict else None


def _in_folder(installed: InstalledUseCase, folder: Path) -> ServedModel:
    if not os.path.isdir(folder):  # noqa: PTH112  False also for a name that is too long
        what = "is not a folder" if os.path.exists(folder) else "does not exist"  # noqa: PTH110  the same
        raise UsageError(f"--model {folder} {what}; name the folder of a model, a version number or an alias")
    facts = _exported_facts(folder / EXPORTED)
    owner = facts.get("use_case", installed.name)
    if owner != installed.name:
        raise UsageError(
            f"--model {folder} holds a model of the use case {owner}, not of {installed.name}; serve it with "
            f"--usecase {owner}"
        )
    label = f"version {facts['version']}" if "version" in facts else str(folder)
    return ServedModel(use_case=installed.name, folder=folder.absolute(), label=label, facts=facts)


def _exported_facts(path: Path) -> dict[str, Any]:
    """Return what ``mlops models export`` wrote beside a model; nothing where it was not exported."""
    try:
        if path.stat().st_size > _EXPORT_LIMIT_BYTES:
            raise StoreError(f"{path} has {path.stat().st_size} bytes; export the model again")
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}; export the model again, or remove the file") from error
    if not isinstance(facts, dict):
        raise StoreError(f"{path} does not describe a model; export the model again, or remove the file")
    return facts
