"""Kinds of output that the chosen use case adds to ``mlops predict``: their options, their help, their result."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from mlops_core.cli.output import print_json
from mlops_core.cli.streams import echo_line, echo_while_read
from mlops_core.errors import MlopsError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_core.predictors import OptionValue, OutputOption, PredictionOutput, Predictor
    from mlops_core.use_cases.manager import UseCase

STANDARD_INPUT = "-"
JSON = "json"
_ADDED = "mlops.prediction_outputs"


@dataclass(slots=True, kw_only=True)
class AddedOptions:
    """The options that a use case adds to one call of ``mlops predict``, and the values that were set.

    Attributes:
        use_case: the chosen use case; None for none.
        outputs: its further kinds of output.
        values: name -> value of each added option that is on the command line.
        fault: why the use case could not be loaded, for ``--help``; empty if it was.
    """

    use_case: UseCase | None = None
    outputs: tuple[PredictionOutput, ...] = ()
    values: dict[str, OptionValue] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenOutput:
    """The kind of output that the command line asks for.

    Attributes:
        use_case: that adds the output.
        output: its declaration.
        format: one of its formats.
        options: name -> value of each of its options.
    """

    use_case: UseCase
    output: PredictionOutput
    format: str
    options: dict[str, OptionValue]

    def write(self, predictor: Predictor, files: Sequence[str]) -> None:
        """Write the output for `files`; ``-`` is standard input."""
        from mlops_core.predictors import OutputRequest, PredictionInput

        inputs = tuple(
            PredictionInput(name=printable(file), content=sys.stdin.buffer if file == STANDARD_INPUT else Path(file))
            for file in files
        )
        request = OutputRequest(inputs=inputs, format=self.format, options=self.options)
        self.use_case.write_output(self.output, predictor, request=request, emitter=TerminalEmitter())


class TerminalEmitter:
    """Writes results to standard output and notes to standard error; see `mlops_core.OutputEmitter`."""

    def line(self, text: str) -> None:
        """Write a line and flush it."""
        echo_while_read(text)

    def document(self, data: object) -> None:
        """Write `data` as indented JSON."""
        print_json(data)

    def note(self, text: str) -> None:
        """Write a line to standard error."""
        echo_line(text, err=True)


class OutputCommand(click.Command):
    """A command with ``--usecase`` that also takes the options which the chosen use case adds."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Load the use case that `args` or USECASE_NAME choose, then parse with its options.

        Raises:
            UsageError: an option that neither the command nor the use case has.
            PluginError: the use case cannot be loaded.
        """
        ctx.meta[_ADDED] = self._added(ctx, args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise self._unknown_option(ctx, error.option_name) from error

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and those that the use case adds."""
        return [*super().get_params(ctx), *_parameters(added_options(ctx))]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then those of the use case in a section of their own."""
        added = added_options(ctx)
        name = added.use_case.name if added.use_case else ""
        own = [item for item in super().get_params(ctx) if isinstance(item, click.Option)]
        for title, options in (("Options", own), (f"Options of the use case '{name}'", [*_parameters(added)])):
            if records := [record for item in options if (record := item.get_help_record(ctx))]:
                with formatter.section(title):
                    formatter.write_dl(records)
        if added.fault:
            formatter.write_paragraph()
            formatter.write_text(f"The options of the use case are not shown: {added.fault}")

    def _added(self, ctx: click.Context, args: Sequence[str]) -> AddedOptions:
        try:
            return _load(self._own_values(ctx, args).get("usecase"))
        except MlopsError as error:
            is_help = not {*args}.isdisjoint(ctx.help_option_names)
            if is_help or ctx.resilient_parsing:  # help and completion work without the plugin
                return AddedOptions(fault=str(error))
            raise

    def _own_values(self, ctx: click.Context, args: Sequence[str]) -> dict[str, Any]:
        """Return the values of the command's own options, before those of the use case are known."""
        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        try:
            values, _, _ = parser.parse_args(list(args))
        except click.UsageError:  # reported when all options are known
            return {}
        return values

    def _unknown_option(self, ctx: click.Context, name: str) -> UsageError:
        added = added_options(ctx)
        options = [text for item in self.get_params(ctx) for text in item.opts if text.startswith("--")]
        hint = did_you_mean(name, options)
        if added.use_case is None:
            return UsageError(f"{ctx.info_name} has no option {name}{hint or ';'} set --usecase if a use case adds it")
        return UsageError(
            f"{ctx.info_name} has no option {name} for the use case {added.use_case.name}{hint or ';'} see: "
            f"{ctx.command_path} --usecase {added.use_case.name} --help"
        )


