"""The command line: click commands, one small file each, imported on use; no logic of its own.

`main` is the console script. It is the outermost function: here, and only here, an error becomes one line on
standard error and an exit code.
"""

from __future__ import annotations

import errno
import importlib
import sys
from typing import TYPE_CHECKING

import click

from mlops_core.cli.options import HomePath
from mlops_core.cli.streams import OutputClosedError, StandardStreams, echo_line, escaped_streams
from mlops_core.control_characters import escape_line
from mlops_core.errors import ExitCode, MlopsError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Run a use case": {
        "list": ("use_case.list", "List installed use cases without importing them."),
        "describe": ("use_case.describe", "Show the steps, parameters, metrics, gate and data sets of a use case."),
        "import": ("use_case.import_config", "Convert another program's configuration to a user_config.yaml."),
        "fetch": ("use_case.fetch", "Fetch the data set of a use case without running it."),
        "plan": ("use_case.plan", "Show which steps a run would execute and why, without executing them."),
        "run": ("use_case.run", "Run a use case: fetch, its steps, gate, register."),
        "step": ("use_case.step", "Execute one step on given folders, to debug it."),
        "why": ("use_case.why", "Explain why a step of a run was executed or reused."),
        "predict": ("use_case.predict", "Classify files with a registered model."),
        "watch": ("use_case.watch", "Start runs when data arrives in a folder."),
        "serve": ("use_case.serve", "Serve a registered model over HTTP."),
        "deploy": ("deployment.deploy", "Deploy a model version to staging or production."),
        "deployments": ("deployment.commands", "List, show, test, roll back and delete deployments."),
        "drift": ("drift.commands", "Find drift in captured requests; simulate drift; list alarms."),
    },
    "Inspect and maintain": {
        "runs": ("runs.commands", "Show, compare, stop and retry runs."),
        "reproduce": ("workspace.reproduce", "Run a stored run again and compare its outputs, step by step."),
        "models": ("models.commands", "Show registered models; approve, reject, alias, roll back, export."),
        "observers": ("workspace.observers", "Show observers of runs and models; deliver what they missed."),
        "datasets": ("workspace.datasets", "Show and check data sets."),
        "ui": ("ui", "Show the workspace in a browser."),
        "doctor": ("workspace.doctor", "Check environment, plugins, disk and workspace; repair damage."),
        "gc": ("workspace.gc", "Remove files that no kept run and no model needs."),
    },
    "Prove and verify": {
        "bundle": ("trust.bundle", "Write the evidence of a run or model to one signed archive."),
        "verify": ("trust.verify", "Check a bundle or a model's signature, without a workspace."),
        "keys": ("trust.keys", "Create keys that sign bundles."),
    },
    "Use an engine": {
        "compile": ("engine.compile", "Compile a use case to an engine's own pipeline definition."),
        "parity": ("engine.parity", "Run locally, execute the compiled definition, and compare the two."),
        "package": ("engine.package", "Write a folder for docker build: the image in which steps run."),
        "ci": ("engine.ci", "Write the files of a CI service: CodeBuild, GitHub, GitLab."),
    },
    "Write a plugin": {
        "plugin": ("author.plugin", "Create a plugin, and check one against the contract."),
        "gate": ("author.gate", "Test a gate on models that it must reject, or replay another one."),
        "matrix": ("author.matrix", "Run every installed use case on every runner of this machine."),
    },
}
"""Section of the help -> command -> (module, one-line help); a command is imported when it is called."""
_DISTRIBUTION = "mlops-usecases"
_OF_THE_SYSTEM = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within the quota",
    errno.EROFS: "use a folder that can be written",
    errno.EACCES: "check who may read and write it",
    errno.EPERM: "check who may read and write it",
    errno.ELOOP: "remove the link that leads to itself",
    errno.EIO: "check the disk",
    errno.ESTALE: "check the network drive",
    errno.EMFILE: "raise the limit: ulimit -n",
    errno.ENFILE: "close other programs",
    errno.ENOMEM: "close other programs",
}
"""What the system refused, which no defect of ours causes -> what to do about it."""
_COMMANDS = {name: entry for section in _SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """The group of all commands: core's are imported when they are called, an engine's when it is named."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command with escaped output, also where the streams are those of the caller."""
        with escaped_streams():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the commands of core, then the groups of installed engines."""
        from mlops_core.runners.discovery import command_groups

        return [*_COMMANDS, *command_groups()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command.

        Raises:
            UsageError: there is no such command.
            PluginError: the engine's plugin cannot be loaded.
        """
        if cmd_name in _COMMANDS:
            module = importlib.import_module(f"{__name__}.{_COMMANDS[cmd_name][0]}")
            command: click.Command = module.command
            return command
        return self._engine_group(ctx, cmd_name)

    def _engine_group(self, ctx: click.Context, name: str) -> click.Command:
        from mlops_core.runners.discovery import command_groups, load_runner

        groups = command_groups()
        if name not in groups:
            known = (*_COMMANDS, *groups)
            ctx.fail(f"no command '{name}'{did_you_mean(name, known) or ';'} see: mlops --help")
        group = load_runner(name).command_group()
        if group is None:
            raise UsageError(f"runner '{name}' has no commands of its own; use it with --runner {name}")
        return group

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands by section without importing them."""
        from mlops_core.runners.discovery import command_groups

        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])
        groups = command_groups()
        if groups:
            with formatter.section("Engines"):
                formatter.write_dl([(name, f"Commands of {runner.distribution}.") for name, runner in groups.items()])


@click.group(
    cls=LazyGroup,
    epilog="Exit codes: 0 done and accepted, 1 defect of mlops, 2 usage or configuration, 3 gate rejected, "
    "bundle not verified or deployment rolled back, 4 step or runner failed, 5 data set, 6 plugin, 130 interrupted.",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "color": True,  # the streams show escape sequences, which click would remove without a trace
    },
)
@click.version_option(package_name=_DISTRIBUTION, prog_name="mlops")
@click.option("--verbose", is_flag=True, help="Show a traceback with an error.")
@click.option(
    "--workspace",
    type=HomePath(file_okay=False),
    help="Workspace folder (default: MLOPS_HOME, else .mlops).",
)
@click.option("--plain", "is_plain", is_flag=True, help="Print plain lines: no borders, bars or redrawn tables.")
@click.pass_context
def cli(context: click.Context, *, verbose: bool, workspace: str | None, is_plain: bool) -> None:
    """Run machine-learning use cases as pipelines: the same plugin on this machine and in the cloud."""
    context.obj = {"verbose": verbose, "workspace": workspace, "plain": is_plain}


def main() -> None:
    """Run the command line and exit."""
    streams = StandardStreams()
    _warn_of_other_distributions()
    code = _exit_code(sys.argv[1:], streams)
    lost = streams.close()
    if lost is not None:
        echo_line(f"mlops: error: standard output is incomplete: {lost.strerror}", err=True)
        code = code or ExitCode.STEP
    sys.exit(code)


def _warn_of_other_distributions() -> None:
    """Warn where another distribution has a package of core's name: which of the two is imported is left to chance."""
    from mlops_core.installed.distributions import other_providers

    for other in other_providers(__file__.rpartition("/cli/")[0], of=_DISTRIBUTION):
        echo_line(
            f"mlops: warning: the distribution {other} provides mlops_core, too, which is the import name of "
            f"{_DISTRIBUTION}; uninstall it: pip uninstall {other}",
            err=True,
        )


def _exit_code(arguments: list[str], streams: StandardStreams | None = None) -> int:
    failure = _Failure(arguments, streams)
    try:
        result = cli.main(args=arguments, prog_name="mlops", standalone_mode=False)
    except click.ClickException as error:
        where = f"\ntry: {error.ctx.command_path} --help" if isinstance(error, click.UsageError) and error.ctx else ""
        return failure.end(error, ExitCode.USAGE, message=error.format_message(), more=where, kind="UsageError")
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        return failure.end(error, ExitCode.INTERRUPTED, message="interrupted", kind="Interrupted")
    except OutputClosedError:
        return ExitCode.OK
    except MlopsError as error:
        return failure.end(error, error.exit_code, message=str(error))
    except Exception as error:  # noqa: BLE001  the outermost function: a defect must end in one line too
        return failure.end_unexpected(error)
    return int(result or 0)


class _Failure:
    """Reports how a call failed: a line on standard error and, with ``--json``, a document on standard output."""

    def __init__(self, arguments: list[str], streams: StandardStreams | None) -> None:
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        self._arguments = arguments
        self._is_verbose = "--verbose" in options
        self._as_json = any(option.partition("=")[0] == "--json" for option in options)
        self._streams = streams

    def end_unexpected(self, error: Exception) -> int:
        """Report an error that nobody foresaw; a name that no system has comes from a configuration or a variable."""
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            message = f"{str(error.filename)[:80]}...: {error.strerror}; use a shorter path"
            return self.end(error, ExitCode.USAGE, message=message, kind="UsageError")
        if isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM:
            where = f"{error.filename}: " if error.filename else ""
            message = f"{where}{error.strerror}; {_OF_THE_SYSTEM[error.errno]}"
            return self.end(error, ExitCode.STEP, message=message, kind="EnvironmentError")
        if isinstance(error, UnicodeEncodeError) and (argument := self._without_text(error.object)):
            message = f"argument {argument!r} is not UTF-8 text; only the paths of files may be that"
            return self.end(error, ExitCode.USAGE, message=message, kind="UsageError")
        hint = "" if self._is_verbose else "; run again with mlops --verbose for the traceback"
        message = f"defect in mlops: {type(error).__name__}: {error}"
        return self.end(error, ExitCode.DEFECT, message=message, more=hint)

    def _without_text(self, text: str) -> str:
        """Return the argument from which a text came that cannot be encoded; empty if it came from elsewhere."""
        odd = (each for each in self._arguments if any("\ud800" <= letter <= "\udfff" for letter in each))
        return next((each for each in odd if each in text or text in each), "")

    def end(self, error: BaseException, code: ExitCode, *, message: str, more: str = "", kind: str = "") -> int:
        from mlops_core.redaction import environment_redactor
        from mlops_core.settings import environment

        redactor = environment_redactor(environment())
        redactor.error(error)  # for the traceback
        message = redactor.text(message)
        if self._is_verbose and code is not ExitCode.INTERRUPTED:
            import traceback

            for line in "".join(traceback.format_exception(error)).splitlines():
                echo_line(f"  {line}", err=True)  # indented: no line of a message looks like one of ours
        if self._as_json and not (self._streams and self._streams.has_output):
            from mlops_core.cli.output import print_json

            problems = list(getattr(error, "problems", ()))
            document = {"code": int(code), "kind": kind or type(error).__name__, "message": message}
            print_json({"error": document | ({"problems": problems} if problems else {})})
        has_lines = isinstance(error, click.ClickException) or bool(getattr(error, "problems", ()))
        shown = "\n".join(map(escape_line, message.split("\n") if has_lines else [message]))
        click.echo(f"mlops: error: {shown}{more}", err=True, color=True)
        return int(code)
