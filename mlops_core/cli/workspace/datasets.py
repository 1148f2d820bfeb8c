"""``mlops datasets``: the data sets of a use case, which ones are on this machine, and their content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import SEED, HomePath, chosen_use_case, config_options, json_option, use_case_option
from mlops_core.cli.output import format_size, print_json, print_table, run_observer
from mlops_core.cli.streams import echo_line
from mlops_core.cli.workspace import datasets_assets, datasets_splits
from mlops_core.quantities import counted
from mlops_core.redaction import redact_urls

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.config import UseCaseConfig
    from mlops_core.datasets.catalogue import Dataset
    from mlops_core.datasets.inspections import Inspection
    from mlops_core.use_cases.manager import UseCase

_SHOWN = 5


@click.group("datasets")
def command() -> None:
    """Show, check and register data sets."""


def _data_options(function: Callable[..., object]) -> Callable[..., object]:
    """Add the options that ``check`` and ``stats`` share."""
    function = click.pass_obj(function)
    function = json_option(function)
    function = click.option("--seed", type=SEED, default=0, show_default=True, help="Random seed of generated data.")(
        function
    )
    function = config_options(function)
    function = use_case_option(function)
    return click.argument("name", required=False)(function)


@command.command("list")
@use_case_option
@json_option
@click.pass_obj
def list_datasets(context: dict[str, str | None], *, usecase: str | None, as_json: bool) -> None:
    """List the data sets of a use case and which of them are on this machine."""
    from mlops_core.api import workspace_path
    from mlops_core.datasets.storage import is_complete
    from mlops_core.runners.dataset_source import dataset_folder

    loaded, config = _loaded(usecase, None, (), None)
    folder = workspace_path(context["workspace"]) / "datasets"
    rows = [(entry, is_complete(entry, dataset_folder(folder, entry, seed=0))) for entry in loaded.datasets(config)]
    if as_json:
        print_json([{**_described(entry), "is_here": is_here} for entry, is_here in rows])
        return
    print_table(
        ("name", "here", "download", "licence", "what"),
        [
            (
                entry.name,
                "yes" if is_here else "no",
                "generated" if entry.is_generated else format_size(entry.size_bytes) if entry.size_bytes else "-",
                entry.licence,
                entry.title,
            )
            for entry, is_here in rows
        ],
    )


@command.command("show")
@click.argument("name")
@use_case_option
@json_option
@click.pass_obj
def show_dataset(context: dict[str, str | None], *, name: str, usecase: str | None, as_json: bool) -> None:
    """Show the licence, sources and location of a data set."""
    from mlops_core.api import workspace_path
    from mlops_core.datasets.storage import is_complete
    from mlops_core.runners.dataset_source import dataset_folder

    loaded, config = _loaded(usecase, None, (), name)
    entry = loaded.dataset(config)
    folder = dataset_folder(workspace_path(context["workspace"]) / "datasets", entry, seed=0)
    facts = {**_described(entry), "is_here": is_complete(entry, folder), "folder": str(folder)}
    if as_json:
        print_json(facts)
        return
    rows: list[tuple[str, object]] = []
    for key, value in facts.items():
        items = value if isinstance(value, list) else [value]
        rows.extend((key.replace("_", " ") if number == 0 else "", item) for number, item in enumerate(items))
    print_table(("what", ""), rows)


@command.command("check")
@_data_options
def check_dataset(
    context: dict[str, str | None],
    *,
    name: str | None,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> None:
    """Check a data set: unreadable samples, duplicates across folds, and the use case's own checks.

    Ends with exit code 5 if there is an error among them.
    """
    from mlops_core.errors import DatasetError

    inspection, what = _inspect(context, (usecase, config, overrides, name), seed=seed)
    if as_json:
        print_json(list(inspection.to_json()["findings"]))
    else:
        for finding in inspection.findings:
            echo_line(f"{finding.level}: {finding.check}: {finding.message}")
            for sample in finding.samples[:_SHOWN]:
                echo_line(f"    {sample}")
            if len(finding.samples) > _SHOWN:
                echo_line(f"    and {len(finding.samples) - _SHOWN} more (--json shows all)")
        echo_line(f"{what}: {', '.join(_count(inspection, level) for level in ('error', 'warning', 'note'))}")
    if inspection.errors:
        raise DatasetError(f"{what}: {counted(inspection.errors, 'finding', one='is an error', more='are errors')}")


@command.command("stats")
@click.option(
    "--plots", type=HomePath(file_okay=False, path_type=Path), help="Write one SVG per distribution to this folder."
)
@_data_options
def show_stats(
    context: dict[str, str | None],
    *,
    plots: Path | None,
    name: str | None,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> None:
    """Count and measure the samples: classes, parts, sizes, and the use case's own statistics."""
    from mlops_core.report.kit import histogram_svg

    inspection, what = _inspect(context, (usecase, config, overrides, name), seed=seed)
    if as_json:
        print_json(inspection.to_json())
    else:
        print_table(("what", ""), inspection.facts, title=what)
        for table in inspection.tables:
            click.echo()
            print_table(table.columns, table.rows, title=table.title)
        if inspection.findings:
            click.echo()
            counts = ", ".join(_count(inspection, level) for level in ("error", "warning", "note"))
            echo_line(f"findings: {counts}; list them with: mlops datasets check")
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        for distribution in inspection.distributions:
            (plots / f"{distribution.name}.svg").write_text(histogram_svg(distribution), encoding="utf-8")
        echo_line(f"{len(inspection.distributions)} plots in {plots}", err=True)


