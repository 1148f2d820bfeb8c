"""``mlops describe``."""

from __future__ import annotations

import click

from mlops_core.cli.options import chosen_use_case, config_options, json_option, use_case_option
from mlops_core.cli.output import format_size, print_json, print_table


@click.command("describe")
@use_case_option
@config_options
@json_option
def command(*, usecase: str | None, config: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show a use case: its steps, parameters, metrics, gate and data sets."""
    from mlops_core.api import prepare_run

    request = prepare_run(chosen_use_case(usecase), config=config, overrides=overrides)
    pipeline = request.pipeline
    datasets = request.use_case.datasets(request.config.model)
    if as_json:
        print_json(
            {
                **pipeline.to_json(),
                "use_case": request.use_case.name,
                "plugin": str(request.use_case.installed),
                "datasets": [
                    {
                        "name": item.name,
                        "title": item.title,
                        "licence": item.licence,
                        "homepage": item.homepage,
                        "size_bytes": item.size_bytes,
                        "is_generated": item.is_generated,
                    }
                    for item in datasets
                ],
            }
        )
        return
    click.echo(f"{request.use_case.installed}; data set {pipeline.dataset}; model {pipeline.model}")
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
    print_table(
        ("data set", "size", "licence", "what"),
        [
            (item.name, "generated" if item.is_generated else format_size(item.size_bytes), item.licence, item.title)
            for item in datasets
        ],
        title="\ndata sets",
    )
