"""``mlops fetch``."""

from __future__ import annotations

import click

from mlops_core.cli.options import chosen_use_case, config_options, json_option, use_case_option
from mlops_core.cli.output import format_size, print_json, run_observer


@click.command("fetch")
@use_case_option
@config_options
@click.option("--seed", type=int, default=0, show_default=True, help="Of generated data.")
@click.option("--offline", "is_offline", is_flag=True, help="Refuse to use the network.")
@json_option
@click.pass_obj
def command(
    context: dict[str, str | None],
    *,
    usecase: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    seed: int,
    is_offline: bool,
    as_json: bool,
) -> None:
    """Fetch the data set of a use case, and nothing else."""
    from dataclasses import asdict

    from mlops_core.api import prepare_run, workspace_path
    from mlops_core.runners.sources import fetch_source
    from mlops_core.store import Store

    request = prepare_run(chosen_use_case(usecase), config=config, overrides=overrides, seed=seed)
    observer = run_observer()
    with Store(workspace_path(context["workspace"])) as store:
        source = fetch_source(
            request.use_case,
            request.config.model,
            store=store,
            seed=seed,
            is_offline=is_offline,
            progress=lambda label, done, total: observer.step_progress("fetch", label, done, total),
        )
    record = source.record
    if as_json:
        print_json({**asdict(record), "was_there": source.was_there})
        return
    what = "already complete" if source.was_there else "fetched"
    kind = " generated data," if record.is_generated else ""
    click.echo(
        f"{record.name}: {what},{kind} {record.files} files, {format_size(record.size_bytes)}, "
        f"digest {record.digest[:12]}, in {record.path}"
    )
