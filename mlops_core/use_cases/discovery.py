"""Installed use cases, listed from the metadata of their distributions without importing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlops_core.errors import UsageError, did_you_mean
from mlops_core.installed.distributions import broken_entry_points
from mlops_core.installed.plugins import InstalledPlugin, choose_plugin

ENTRY_POINT_GROUP = "mlops.usecases"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledUseCase(InstalledPlugin):
    """A use case; its target holds the hooks."""

    KIND: ClassVar[str] = "use case"


def discover_use_cases() -> tuple[InstalledUseCase, ...]:
    """Return every installed use case, sorted by name; names that several distributions provide appear repeatedly.

    Example:
        >>> [use_case.name for use_case in discover_use_cases() if use_case.distribution == "mlops-toy"]
        ['TOY']
    """
    use_cases = InstalledUseCase.of_group(ENTRY_POINT_GROUP)
    return tuple(sorted(use_cases, key=lambda use_case: (use_case.name.casefold(), use_case.distribution)))


def broken_use_cases() -> tuple[str, ...]:
    """Return one line per distribution whose list of use cases cannot be read, with its file."""
    return broken_entry_points(ENTRY_POINT_GROUP)


def find_use_case(name: str) -> InstalledUseCase:
    """Return the installed use case called `name`, without regard to case.

    Raises:
        UsageError: it is not installed.
        PluginError: several distributions provide it, or its name is not portable.
    """
    installed = discover_use_cases()

    def missing() -> UsageError:
        names = sorted({use_case.name for use_case in installed})
        hint = did_you_mean(name, names) or ";"
        listed = ", ".join(names) or "none; install a plugin with pip, or create one: mlops plugin new NAME"
        broken = "".join(f"; {fault}" for fault in broken_use_cases())
        return UsageError(f"no use case '{name}'{hint} installed: {listed}{broken}")

    return choose_plugin(name, installed, missing=missing)
