"""Installed plugins, whatever they provide: found by name in the metadata, and imported on use.

Use cases, runners, observers and serving protocols are entry points of distributions. Which groups there are and what
an entry point must be is said where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from mlops_core.errors import MlopsError, PluginError
from mlops_core.installed.distributions import entry_points, load_object
from mlops_core.names import require_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

PluginT = TypeVar("PluginT", bound="InstalledPlugin")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPlugin:
    """A plugin as the metadata of its distribution declares it; its code is not imported.

    Attributes:
        name: the entry point's name.
        target: ``module`` or ``module:object``.
        distribution: name of the distribution that provides it.
        version: version of that distribution.
    """

    KIND: ClassVar[str] = "plugin"
    """What messages call it."""

    name: str
    target: str
    distribution: str
    version: str

    def __str__(self) -> str:
        """Name it as messages do."""
        return f"{self.KIND} '{self.name}' ({self.distribution} {self.version})"

    @classmethod
    def of_group(cls, group: str) -> frozenset[Self]:
        """Return the plugins of a group of entry points; several distributions may provide one of the same name."""
        return frozenset(
            cls(name=entry.name, target=entry.value, distribution=entry.distribution, version=entry.version)
            for entry in entry_points(group)
        )


def choose_plugin(name: str, installed: Iterable[PluginT], *, missing: Callable[[], MlopsError]) -> PluginT:
    """Return the plugin called `name`, without regard to case.

    Args:
        name: of the plugin.
        installed: all of its kind.
        missing: makes the error for a name that none has.

    Raises:
        MlopsError: from `missing`.
        PluginError: several distributions provide it, or its name is not portable.
    """
    matches = [plugin for plugin in installed if plugin.name.casefold() == name.casefold()]
    if not matches:
        raise missing()
    kind = matches[0].KIND
    if len(matches) > 1:
        providers = " and ".join(f"{match.distribution} {match.version}" for match in matches)
        raise PluginError(f"{kind} '{name}' is provided by {providers}; uninstall all but one of them")
    (match,) = matches
    require_name(match.name, what=f"{match.distribution} {match.version}: the {kind}", error=PluginError)
    return match


def import_target(target: str, *, what: str, remedy: str = "") -> object:
    """Import what an entry point names.

    Args:
        target: ``module`` or ``module:object``.
        what: names the plugin in messages.
        remedy: end of the message; empty for none.

    Raises:
        PluginError: it cannot be imported.
        MlopsError: raised by the plugin itself.
    """
    try:
        return load_object(target)
    except MlopsError:
        raise
    except (Exception, SystemExit) as error:  # a plugin may raise anything while it is imported
        reason = " ".join(str(error).split())
        raise PluginError(f"{what} cannot be imported: {type(error).__name__}: {reason}{remedy}") from error
