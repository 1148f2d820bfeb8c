"""Installed use cases, listed from the metadata of their distributions without importing them."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_core.errors import PluginError, UsageError, did_you_mean
from mlops_core.names import require_name
from mlops_core.use_cases.distributions import broken_entry_points, entry_points

ENTRY_POINT_GROUP = "mlops.usecases"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledUseCase:
    """A use case as the metadata of its distribution declares it.

    Attributes:
        name: the entry point's name, which is the use case's.
        target: the module, or ``module:object``, that holds the hooks.
        distribution: name of the distribution that provides it.
        version: version of that distribution.
    """

    name: str
    target: str
    distribution: str
    version: str

    def __str__(self) -> str:
        """Name it as messages do."""
        return f"use case '{self.name}' ({self.distribution} {self.version})"


def discover_use_cases() -> tuple[InstalledUseCase, ...]:
    """Return every installed use case, sorted by name; names that several distributions provide appear repeatedly.

    Example:
        >>> [use_case.name for use_case in discover_use_cases() if use_case.distribution == "mlops-toy"]
        ['TOY']
    """
    use_cases = {
        InstalledUseCase(name=entry.name, target=entry.value, distribution=entry.distribution, version=entry.version)
        for entry in entry_points(ENTRY_POINT_GROUP)
    }
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
    matches = [use_case for use_case in installed if use_case.name.casefold() == name.casefold()]
    if not matches:
        names = sorted({use_case.name for use_case in installed})
        hint = did_you_mean(name, names) or ";"
        listed = ", ".join(names) or "none; install a plugin with pip, or create one: mlops plugin new NAME"
        broken = "".join(f"; {fault}" for fault in broken_use_cases())
        raise UsageError(f"no use case '{name}'{hint} installed: {listed}{broken}")
    if len(matches) > 1:
        providers = " and ".join(f"{match.distribution} {match.version}" for match in matches)
        raise PluginError(f"use case '{name}' is provided by {providers}; uninstall all but one of them")
    (match,) = matches
    require_name(match.name, what=f"{match.distribution} {match.version}: the use case", error=PluginError)
    return match
