"""The Python API behind the command line: the same calls serve notebooks and tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError, did_you_mean
from mlops_core.manager import load_use_case
from mlops_core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlops_core.prediction import Predictor
    from mlops_core.records import RunRecord
    from mlops_core.runners import RunObserver, RunRequest


def run(
    use_case: str,
    *,
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    workspace: Path | str | None = None,
    seed: int = 0,
    jobs: int | None = None,
    force: Iterable[str] = (),
    is_offline: bool = False,
    observer: RunObserver | None = None,
) -> RunRecord:
    """Run a use case on this machine: fetch, its steps, gate, register.

    Args:
        use_case: its name, without regard to case.
        config: a ``user_config.yaml``; None for the plugin's defaults.
        overrides: texts such as ``"training.epochs=3"``.
        parameters: name -> text, as after ``--param``.
        workspace: folder for everything that is kept; None for ``MLOPS_HOME``, else ``.mlops``.
        seed: of every random choice.
        jobs: steps at once; None for one a core.
        force: names of steps to run even where they could be reused.
        is_offline: refuse to fetch from the network.
        observer: is told what happens.

    Returns:
        The finished record; look at `RunRecord.status` and `RunRecord.verdict`. A rejected gate and a failed step
        do not raise.

    Raises:
        UsageError: no such use case.
        ConfigError: configuration or parameters are wrong.
        PluginError: the use case cannot be loaded.
        KeyboardInterrupt: after everything was stopped.
    """
    from mlops_core.runners import SilentObserver
    from mlops_core.runners.local import LocalRunner
    from mlops_core.store import Store

    request = prepare_run(
        use_case,
        config=config,
        overrides=overrides,
        parameters=parameters,
        seed=seed,
        force=force,
        is_offline=is_offline,
    )
    with Store(workspace_path(workspace)) as store:
        return LocalRunner(store, observer=observer or SilentObserver(), jobs=jobs).run(request)


def prepare_run(
    use_case: str,
    *,
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    seed: int = 0,
    force: Iterable[str] = (),
    is_offline: bool = False,
) -> RunRequest:
    """Check everything that can be checked before anything runs; arguments and errors are those of `run`."""
    from mlops_core.runners import RunRequest

    loaded = load_use_case(use_case)
    settings = read_settings()
    configuration = loaded.load_config(Path(config) if config else None, overrides=overrides, environ=settings.environ)
    pipeline = loaded.pipeline(configuration.model)
    names = [step.name for step in pipeline.steps]
    for name in force:
        if name not in names:
            raise UsageError(f"--force: no step '{name}'{did_you_mean(name, names)} steps: {', '.join(names)}")
    return RunRequest(
        use_case=loaded,
        config=configuration,
        pipeline=pipeline,
        parameters=pipeline.resolve_parameters(parameters or {}),
        seed=seed,
        is_offline=is_offline,
        force=frozenset(force),
    )


def open_run(run_id: str = "latest", *, workspace: Path | str | None = None) -> RunRecord:
    """Return the record of a run, by its id, the beginning of it, or ``latest``.

    Raises:
        UsageError: no such run.
    """
    from mlops_core.store import Store

    with Store(workspace_path(workspace)) as store:
        return store.load_run(run_id)


def load_model(use_case: str, version: int | None = None, *, workspace: Path | str | None = None) -> Predictor:
    """Return a registered model, ready to predict; the newest version when none is given.

    Raises:
        UsageError: no such version.
        StoreError: its artifact is gone.
    """
    from mlops_core.errors import StoreError
    from mlops_core.registry import Registry
    from mlops_core.store import Store

    loaded = load_use_case(use_case)
    with Store(workspace_path(workspace)) as store:
        found = Registry(store).version(loaded.name, version)
        if not store.has_artifact(found.artifact):
            raise StoreError(
                f"model {loaded.name} {found.version}: its artifact {found.artifact[:12]} is gone from {store.home}"
            )
        return loaded.load_predictor(store.artifact_path(found.artifact))


def workspace_path(given: Path | str | None) -> Path:
    """Return the workspace's folder: as given, else ``MLOPS_HOME``, else ``.mlops``."""
    return Path(given) if given else read_settings().home
