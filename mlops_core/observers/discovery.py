"""Installed observers, from the metadata of their distributions; `load_observer` imports one, in its own process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mlops_core.config_files.workspace_settings import read_workspace_settings
from mlops_core.errors import PluginError, UsageError, did_you_mean
from mlops_core.installed.distributions import load_object
from mlops_core.installed.plugins import InstalledPlugin
from mlops_core.names import name_fault
from mlops_core.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

    import pluggy

    from mlops_core.config_files.loaded import LoadedConfig

OBSERVER_GROUP = "mlops.observers"
OBSERVERS_FOLDER = "observers"
"""In a workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledObserver(InstalledPlugin):
    """An observer; its target holds the hooks."""

    KIND: ClassVar[str] = "observer"


def discover_observers() -> tuple[InstalledObserver, ...]:
    """Return every installed observer that can be chosen, sorted by name.

    One whose name is not portable, or that several distributions provide, is left out: it harms nobody else.

    Example:
        >>> "nothing" in [observer.name for observer in discover_observers()]
        False
    """
    observers = [each for each in InstalledObserver.of_group(OBSERVER_GROUP) if not name_fault(each.name)]
    names = [observer.name.casefold() for observer in observers]
    unique = (observer for observer in observers if names.count(observer.name.casefold()) == 1)
    return tuple(sorted(unique, key=lambda observer: observer.name))


def active_observers(home: Path, config: LoadedConfig | None = None) -> tuple[InstalledObserver, ...]:
    """Return the installed observers that receive events of a workspace.

    An observer is active if ``workspace.yaml`` has a section ``observers.NAME``, if ``MLOPS_OBSERVERS`` names it, or if
    the run's configuration has a section of its name with a value. Without `config`, so is one that was active before.

    Args:
        home: the workspace's folder.
        config: of a run; None outside of runs.

    Raises:
        ConfigError: ``workspace.yaml`` is wrong.
    """
    installed = discover_observers()
    if not installed:
        return ()
    named = {name.strip().casefold() for name in read_settings().environ.get("MLOPS_OBSERVERS", "").split(",")}
    settings = read_workspace_settings(home).observers
    sections = {} if config is None else config.sections()

    def is_active(name: str) -> bool:
        if name in settings or name.casefold() in named:
            return True
        if config is None:
            return (home / OBSERVERS_FOLDER / name).is_dir()
        section = sections.get(name)
        return isinstance(section, Mapping) and any(value is not None for value in section.values())

    return tuple(observer for observer in installed if is_active(observer.name))


def find_observer(name: str) -> InstalledObserver:
    """Return the installed observer of this name, without regard to case.

    Raises:
        UsageError: it is not installed.
    """
    installed = discover_observers()
    for observer in installed:
        if observer.name.casefold() == name.casefold():
            return observer
    names = [observer.name for observer in installed]
    hint = did_you_mean(name, names) or ";"
    raise UsageError(f"no observer '{name}'{hint} installed: {', '.join(names) or 'none; for example mlops-mlflow'}")


def load_observer(installed: InstalledObserver) -> pluggy.PluginManager:
    """Import an observer and return a manager that calls its hooks.

    Raises:
        PluginError: it cannot be imported, or has a hook that does not exist or takes other arguments.
    """
    import pluggy

    from mlops_core.hookspecs import PROJECT
    from mlops_core.observers import hookspecs

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(load_object(installed.target), name=installed.name)
        manager.check_pending()
    except Exception as error:  # the plugin's module is foreign code
        raise PluginError(f"{installed}: {type(error).__name__}: {error}") from error
    return manager
