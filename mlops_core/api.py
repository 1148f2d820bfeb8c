"""The Python API behind the command line: the same calls serve notebooks and tests."""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import UsageError
from mlops_core.settings import expand_home, read_settings
from mlops_core.use_cases.assembly import assemble
from mlops_core.use_cases.manager import load_use_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from mlops_core.pipeline import ParameterValue, Pipeline
    from mlops_core.predictors import Predictor
    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.plugin import RunnerOptions
    from mlops_core.runners.request import RunRequest
    from mlops_core.runners.selection import Selection
    from mlops_core.trust.agreement import Reproduction
    from mlops_core.trust.bundles.keys import TrustedKeys
    from mlops_core.use_cases.assembly_cache import AssemblyCache
    from mlops_core.use_cases.discovery import InstalledUseCase
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.model_versions import ModelVersion
    from mlops_core.workspace.records import RunRecord


def run(
    use_case: str = "",
    *,
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    workspace: Path | str | None = None,
    seed: int = 0,
    jobs: int | None = None,
    force: Iterable[str] = (),
    start: str = "",
    only: Iterable[str] = (),
    keep_going: bool = False,
    resume: str = "",
    is_offline: bool = False,
    runner: str = "",
    options: RunnerOptions | None = None,
    artifacts_dir: Path | str | None = None,
    run_id: str = "",
    observer: RunObserver | None = None,
) -> RunRecord:
    """Run a use case: fetch, its steps, gate, register.

    Args:
        use_case: its name, case-insensitive; may be left out with `resume`.
        config: a ``user_config.yaml``; None for the plugin's defaults.
        overrides: strings such as ``"training.epochs=3"``.
        parameters: name -> text, as after ``--param``.
        workspace: the workspace's folder; None for ``MLOPS_HOME``, else ``.mlops``.
        seed: random seed.
        jobs: number of steps to run in parallel; None for one per core.
        force: names of steps to run even where their results could be reused.
        start: run this step and those that follow it; earlier steps must have results.
        only: run only these steps, without the gate.
        keep_going: after a failure, run the steps that do not depend on the failed one.
        resume: id of a run to resume with its own configuration, parameters and seed.
        is_offline: refuse to fetch from the network.
        runner: name of the runner, as for ``--runner``. Empty for ``local`` or, with `resume`, for that of the run.
        options: options of the runner, of the class that its plugin defines.
        artifacts_dir: folder to which the evaluation is also copied.
        run_id: id of a new run that must be found again whatever happens, from `new_run_id`; empty for any.
        observer: receives the run's events; an error in it never fails the run. None to show the progress as a table
            in a notebook and as lines on a terminal, and nothing elsewhere; `SilentObserver` for nothing anywhere.

    Returns:
        The finished record; look at `RunRecord.status` and `RunRecord.verdict`. A rejected gate and a failed step
        do not raise.

    Raises:
        UsageError: the use case, step or run does not exist, or options contradict each other.
        ConfigError: configuration or parameters are wrong.
        PluginError: the use case cannot be loaded.
        StoreError: the workspace is not writable.
        KeyboardInterrupt: raised after all processes were stopped.

    Example:
        >>> record = run("TOY", overrides=["features.scale=2"], workspace="workspace")
        >>> record.verdict.accepted, record.model_version
        (True, 1)
    """
    selection: dict[str, Any] = {"force": force, "start": start, "only": only, "keep_going": keep_going}
    with contextlib.ExitStack() as opened:
        if resume:
            if config or overrides or parameters or seed:
                raise UsageError(
                    f"run {resume} is resumed with its own configuration, parameters and seed; leave --config, --set, "
                    "--param and --seed out, or start a new run: it reuses every unchanged step"
                )
            request = prepare_resumption(resume, workspace=workspace, is_offline=is_offline, **selection)
            _check_use_case(request, use_case)
        else:
            cache = _assemblies(workspace, runner=runner, opened=opened)
            configuration: dict[str, Any] = {"config": config, "overrides": overrides, "parameters": parameters}
            request = prepare_run(use_case, seed=seed, is_offline=is_offline, cache=cache, **configuration, **selection)
        if run_id and not resume:
            request = replace(request, run_id=_unused_run_id(run_id, workspace=workspace))
        if artifacts_dir is not None:
            request = replace(request, artifacts_dir=_writable_folder(artifacts_dir, what="--artifacts-dir"))
        return _carry_out(request, workspace=workspace, runner=runner, observer=observer, jobs=jobs, options=options)


