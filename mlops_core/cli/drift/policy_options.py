"""The options of `mlops drift` that make a `DriftPolicy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from mlops_core.cli.options import SEED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlops_core.evaluation.reference_statistics import ReferenceStatistics
    from mlops_core.serving.drift.policy import DriftPolicy
    from mlops_core.serving.models import ServedModel

F = TypeVar("F", bound="Callable[..., object]")
_POSITIVE = click.FloatRange(min=0, min_open=True)


def _windows(ctx: click.Context, param: click.Parameter, given: str | None) -> tuple[int, ...] | None:  # noqa: ARG001
    if given is None:
        return None
    try:
        return tuple(int(each) for each in given.split(","))
    except ValueError:
        raise click.BadParameter(f"{given!r}; expected one or two sizes such as 20,100") from None


def policy_options(function: F) -> F:
    """Add the options of a policy."""
    for option in reversed(
        (
            click.option(
                "--days", type=_POSITIVE, default=30, show_default=True, help="Accept one false alarm in so many days."
            ),
            click.option(
                "--requests-per-hour", "rate", type=_POSITIVE, default=500, show_default=True, help="Expected samples."
            ),
            click.option(
                "--windows",
                callback=_windows,
                metavar="SIZES",
                help="One or two window sizes in observed samples (default: 20,100, less for a small reference).",
            ),
            click.option(
                "--run-length",
                type=click.IntRange(min=1),
                default=2000,
                show_default=True,
                help="Observed samples between false alarms at most; of more, one in so many is observed.",
            ),
            click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of all random numbers."),
        )
    ):
        function = option(function)
    return function


def chosen_policy(
    *, days: float, rate: float, windows: tuple[int, ...] | None, run_length: int, seed: int
) -> DriftPolicy:
    """Return the policy.

    Raises:
        ConfigError: a value is impossible.
    """
    from mlops_core.serving.drift.policy import DriftPolicy

    return DriftPolicy(days=days, requests_per_hour=rate, windows=windows, run_length=run_length, seed=seed)


def kept_calibration(
    workspace: Path | str | None, model: ServedModel, reference: ReferenceStatistics, policy: DriftPolicy
) -> Path | None:
    """Return the folder that keeps the calibration of a policy; None without a workspace."""
    from mlops_core.api import workspace_path
    from mlops_core.serving.watch.folders import calibration_folder

    home = workspace_path(workspace).absolute()
    return calibration_folder(home, model, reference, policy) if home.is_dir() else None
