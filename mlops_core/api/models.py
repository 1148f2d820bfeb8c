"""Loading registered models, also those that another version of the plugin made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.api.runs import open_run
from mlops_core.api.workspaces import workspace_path
from mlops_core.use_cases.manager import load_use_case

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.predictors import Predictor
    from mlops_core.use_cases.discovery import InstalledUseCase
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.model_versions import ModelVersion


def load_model(use_case: str, version: int | str | None = None, *, workspace: Path | str | None = None) -> Predictor:
    """Return a registered model, ready to predict.

    Args:
        use_case: its name.
        version: a number or an alias such as ``"best"``; None for the newest that is not rejected.
        workspace: folder of the registry.

    Raises:
        UsageError: the version does not exist, or an alias points to a rejected one.
        StoreError: its artifact is gone or damaged.
        PluginError: another version of the plugin made it, and it does not work in this environment.

    Example:
        >>> record = run("TOY", workspace="workspace")
        >>> load_model("TOY", workspace="workspace").classes
        ('long', 'short')
    """
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    loaded = load_use_case(use_case)
    with Store(workspace_path(workspace)) as store:
        found = Registry(store).servable_version(loaded.name, version)
    path = model_path(found, workspace=workspace)
    code, advice = code_of_other_version(loaded.installed, found, workspace=workspace)
    if not advice:
        return loaded.load_predictor(path)
    return load_other_version(loaded, path, code=code, advice=advice)


def code_of_other_version(
    installed: InstalledUseCase, version: ModelVersion, *, workspace: Path | str | None = None
) -> tuple[Path | None, str]:
    """Return the code kept with a model that another version of the plugin made, and what to do if it does not work.

    Returns:
        The folder of the code, None if none was kept or it is damaged, and one line of advice. The line is empty if the
        installed plugin made the model.
    """
    from mlops_core.workspace.store import Store

    if version.plugin in ("", f"{installed.distribution} {installed.version}"):
        return None, ""
    origin = (
        f"model {version.use_case} version {version.version} was made by {version.plugin}; "
        f"{installed.distribution} {installed.version} is installed"
    )
    with Store(workspace_path(workspace)) as store:
        is_kept = bool(version.code) and store.artifacts.damage(version.code) is None
        code = store.artifacts.path(version.code) if is_kept else None
    return code, f"{origin}; {_environment_advice(version, workspace=workspace)}"


def load_other_version(loaded: UseCase, path: Path, *, code: Path | None, advice: str) -> Predictor:
    """Load a model that another version of the plugin made: with the code kept with it, else with the present code.

    Args:
        loaded: the use case as it is installed.
        path: folder of the model.
        code: from `code_of_other_version`.
        advice: likewise.

    Raises:
        PluginError: the code does not work in this environment.
    """
    import logging

    from mlops_core.errors import PluginError
    from mlops_core.use_cases.model_code import KeptPredictor

    log = logging.getLogger(__name__)
    origin, _, remedy = advice.rpartition("; ")
    if code is not None:
        log.warning("%s: its answers come from the code that was kept with it", origin)
        return KeptPredictor(code, path, advice=advice)
    try:
        predictor = loaded.load_predictor(path)
    except PluginError as error:
        raise PluginError(f"{error}; {advice}") from error
    log.warning("%s, which may read it in another way; %s", origin, remedy)
    return predictor


def _environment_advice(version: ModelVersion, *, workspace: Path | str | None) -> str:
    """Return how to make an environment in which a model of another version of the plugin works."""
    from mlops_core.errors import MlopsError
    from mlops_core.runners.environment import package_versions

    distribution, _, number = version.plugin.rpartition(" ")
    requirements, python = [f"{distribution}=={number}"], ""
    try:
        environment = open_run(version.run_id, workspace=workspace).environment
    except MlopsError:  # the run was removed; the plugin's own requirements are left
        environment = {}
    if "python" in environment:
        python = f" with Python {environment['python']}"
    for package, installed in package_versions(environment).items():
        if package != distribution and installed[:1].isdigit():
            requirements.append(f"{package}=={installed}")
    return f"to use it, make a virtual environment{python} and run there: pip install {' '.join(requirements)}"


def model_path(version: ModelVersion, *, workspace: Path | str | None = None) -> Path:
    """Return the folder of a version's artifact, after reading all of it.

    Raises:
        StoreError: it is gone or damaged.
    """
    from mlops_core.errors import StoreError
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store:
        is_there = store.artifacts.has(version.artifact)
        damage = store.artifacts.damage(version.artifact) if is_there else f"it is gone from {store.home}"
        if damage:
            raise StoreError(
                f"model {version.use_case} version {version.version}: artifact {version.artifact[:12]}: {damage}; "
                f"make it again with: mlops run --resume {version.run_id}"
            )
        return store.artifacts.path(version.artifact)
