"""Options that a command gets from the runner that ``--runner`` names.

A runner's options are part of a command only when that runner is chosen: ``mlops run --help`` shows core's options,
``mlops run --runner NAME --help`` also those of the runner, in a section of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlops_core.errors import MlopsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mlops_core.runners.plugin import Ability, RunnerPlugin

    DefaultRunner = Callable[[click.Context, Sequence[str]], str]

_META = "mlops_core.cli.runner"


class RunnerCommand(click.Command):
    """A command with ``--runner``; its callback receives ``runner`` and ``runner_options`` besides its own options."""

    def __init__(
        self, *args: Any, default_runner: DefaultRunner | None = None, options_of: str = "", **kwargs: Any
    ) -> None:
        """Add ``--runner`` as the first option.

        Args:
            args: those of `click.Command`.
            default_runner: returns the runner's name where ``--runner`` is missing; None for ``local``.
            options_of: the command whose options of a runner this one has, too; empty for its own.
            kwargs: those of `click.Command`.
        """
        super().__init__(*args, **kwargs)
        self._options_of = options_of
        self._default_runner = default_runner
        self.params.append(
            click.Option(
                ["--runner", "runner"],
                default="",
                metavar="NAME",
                help="Runner to use; its own options are shown with: --runner NAME --help.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Load the runner that the arguments name, then parse them with its options."""
        name = argument_of(args, "--runner")
        asks_for_help = any(argument in ctx.help_option_names for argument in args)
        if name or not asks_for_help:
            ctx.meta[_META] = self._plugin(ctx, name, args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _owned_by(error, self._options_of or str(self.name)) from error

    def _plugin(self, ctx: click.Context, name: str, args: Sequence[str]) -> RunnerPlugin:
        from mlops_core.runners.discovery import LOCAL, load_runner

        if not name:
            name = self._default_runner(ctx, args) if self._default_runner else LOCAL
        return load_runner(name)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's options and those of the chosen runner."""
        return [*super().get_params(ctx), *self._runner_params(ctx)]

    def _runner_params(self, ctx: click.Context) -> Sequence[click.Parameter]:
        plugin: RunnerPlugin | None = ctx.meta.get(_META)
        return plugin.command_options(self._options_of or str(self.name)) if plugin else ()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the command's options, then those of the chosen runner."""
        own = _help_records(super().get_params(ctx), ctx)
        with formatter.section("Options"):
            formatter.write_dl(own)
        added = _help_records(self._runner_params(ctx), ctx)
        if added:
            with formatter.section(f"Options of the runner '{ctx.meta[_META].name}'"):
                formatter.write_dl(added)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command with its own options, the runner's name and the runner's options."""
        plugin: RunnerPlugin = ctx.meta[_META]
        names = [param.name for param in self._runner_params(ctx) if param.name]
        values = {name: ctx.params.pop(name) for name in names}
        ctx.params["runner"] = plugin.name
        ctx.params["runner_options"] = plugin.read_options(values)
        return super().invoke(ctx)


def _help_records(params: Iterable[click.Parameter], context: click.Context) -> list[tuple[str, str]]:
    """Return the options and their help; arguments are in the usage line, and hidden options in neither."""
    options = [param for param in params if isinstance(param, click.Option)]
    return [record for option in options if (record := option.get_help_record(context))]


def argument_of(arguments: Sequence[str], option: str) -> str:
    """Return the value of an option in unparsed arguments, the last one; empty where it is missing."""
    value = ""
    for index, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == option and index + 1 < len(arguments):
            value = arguments[index + 1]
        elif argument.startswith(f"{option}="):
            value = argument.removeprefix(f"{option}=")
    return value


def only_runner_with(ability: Ability) -> DefaultRunner:
    """Return a default: the installed runner with an ability, if there is only one.

    A runner ``x-local``, which carries out the pipelines of ``x`` on this machine, does not compete with ``x``.
    """

    def choose(_: click.Context, __: Sequence[str]) -> str:
        from mlops_core.runners.discovery import runners_that

        names = runners_that(lambda plugin: ability in plugin.abilities)
        names = tuple(name for name in names if name.removesuffix("-local") == name or name[:-6] not in names)
        if len(names) == 1:
            return names[0]
        if not names:
            raise UsageError(f"no installed runner supports '{ability}'; install the plugin of one that does")
        raise UsageError(f"several runners support '{ability}': {', '.join(names)}; choose one with --runner NAME")

    return choose


def _owned_by(error: click.NoSuchOption, command: str) -> click.UsageError:
    """Return the error; where a runner has the option, one that names the runner."""
    from mlops_core.runners.discovery import discover_runners, load_runner

    for installed in discover_runners():
        try:
            options = load_runner(installed.name).command_options(command)
        except MlopsError:
            continue  # a broken plugin harms only those who select it
        if any(error.option_name in (*param.opts, *param.secondary_opts) for param in options):
            return click.UsageError(
                f"{error.option_name} is an option of the runner '{installed.name}'; add --runner {installed.name}",
                ctx=error.ctx,
            )
    return error
