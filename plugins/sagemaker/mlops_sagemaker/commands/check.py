"""``mlops sagemaker check``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mlops_core.cli.options import json_option
from mlops_core.cli.output import print_json


@click.command("check")
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
def check_command(*, file: str, as_json: bool) -> int:
    """Check a pipeline definition from any source. Use `-` to read standard input.

    Arguments and properties are checked against the service model of botocore, the graph against the rules of the
    service. The exit code is 2 if the definition has faults.
    """
    from mlops_core import UsageError
    from mlops_core.runners import ExitCode
    from mlops_sagemaker.checking import check_text, has_service_model

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from error
    faults = check_text(text)
    if as_json:
        print_json([{"path": fault.path, "problem": fault.problem, "fix": fault.fix} for fault in faults])
    else:
        for fault in faults:
            click.echo(str(fault))
        scope = "" if has_service_model() else " (only the graph was checked; install boto3 to check the arguments too)"
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}" if faults else "no faults"
        click.echo(f"{file}: {count}{scope}")
    return int(ExitCode.USAGE if faults else ExitCode.OK)
