"""Options that several commands share, and how their values are parsed."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from click.shell_completion import CompletionItem


class HomePath(click.Path):
    """A path of the command line that the system can have; ``~`` and ``~user`` are home folders.

    A shell replaces them at the beginning of a word only, so that ``--output=~/model`` would be a folder called ``~``.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; a file of exactly this name is taken as it is.

        Raises:
            UsageError: there is no such user, or the system has no names of this length.
        """
        path = os.fspath(value)
        if isinstance(path, str) and path.startswith("~") and not os.path.lexists(path):
            from mlops_core.settings import expand_home

            value = str(expand_home(path, what=_shown_name(param)))
        try:
            os.lstat(value)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise UsageError(f"{_shown_name(param)}: {error.strerror}: {path[:80]}...") from None
        except ValueError:
            pass  # a NUL in it, which the reader reports
        return super().convert(value, param, ctx)


def _shown_name(param: click.Parameter | None) -> str:
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return str(param.name).upper() if param is not None and param.name else "path"


F = TypeVar("F", bound="Callable[..., object]")
_FOLDS = "dataset.folds=all"
SEED = click.IntRange(0, 2**32 - 1)
"""The seeds that every random number generator accepts."""


def _complete_use_case(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    from click.shell_completion import CompletionItem

    from mlops_core.use_cases.discovery import discover_use_cases

    names = (use_case.name for use_case in discover_use_cases())
    return [CompletionItem(name) for name in names if name.casefold().startswith(incomplete.casefold())]


def use_case_option(function: F) -> F:
    """Add ``--usecase``; without it, the environment variable USECASE_NAME decides."""
    return click.option(
        "--usecase",
        "-u",
        metavar="NAME",
        shell_complete=_complete_use_case,
        help="Use case to run (default: the environment variable USECASE_NAME).",
    )(function)


def folds_option(function: F) -> F:
    """Add ``--folds``, short for the override that enables cross-validation; needs `config_options`."""
    return click.option(
        "--folds",
        is_flag=True,
        is_eager=True,  # before --set, whose values it begins
        expose_value=False,
        callback=lambda ctx, _, is_asked: ctx.meta.update({_FOLDS: is_asked}),
        help=f"Cross-validate: use each fold of the data set as the test fold once (short for --set {_FOLDS}).",
    )(function)


def config_options(function: F) -> F:
    """Add ``--config`` and ``--set``."""
    function = click.option(
        "--set",
        "overrides",
        multiple=True,
        callback=lambda ctx, _, given: (_FOLDS, *given) if ctx.meta.get(_FOLDS) else given,
        metavar="KEY=VALUE",
        help="Override one configuration value, for example training.epochs=3. Repeatable.",
    )(function)
    return click.option(
        "--config",
        "-c",
        metavar="FILE",
        type=HomePath(),
        help="Configuration file (user_config.yaml); keys that it does not set keep the plugin's defaults.",
    )(function)


def selection_options(function: F) -> F:
    """Add ``--from``, ``--only`` and ``--force``."""
    function = click.option(
        "--force", multiple=True, metavar="STEP", help="Run this step even if its result could be reused. Repeatable."
    )(function)
    function = click.option(
        "--only", multiple=True, metavar="STEP", help="Run only this step, without the gate. Repeatable."
    )(function)
    return click.option(
        "--from", "start", default="", metavar="STEP", help="Run this step and all that follow it; reuse those before."
    )(function)


def run_options(function: F) -> F:
    """Add ``--param`` and ``--seed``."""
    function = click.option("--seed", type=SEED, default=0, show_default=True, help="Random seed.")(function)
    return click.option(
        "--param",
        "parameters",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set a parameter of the pipeline. Repeatable.",
    )(function)


def json_option(function: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")(function)


def chosen_use_case(given: str | None) -> str:
    """Return the use case's name: the option, else USECASE_NAME.

    Raises:
        UsageError: neither is set.
    """
    from mlops_core.settings import read_settings

    name = given or read_settings().use_case
    if not name:
        raise UsageError("no use case: give --usecase NAME or set USECASE_NAME; mlops list shows the installed ones")
    return name


def installed_use_case(given: str | None) -> str:
    """Return the name of an installed use case: the option, else USECASE_NAME.

    Raises:
        UsageError: neither is set, or it is not installed.
        PluginError: several distributions provide it.
    """
    from mlops_core.use_cases.discovery import find_use_case

    return find_use_case(chosen_use_case(given)).name


def parse_parameters(texts: Sequence[str]) -> dict[str, str]:
    """Return name -> text of the ``--param`` options; the last value of a name wins.

    Raises:
        UsageError: one has no ``=``.
    """
    pairs = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise UsageError(f"--param {text!r} is not NAME=VALUE")
        pairs[name.strip()] = value
    return pairs


def require_use_case(usecase: str | None) -> None:
    """Check that a use case is installed; called where the workspace knows nothing of the one that was named.

    Raises:
        UsageError: it is not; the message names those that are.
    """
    from mlops_core.errors import PluginError

    if usecase:
        with contextlib.suppress(PluginError):  # it is installed more than once
            installed_use_case(usecase)


def registered_name(usecase: str | None) -> str:
    """Return the use case's name as it is registered; its plugin does not have to be installed."""
    from mlops_core.errors import PluginError
    from mlops_core.use_cases.discovery import find_use_case

    given = chosen_use_case(usecase)
    try:
        return find_use_case(given).name
    except (PluginError, UsageError):
        return given.upper()
