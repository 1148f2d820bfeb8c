"""``mlops why``."""

from __future__ import annotations

import click

from mlops_core.cli.options import json_option
from mlops_core.cli.output import format_duration, print_json, print_table
from mlops_core.cli.streams import echo_line
from mlops_core.errors import UsageError, did_you_mean


@click.command("why")
@click.argument("run", default="latest")
@click.argument("step", required=False)
@json_option
@click.pass_obj
def command(context: dict[str, str | None], *, run: str, step: str | None, as_json: bool) -> None:
    """Explain why a step of a run was executed or reused: which code, value, file or package changed.

    RUN is an id, the beginning of one, or 'latest'. Without STEP, every step is explained in a line.
    """
    from dataclasses import asdict

    from mlops_core.api import open_run

    record = open_run(run, workspace=context["workspace"])
    names = [known.name for known in record.steps]
    chosen = [known for known in record.steps if step in (None, known.name)]
    if not chosen:
        raise UsageError(
            f"run {record.run_id} has no step '{step}'{did_you_mean(str(step), names) or ';'} steps: {', '.join(names)}"
        )
    if as_json:
        print_json([asdict(known) for known in chosen])
        return
    if step is None:
        print_table(("step", "was", "because"), [(known.name, known.status, known.because) for known in chosen])
        return
    found = chosen[0]
    echo_line(f"step {found.name} of run {record.run_id}: {found.status}, {found.because or 'not reached'}")
    if found.changes:
        print_table(
            ("component", "before", "now"),
            [(change.component, change.old or "-", change.new or "-") for change in found.changes],
        )
    if found.warning:
        echo_line(f"warning: {found.warning}")
    if found.key:
        echo_line(f"key {found.key[:12]}, {len(found.key_components)} components, {format_duration(found.duration_s)}")
        print_table(("component", "value"), sorted(found.key_components.items()))