def _assemblies(workspace: Path | str | None, *, runner: str, opened: contextlib.ExitStack) -> AssemblyCache:
    """Return the workspace's assemblies; where the right one is missing, the runner may start early."""
    from mlops_core.runners.discovery import LOCAL, load_runner
    from mlops_core.use_cases.assembly_cache import ASSEMBLIES, AssemblyCache

    def start_early() -> None:
        opened.enter_context(load_runner(runner or LOCAL).start_early())

    return AssemblyCache(workspace_path(workspace) / ASSEMBLIES, on_miss=start_early)


def _carry_out(
    request: RunRequest, *, workspace: Path | str | None, runner: str, observer: RunObserver | None, **arguments: Any
) -> RunRecord:
    from mlops_core.observers.publishing import published
    from mlops_core.runners.discovery import LOCAL, open_runner
    from mlops_core.runners.lifecycle import write_run_report
    from mlops_core.runners.observers import GuardedObserver
    from mlops_core.runners.progress import observed, show_outcome
    from mlops_core.workspace.store import Store

    redactor = request.config.redactor()
    with observed(observer) as shown, Store(workspace_path(workspace)) as store, redactor.errors():
        events = GuardedObserver(shown, redactor=redactor)
        name = runner or (request.resumed.runner if request.resumed else LOCAL)
        with published(events, store, request.config) as observers:
            record = open_runner(name, store, observer=observers, **arguments).run(request)
            if not store.is_there:
                from mlops_core.workspace.database import disappeared

                raise disappeared(store.home)
            write_run_report(store, record.run_id, note=events.note, use_case=request.use_case)
        show_outcome(shown, record)
        return _viewable(record, home=store.home)


def _viewable(record: RunRecord, *, home: Path) -> RunRecord:
    """Return a record that a notebook shows with what its workspace holds."""
    return replace(record, view=functools.partial(_view, home=home))


def _view(record: RunRecord, *, home: Path) -> str:
    from mlops_core.report.notebook.record import record_html

    return record_html(record, home=home)


def _unused_run_id(run_id: str, *, workspace: Path | str | None) -> str:
    """Return the id of a new run.

    Raises:
        UsageError: it is not a name, or a run of the workspace has it.
    """
    from mlops_core.names import require_name

    require_name(run_id, what="the id of a run")
    if (workspace_path(workspace) / "runs" / run_id / "run.json").exists():
        raise UsageError(f"run {run_id} exists already; resume it with: mlops run --resume {run_id}")
    return run_id


def _writable_folder(path: Path | str, *, what: str) -> Path:
    """Return a folder that exists or can be created.

    Raises:
        UsageError: it cannot.
    """
    folder = expand_home(path, what=what).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir():
        raise UsageError(f"{what}: {existing} is not a folder")
    if not os.access(existing, os.W_OK):
        raise UsageError(f"{what}: {existing} cannot be written; name another folder")
    return folder


def _check_use_case(request: RunRequest, use_case: str) -> None:
    name = request.use_case.name
    if use_case and use_case.casefold() != name.casefold():
        raise UsageError(f"the resumed run belongs to the use case {name}, not to {use_case}; leave --usecase out")


def prepare_run(
    use_case: str,
    *,
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    seed: int = 0,
    is_offline: bool = False,
    cache: AssemblyCache | None = None,
    **selection: Any,
) -> RunRequest:
    """Check everything that can be checked before anything runs; arguments and errors are those of `run`.

    With `cache`, a use case in which nothing has changed since it was last assembled is not imported.

    Example:
        >>> request = prepare_run("TOY", overrides=["features.scale=2"])
        >>> request.config.sections()["features"]["scale"]
        2
    """
    from mlops_core.runners.request import RunRequest

    assembly = assemble(
        use_case,
        config=Path(config) if config else None,
        overrides=overrides,
        environ=read_settings().environ,
        cache=cache,
    )
    return RunRequest(
        use_case=assembly.use_case,
        config=assembly.config,
        pipeline=assembly.pipeline,
        parameters=assembly.pipeline.resolve_parameters(parameters or {}),
        seed=seed,
        is_offline=is_offline,
        selection=_selection(assembly.pipeline, **selection),
        dataset=assembly.dataset,
    )


