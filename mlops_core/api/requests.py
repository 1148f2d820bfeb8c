"""What a run is to do, checked before anything runs: a new run, or the resumption of an earlier one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.api.workspaces import workspace_path
from mlops_core.settings import read_settings
from mlops_core.use_cases.assembly import assemble

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlops_core.pipeline import ParameterValue, Pipeline
    from mlops_core.runners.request import RunRequest
    from mlops_core.runners.selection import Selection
    from mlops_core.use_cases.assembly_cache import AssemblyCache


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
