"""What a user may say of a run that another machine carries out: account, limits, and whether to wait for its end."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """Options of one run; a runner refuses those that mean nothing to it.

    Attributes:
        settings: a ``sagemaker.yaml``.
        settings_overrides: texts such as ``"account.bucket=name"``.
        region: of the service.
        pipeline_name: under which it is submitted; that of the use case where it is empty.
        timeout_s: to wait no longer than this for the end; None for no limit.
        is_detached: do not wait for the end.
        max_cost: in US dollars; a run whose estimate is higher is refused.
        prices: a table of prices instead of the one that comes along.
        artifacts_dir: where the evaluation is put, too.
    """

    settings: Path | None = None
    settings_overrides: tuple[str, ...] = ()
    region: str | None = None
    pipeline_name: str = ""
    timeout_s: float | None = None
    is_detached: bool = False
    max_cost: float | None = None
    prices: Path | None = None
    artifacts_dir: Path | None = None

    def check(self, runner: str, *, known: tuple[str, ...]) -> None:
        """Refuse every option that is set and not among `known`.

        Raises:
            UsageError: naming it.
        """
        for option in fields(self):
            if option.name not in known and getattr(self, option.name) != option.default:
                flag = _FLAGS.get(option.name, f"--{option.name.replace('_', '-')}")
                raise UsageError(f"{flag} means nothing to the runner '{runner}'; leave it out")


_FLAGS = {
    "settings_overrides": "--set-sagemaker, --role, --bucket or --image",
    "timeout_s": "--timeout",
    "is_detached": "--no-wait",
}
