"""Imports a plugin and registers it alone with pluggy, checked against the specifications of the hooks.

A plugin that changes core is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import PluginError, did_you_mean
from mlops_core.installed.distributions import load_object
from mlops_core.integrity import REFUSAL, CoreWatch, core_watch, described_changes
from mlops_core.use_cases.plugin_faults import plugin_faults

if TYPE_CHECKING:
    import pluggy

    from mlops_core.use_cases.discovery import InstalledUseCase

REQUIRED_HOOKS = (
    "mlops_get_config_model",
    "mlops_get_datasets",
    "mlops_get_steps",
    "mlops_get_metrics",
    "mlops_compute_metrics",
    "mlops_get_gate",
    "mlops_load_predictor",
)


def import_plugin(installed: InstalledUseCase) -> object:
    """Import what the entry point of a use case names.

    Raises:
        PluginError: it cannot be imported, or importing it changes core.
    """
    watch = core_watch()
    with plugin_faults(f"{installed} cannot be imported"):
        plugin = load_object(installed.target)
    _refuse(watch, f"{installed}: importing it")
    return plugin


def refuse_changes(what: str) -> None:
    """Raise an error if core was changed in this process, after undoing it.

    Raises:
        PluginError: the attributes are named.
    """
    _refuse(core_watch(), what)


def _refuse(watch: CoreWatch, what: str) -> None:
    """Raise an error if core was changed since a watch began, after undoing it.

    Raises:
        PluginError: the attributes are named.
    """
    changes = watch.changes()
    if not changes:
        watch.extend()
        return
    watch.restore()
    raise PluginError(f"{what} replaced {described_changes(changes)}; {REFUSAL}: remove the assignment")


def register_plugin(plugin: object, installed: InstalledUseCase) -> pluggy.PluginManager:
    """Return a manager that has only this plugin.

    Raises:
        PluginError: a hook is misspelt, missing, unmarked, or takes an unknown argument.
    """
    import pluggy

    from mlops_core import hookspecs

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    known = {name for name in vars(hookspecs) if name.startswith("mlops_")}
    for name, value in list(vars(plugin).items()):
        if name.startswith("mlops_") and callable(value) and not hasattr(value, f"{hookspecs.PROJECT}_impl"):
            raise PluginError(f"{installed}: {name} is not marked with @hookimpl, so it would never be called")
        if name.startswith("mlops_") and callable(value) and name not in known:
            raise PluginError(f"{installed}: there is no hook {name}{did_you_mean(name, known)}")
    try:
        manager.register(plugin, name=installed.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{installed}: {' '.join(str(error).split())}") from error
    for name in REQUIRED_HOOKS:
        if not getattr(manager.hook, name).get_hookimpls():
            raise PluginError(f"{installed} does not implement the required hook {name}; see docs/hooks.md")
    return manager