def prepare_resumption(
    run_id: str,
    *,
    workspace: Path | str | None = None,
    is_offline: bool = False,
    **selection: Any,
) -> RunRequest:
    """Return the request that resumes an earlier run; errors are those of `run`."""
    from mlops_core.runners.saved_config import CONFIG, check_saved_config, check_saved_dataset, require_complete
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store:
        record = store.runs.load(run_id)
        folder = store.runs.folder(record.run_id)
        require_complete(folder, run_id=record.run_id)
        request = prepare_run(
            record.use_case,
            config=folder / CONFIG,
            parameters={name: _as_text(value) for name, value in record.parameters.items()},
            seed=record.seed,
            is_offline=is_offline,
            **selection,
        )
        check_saved_config(folder, request.config, run_id=record.run_id)
        if request.dataset is not None:
            check_saved_dataset(record, request.dataset)
    return replace(request, resumed=record)


def _selection(
    pipeline: Pipeline,
    *,
    force: Iterable[str] = (),
    start: str = "",
    only: Iterable[str] = (),
    keep_going: bool = False,
) -> Selection:
    from mlops_core.runners.selection import Selection

    selection = Selection(force=frozenset(force), start=start, only=frozenset(only), keep_going=keep_going)
    selection.check(pipeline)
    return selection