def added_options(ctx: click.Context) -> AddedOptions:
    """Return the options that a use case adds to this call; none before the arguments were parsed."""
    return cast("AddedOptions", ctx.meta.setdefault(_ADDED, AddedOptions()))


def chosen_output(ctx: click.Context, *, as_json: bool, exclusive: Sequence[str] = ()) -> ChosenOutput | None:
    """Return the kind of output that the command line asks for; None for the scores of each file.

    Args:
        ctx: of the command, after parsing.
        as_json: whether ``--json`` is set, which selects the format ``json`` in place of the first one.
        exclusive: names of the command's own options that cannot be combined with another kind of output.

    Raises:
        UsageError: two kinds, or an option that does not belong to the chosen one.
    """
    added = added_options(ctx)
    chosen = [output for output in added.outputs if output.name in added.values]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(f'--{output.name}' for output in chosen)} exclude each other; keep one")
    for output in added.outputs:
        for option in output.options:
            if option.name in added.values and output not in chosen:
                raise UsageError(f"--{option.name} needs --{output.name}, which is not set")
    if not chosen or added.use_case is None:
        return None
    (output,) = chosen
    for name in exclusive:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name} cannot be combined with --{output.name}; leave one of them out")
    if as_json and JSON not in output.formats:
        raise UsageError(f"--json: --{output.name} has no such format; it has: {', '.join(output.formats)}")
    form = str(added.values[output.name])
    if as_json and form not in {JSON, output.formats[0]}:
        raise UsageError(f"--json cannot be combined with --{output.name} {form}; leave one of them out")
    return ChosenOutput(
        use_case=added.use_case,
        output=output,
        format=JSON if as_json else form,
        options={option.name: added.values.get(option.name, option.default) for option in output.options},
    )


def printable(file: str | Path) -> str:
    """Return a name of a file whose bytes may not be text as text that can be printed."""
    return str(file).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _load(name: str | None) -> AddedOptions:
    from mlops_core.settings import read_settings
    from mlops_core.use_cases.manager import load_use_case

    name = name or read_settings().use_case
    if not name:
        return AddedOptions()
    use_case = load_use_case(name)
    return AddedOptions(use_case=use_case, outputs=use_case.prediction_outputs())


def _parameters(added: AddedOptions) -> Iterator[click.Option]:
    def keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if ctx.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE:
            added.values[parameter.opts[0].removeprefix("--")] = value

    for output in added.outputs:
        yield _option(output.name, type=click.Choice(output.formats), help=output.help, callback=keep)
        for option in output.options:
            yield _option(option.name, callback=keep, **_click_arguments(option))


def _option(name: str, **arguments: Any) -> click.Option:
    """Return a click option whose value stays out of the command's arguments."""
    return click.Option([f"--{name}", f"added_{name.replace('-', '_')}"], expose_value=False, **arguments)


def _click_arguments(option: OutputOption) -> dict[str, Any]:
    from mlops_core.predictors import OptionType

    limits: dict[str, Any] = {"min": option.minimum, "max": option.maximum}
    kinds: dict[OptionType, Any] = {
        OptionType.TEXT: click.STRING,
        OptionType.INTEGER: click.IntRange(**limits),
        OptionType.FLOAT: click.FloatRange(**limits),
    }
    shown = {"help": option.help, "default": option.default, "show_default": option.default is not None}
    if option.type is OptionType.FLAG:
        return {**shown, "is_flag": True, "default": bool(option.default), "show_default": False}
    return {**shown, "type": kinds[option.type], "metavar": option.metavar or None}
