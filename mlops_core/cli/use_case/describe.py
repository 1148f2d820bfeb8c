"""``mlops describe``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlops_core.cli.options import chosen_use_case, config_options, json_option, use_case_option
from mlops_core.cli.output import format_size, print_json, print_table
from mlops_core.cli.streams import echo_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlops_core.datasets.catalogue import Dataset
    from mlops_core.pipeline import Pipeline


@click.command("describe")
@use_case_option
@config_options
@json_option
def command(*, usecase: str | None, config: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the steps, parameters, metrics, gate and data sets of a use case."""
    from mlops_core.api import prepare_run

    request = prepare_run(chosen_use_case(usecase), config=config, overrides=overrides)
    pipeline, use_case = request.pipeline, request.use_case
    datasets = use_case.datasets(request.config.model)
    if as_json:
        names = {"use_case": use_case.name, "plugin": str(use_case.installed)}
        print_json({**pipeline.to_json(), **names, "datasets": [_dataset_json(dataset) for dataset in datasets]})
        return
    echo_line(f"{use_case.installed}; data set {pipeline.dataset}; model {pipeline.model}")
    _print_pipeline(pipeline)
    _print_datasets(datasets)


def _dataset_json(dataset: Dataset) -> dict[str, Any]:
    names = ("name", "title", "licence", "homepage", "size_bytes", "is_generated")
    return {name: getattr(dataset, name) for name in names}


def _print_pipeline(pipeline: Pipeline) -> None:
    print_table(
        ("step", "kind", "reads", "writes", "configuration"),
        [
            (step.name, step.kind, " ".join(step.inputs.values()), " ".join(step.all_outputs), " ".join(step.config))
            for step in pipeline.ordered()
        ],
        title="\nsteps",
    )
    print_table(
        ("parameter", "type", "default", "description"),
        [(item.name, item.type, item.default, item.description) for item in pipeline.parameters],
        title="\nparameters (--param NAME=VALUE)",
    )
    print_table(
        ("metric", "unit", "range", "better"),
        [
            (f"{item.section}.{item.name}", item.unit, f"{item.minimum:g} to {item.maximum:g}", item.direction)
            for item in pipeline.metrics
        ],
        title="\nmetrics",
    )
    click.echo(f"\ngate\n{pipeline.gate.condition}")


def _print_datasets(datasets: Iterable[Dataset]) -> None:
    print_table(
        ("data set", "size", "licence", "title"),
        [
            (item.name, "generated" if item.is_generated else format_size(item.size_bytes), item.licence, item.title)
            for item in datasets
        ],
        title="\ndata sets",
    )
