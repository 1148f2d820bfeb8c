"""``mlops azureml check``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mlops_core.cli.options import HomePath, json_option
from mlops_core.cli.output import print_json
from mlops_core.cli.streams import echo_line


@click.command("check")
@click.argument("file", type=HomePath(dir_okay=False))
@json_option
def check_command(*, file: str, as_json: bool) -> int:
    """Check a pipeline job (YAML) from any source. Use `-` to read standard input.

    Keys, types, names, bindings, expressions and sweeps are checked without a workspace; all faults are listed at once.
    Warnings are probable mistakes that the service accepts. The exit code is 2 if the job has faults.
    """
    from mlops_azureml.checking import examine_text
    from mlops_core import UsageError
    from mlops_core.runners import ExitCode

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from error
    findings = examine_text(text, folder=None if file == "-" else Path(file).absolute().parent)
    labelled = [("fault", each) for each in findings.faults] + [("warning", each) for each in findings.warnings]
    if as_json:
        print_json(
            [
                {"severity": severity, "path": each.path, "problem": each.problem, "fix": each.fix}
                for severity, each in labelled
            ]
        )
    else:
        for severity, each in labelled:
            echo_line(f"warning: {each}" if severity == "warning" else str(each))
        warnings = f", {_count(len(findings.warnings), 'warning')}" if findings.warnings else ""
        echo_line(f"{file}: {_count(len(findings.faults), 'fault')}{warnings}")
    return int(ExitCode.USAGE if findings.faults else ExitCode.OK)


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