def _loaded(
    usecase: str | None, config: str | None, overrides: tuple[str, ...], name: str | None
) -> tuple[UseCase, UseCaseConfig]:
    from mlops_core.settings import read_settings
    from mlops_core.use_cases.manager import load_use_case

    loaded = load_use_case(chosen_use_case(usecase))
    chosen = (*overrides, f"dataset.name={name}") if name else overrides
    path = Path(config) if config else None
    return loaded, loaded.load_config(path, overrides=chosen, environ=read_settings().environ).model


def _inspect(
    context: dict[str, str | None],
    choice: tuple[str | None, str | None, tuple[str, ...], str | None],
    *,
    seed: int,
) -> tuple[Inspection, str]:
    """Return the inspection and the name of the chosen data set or of the user's folder; nothing is fetched."""
    from mlops_core.api import workspace_path
    from mlops_core.runners.dataset_source import fetch_source
    from mlops_core.workspace.store import Store

    loaded, config = _loaded(*choice)
    _check_is_here(loaded, config, workspace_path(context["workspace"]))
    observer = run_observer()
    observer.step_started("fetch")
    with Store(workspace_path(context["workspace"])) as store:
        source = fetch_source(
            loaded,
            loaded.dataset_choice(config),
            store=store,
            seed=seed,
            is_offline=True,
            progress=lambda label, done, total: observer.step_progress("fetch", label, done, total),
        )
    _, folder = loaded.dataset_source(config)
    return loaded.inspect_dataset(source.path, config), source.record.name if folder is None else str(folder)


def _check_is_here(loaded: UseCase, config: UseCaseConfig, workspace: Path) -> None:
    from mlops_core.datasets.storage import is_complete
    from mlops_core.errors import DatasetError
    from mlops_core.runners.dataset_source import dataset_folder

    name, folder = loaded.dataset_source(config)
    if folder is not None:
        return
    entry = loaded.dataset(config)
    if not entry.is_generated and not is_complete(entry, dataset_folder(workspace / "datasets", entry, seed=0)):
        raise DatasetError(
            f"data set '{name}' is not on this machine; fetch it first: "
            f"mlops fetch --usecase {loaded.name} --set dataset.name={name}"
        )


def _count(inspection: Inspection, level: str) -> str:
    found = sum(finding.level == level for finding in inspection.findings)
    return f"{found} {level}" if found == 1 else f"{found} {level}s"


def _described(entry: Dataset) -> dict[str, object]:
    return {
        "name": entry.name,
        "title": entry.title,
        "description": entry.description,
        "licence": entry.licence,
        "homepage": entry.homepage,
        "is_generated": entry.is_generated,
        "size_bytes": entry.size_bytes,
        "required": list(entry.required),
        "sources": [
            redact_urls(getattr(part, "url", "")) or f"code {getattr(part, 'run', '')}"
            for source in entry.sources
            for part in getattr(source, "parts", (source,))
        ],
    }


command.add_command(datasets_splits.command)
for asset_command in datasets_assets.COMMANDS:
    command.add_command(asset_command)
