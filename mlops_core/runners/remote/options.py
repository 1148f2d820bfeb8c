"""Options that every run on another machine has: settings, limits, and whether to wait for its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_core.runners.plugin import RunnerOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

    OptionsT = TypeVar("OptionsT", bound="RemoteOptions")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions(RunnerOptions):
    """Options of one run that a service carries out.

    Attributes:
        settings: the engine's settings file.
        settings_overrides: texts such as ``"account.bucket=name"``.
        pipeline_name: name of the pipeline at the service; derived from the use case's name where it is empty.
        timeout_s: maximum time to wait for the end; None for no limit.
        is_detached: return after the start instead of waiting for the end.
        max_cost: in US dollars; a run whose estimate is higher is refused.
        prices: price table to use instead of the engine's own.
    """

    settings: Path | None = None
    settings_overrides: tuple[str, ...] = ()
    pipeline_name: str = ""
    timeout_s: float | None = None
    is_detached: bool = False
    max_cost: float | None = None
    prices: Path | None = None


def pipeline_name_option() -> click.Option:
    """Return ``--pipeline-name``."""
    import click

    return click.Option(
        ["--pipeline-name"], default="", help="Name of the pipeline at the service (default: from the use case)."
    )


def prices_option() -> click.Option:
    """Return ``--prices``."""
    import click

    return click.Option(
        ["--prices"],
        type=click.Path(dir_okay=False, path_type=Path),
        help="Price table to use instead of the built-in one.",
    )


def run_options() -> tuple[click.Option, ...]:
    """Return the options of ``mlops run`` that every remote engine has."""
    import click

    return (
        pipeline_name_option(),
        click.Option(
            ["--timeout", "timeout_s"],
            type=click.FloatRange(min=0),
            metavar="SECONDS",
            help="Maximum time to wait for the end of the run; it continues at the service.",
        ),
        click.Option(["--no-wait", "is_detached"], is_flag=True, help="Start the run and return without waiting."),
        click.Option(
            ["--max-cost"],
            type=click.FloatRange(min=0),
            metavar="USD",
            help="Refuse a run whose estimated cost is higher.",
        ),
        prices_option(),
    )


def read_options(kind: type[OptionsT], values: Mapping[str, Any]) -> OptionsT:
    """Return options of `kind` from the values of click parameters; None means the default."""
    present = {name: value for name, value in values.items() if value is not None}
    return kind(**present)
