"""The command line: click commands, one small file each, imported on use; no logic of its own.

`main` is the console script. It is the outermost function: here, and only here, an error becomes one line on
standard error and an exit code.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import TYPE_CHECKING

import click

from mlops_core.errors import ExitCode, MlopsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMANDS = {
    "list": "List the installed use cases.",
    "describe": "Show a use case: its steps, parameters, metrics, gate and data sets.",
    "import": "Turn another program's configuration into a user_config.yaml, and say what became of each key.",
    "datasets": "Look at data sets: list, show, check, stats.",
    "fetch": "Fetch the data set of a use case, and nothing else.",
    "plan": "Show what a run would do, and why, without doing it.",
    "run": "Run a use case: fetch, its steps, gate, register.",
    "why": "Say why a step of a run was run or reused.",
    "runs": "Look at finished and running runs.",
    "models": "Look at registered models: approve, reject, alias, roll back, export.",
    "parity": "Run locally, execute the compiled definition, and compare the two.",
    "sagemaker-local": "Serve a SageMaker endpoint on this machine that really executes pipelines.",
    "predict": "Classify files with a registered model.",
    "doctor": "Check environment, plugins, disk and workspace; repair after damage.",
    "compile": "Compile a use case to a SageMaker pipeline definition, without AWS.",
    "sagemaker": "Work with SageMaker pipeline definitions and accounts.",
    "package": "Write what docker build needs for the image in which steps run.",
    "ci": "Write the files of a CI service: CodeBuild, GitHub, GitLab.",
    "plugin": "Write a plugin, and check it against the contract.",
    "gate": "Try a gate on models that it must reject.",
    "matrix": "Run every installed use case on every runner, at its smallest configuration.",
    "gc": "Remove what no kept run and no model needs.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called; their one-line help is known before."""

    def __init__(self, *args: object, commands_help: Mapping[str, str], package: str, **kwargs: object) -> None:
        """Take the commands from modules of `package`, named as the commands are."""
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._help = commands_help
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the commands in the order of their work."""
        return list(self._help)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or explain that there is none."""
        if cmd_name not in self._help:
            ctx.fail(f"no command '{cmd_name}'{did_you_mean(cmd_name, self._help) or ';'} see: mlops --help")
        module = importlib.import_module(f"{self._package}.{cmd_name.replace('-', '_')}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._help.items()))


@click.group(
    cls=LazyGroup,
    commands_help=_COMMANDS,
    package=__name__,
    epilog="Exit codes: 0 done and accepted, 1 defect of mlops, 2 usage or configuration, 3 gate rejected, "
    "4 step or runner failed, 5 data set, 6 plugin, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="mlops-usecases", prog_name="mlops")
@click.option("--verbose", is_flag=True, help="Show a traceback with an error.")
@click.option(
    "--workspace",
    type=click.Path(file_okay=False),
    help="Folder for everything that is kept (default: MLOPS_HOME, else .mlops).",
)
@click.pass_context
def cli(context: click.Context, *, verbose: bool, workspace: str | None) -> None:
    """Run machine-learning use cases as pipelines: the same plugin on this machine and in the cloud."""
    context.obj = {"verbose": verbose, "workspace": workspace}


def main() -> None:
    """Run the command line and exit."""
    sys.exit(_exit_code(sys.argv[1:]))


def _exit_code(arguments: list[str]) -> int:
    try:
        result = cli.main(args=arguments, prog_name="mlops", standalone_mode=False)
    except click.ClickException as error:
        where = f"\ntry: {error.ctx.command_path} --help" if isinstance(error, click.UsageError) and error.ctx else ""
        return _fail(f"{error.format_message()}{where}", ExitCode.USAGE, arguments)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _fail("interrupted", ExitCode.INTERRUPTED, [])
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except MlopsError as error:
        return _fail(str(error), error.exit_code, arguments)
    except Exception as error:  # noqa: BLE001  the outermost function: a defect must end in one line too
        hint = "" if "--verbose" in arguments else "; run again with mlops --verbose for the traceback"
        return _fail(f"defect in mlops: {type(error).__name__}: {error}{hint}", ExitCode.DEFECT, arguments)
    return int(result or 0)


def _fail(message: str, code: ExitCode, arguments: list[str]) -> int:
    if "--verbose" in arguments:
        traceback.print_exc()
    click.echo(f"mlops: error: {message}", err=True)
    return int(code)