def _as_text(value: ParameterValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def open_run(run_id: str = "latest", *, workspace: Path | str | None = None) -> RunRecord:
    """Return the record of a run, by its id, the beginning of it, or ``latest``.

    Raises:
        UsageError: the run does not exist.

    Example:
        >>> record = run("TOY", workspace="workspace")
        >>> open_run("latest", workspace="workspace").run_id == record.run_id
        True
    """
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store:
        return _viewable(store.runs.load(run_id), home=store.home)


def runs_frame(use_case: str = "", *, workspace: Path | str | None = None) -> pd.DataFrame:
    """Return the runs of a workspace as a table of pandas, newest first.

    Columns: ``run_id``, ``use_case``, ``status``, ``created`` (UTC), ``duration_s``, ``runner``, ``model_version``,
    ``metric.NAME`` for each metric and ``param.NAME`` for each parameter of any of the runs. What a run does not have
    is missing (NaN, NA). A run whose record cannot be read has the first seven columns only, with a warning.

    Args:
        use_case: only runs of this use case; empty for all.
        workspace: the workspace's folder; None for ``MLOPS_HOME``, else ``.mlops``.

    Raises:
        UsageError: pandas is not installed.

    Example:
        >>> record = run("TOY", workspace="workspace")
        >>> frame = runs_frame("TOY", workspace="workspace")
        >>> frame["metric.acc"].tolist(), frame["param.q_acc"].tolist()
        ([1.0], [0.5])
    """
    from mlops_core.report.notebook.frame import frame_of_runs
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store:
        return frame_of_runs(store, use_case=use_case or None)


def approval_of(record: RunRecord, *, workspace: Path | str | None = None) -> str:
    """Return the current approval of the model that a run registered; empty if it registered none."""
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    if record.model_version is None:
        return ""
    with Store(workspace_path(workspace)) as store:
        return str(Registry(store).version(record.use_case, record.model_version).status)


def run_folder(run_id: str = "latest", *, workspace: Path | str | None = None) -> Path:
    """Return the folder of a run: its record, configuration, logs, ``evaluation.json`` and page.

    Raises:
        UsageError: the run does not exist.
    """
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store:
        return store.runs.folder(store.runs.full_id(run_id))


def reproduce(
    run: str | Path,
    *,
    workspace: Path | str | None = None,
    dataset: Path | str | None = None,
    keep: Path | str | None = None,
    jobs: int | None = None,
    is_offline: bool = False,
    keys: TrustedKeys | None = None,
    allows_unsigned: bool = False,
    observer: RunObserver | None = None,
) -> Reproduction:
    """Run a run again on this machine and compare its outputs; nothing is reused or registered.

    Args:
        run: an id, the beginning of one, or ``latest``; or the path of an evidence bundle.
        workspace: the workspace that holds the run or, for a bundle, its data set.
        dataset: folder with the data set, where it is not where the run read it.
        keep: new folder for the workspace of the reproduction; None to remove it.
        jobs: number of steps to run in parallel; None for one per core.
        is_offline: refuse to fetch the data set from the network.
        keys: keys whose signatures of a bundle are accepted.
        allows_unsigned: accept a bundle without a signature.
        observer: receives the events of the reproduction; None as for `mlops_core.run`.

    Raises:
        UsageError: there is no such run, or it lacks what a reproduction needs.
        DatasetError: the data set is gone, or is not the one that the run read.
        NotVerifiedError: the bundle is not verified.
        PluginError: the use case or a package is not installed.
        MlopsError: a step failed.
    """
    from mlops_core.runners.progress import observed
    from mlops_core.trust.originals import bundled_original, stored_original
    from mlops_core.trust.reproduction import reproduce_run
    from mlops_core.workspace.store import Store

    with Store(workspace_path(workspace)) as store, contextlib.ExitStack() as opened:
        if isinstance(run, Path):
            folder = store.work_folder("bundle")
            opened.callback(store.remove_work_folder, folder)
            original = bundled_original(run, folder, keys=keys, allows_unsigned=allows_unsigned)
        else:
            original = stored_original(store, run)
        return reproduce_run(
            original,
            store=store,
            observer=opened.enter_context(observed(observer)),
            dataset=None if dataset is None else expand_home(dataset, what="--dataset").absolute(),
            keep=None if keep is None else expand_home(keep, what="--keep").absolute(),
            jobs=jobs,
            is_offline=is_offline,
        )


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


def export_model(
    use_case: str,
    version: int | str,
    folder: Path | str,
    *,
    workspace: Path | str | None = None,
    describe: Callable[[ModelVersion, Path], None] | None = None,
) -> ModelVersion:
    """Copy a version's artifact to the new folder `folder`, with ``mlops-model.json`` that says where it comes from.

    Its reference statistics, with which a server detects drift, are ``reference_statistics.json``. Its model card is
    ``README.md`` beside the files of the model, or ``MODEL_CARD.md`` if the model has such a file. There is none,
    with a warning, if the record of its run is gone.

    Args:
        use_case: name of the use case.
        version: a number, or an alias.
        folder: the new folder.
        workspace: the workspace's folder; None for ``MLOPS_HOME``, else ``.mlops``.
        describe: adds files in the format of another system to the folder, before it gets its name.

    Raises:
        UsageError: the version does not exist, or the folder exists.
        StoreError: the artifact is gone or damaged.
    """
    import json
    import logging
    import shutil
    import tempfile

    from mlops_core.errors import MlopsError
    from mlops_core.evaluation.reference_statistics import REFERENCE_FILE
    from mlops_core.trust.model_card import version_card, write_card
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    target = Path(folder).absolute()
    if target.exists():
        raise UsageError(f"{target} exists; a model is exported to a new folder only")
    with Store(workspace_path(workspace)) as store:
        found = Registry(store).servable_version(use_case, version)
        try:
            card = version_card(store, found)
        except MlopsError as error:
            logging.getLogger(__name__).warning("no model card of version %d: %s", found.version, error)
            card = ""
        reference = store.runs.folder(found.run_id) / REFERENCE_FILE
    source = model_path(found, workspace=workspace)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as partial:
            shutil.copytree(source, Path(partial) / "model", copy_function=shutil.copyfile)
            text = json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n"
            (Path(partial) / "model" / "mlops-model.json").write_text(text, encoding="utf-8")
            if found.reference and reference.is_file():
                shutil.copyfile(reference, Path(partial) / "model" / REFERENCE_FILE)
            if card:
                write_card(Path(partial) / "model", card)
            if describe is not None:
                describe(found, Path(partial) / "model")
            (Path(partial) / "model").rename(target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
    return found


def workspace_path(given: Path | str | None) -> Path:
    """Return the workspace's folder: as given, else ``MLOPS_HOME``, else ``.mlops``.

    Example:
        >>> workspace_path("results")
        PosixPath('results')
    """
    return Path(given) if given else read_settings().home
