"""Finding runners: ``local`` is part of core, all others come from installed distributions and are imported on use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mlops_core.errors import PluginError, UsageError, did_you_mean
from mlops_core.installed.distributions import version_of
from mlops_core.installed.plugins import InstalledPlugin, choose_plugin, import_target
from mlops_core.runners.plugin import RunnerPlugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.plugin import Runner, RunnerOptions
    from mlops_core.workspace.store import Store

RUNNER_GROUP = "mlops.runners"
LOCAL = "local"
_CORE = "mlops-usecases"
_BUILT_IN = "mlops_core.runners.local.plugin:PLUGIN"
_ON_THIS_MACHINE = "-local"
"""Ends the name of a runner that carries out another runner's pipelines on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledRunner(InstalledPlugin):
    """A runner; its target is a `mlops_core.runners.RunnerPlugin`, its name that of ``--runner``."""

    KIND: ClassVar[str] = "runner"


def discover_runners() -> tuple[InstalledRunner, ...]:
    """Return every installed runner, ``local`` first, then by name; duplicates are included."""
    local = InstalledRunner(name=LOCAL, target=_BUILT_IN, distribution=_CORE, version=_core_version())
    others = [
        runner
        for runner in InstalledRunner.of_group(RUNNER_GROUP)
        if runner.name.casefold() != LOCAL  # core's name
    ]
    return (local, *sorted(others, key=lambda runner: (runner.name.casefold(), runner.distribution)))


def find_runner(name: str) -> InstalledRunner:
    """Return the installed runner called `name`, without regard to case.

    Raises:
        UsageError: it is not installed.
        PluginError: several distributions provide it, or its name is not portable.
    """
    installed = discover_runners()

    def missing() -> UsageError:
        names = sorted({runner.name for runner in installed})
        hint = did_you_mean(name, names) or ";"
        return UsageError(
            f"no runner '{name}'{hint} installed: {', '.join(names)}; another one comes with a distribution "
            "of its own, which its documentation names"
        )

    return choose_plugin(name, installed, missing=missing)


def load_runner(name: str) -> RunnerPlugin:
    """Import the plugin of the runner called `name`.

    Raises:
        UsageError: it is not installed.
        PluginError: it cannot be imported, or is not a runner plugin.
    """
    if name.casefold() == LOCAL:  # without a look at the metadata of all distributions
        from mlops_core.runners.local.plugin import PLUGIN

        return PLUGIN
    return _loaded(find_runner(name))


def _core_version() -> str:
    return version_of(_CORE) or "not installed"


def _loaded(installed: InstalledRunner) -> RunnerPlugin:
    remedy = f"; reinstall {installed.distribution} with its dependencies"
    plugin = import_target(installed.target, what=str(installed), remedy=remedy)
    if not isinstance(plugin, RunnerPlugin):
        raise PluginError(
            f"{installed}: {installed.target} is a {type(plugin).__name__}; expected an instance of "
            "mlops_core.runners.RunnerPlugin"
        )
    return plugin


def open_runner(
    name: str,
    store: Store,
    *,
    observer: RunObserver,
    jobs: int | None = None,
    options: RunnerOptions | None = None,
) -> Runner:
    """Return the runner called `name`.

    Raises:
        UsageError: it is not installed, or an option does not fit.
        PluginError: its plugin cannot be loaded.
        ConfigError: the settings that the options name are wrong.
    """
    return load_runner(name).create_runner(store, observer=observer, jobs=jobs, options=options)


def runners_that(can: Callable[[RunnerPlugin], bool]) -> tuple[str, ...]:
    """Return the names of the installed runners of which `can` is true; a broken plugin is passed over."""
    names = []
    for installed in discover_runners():
        try:
            if can(_loaded(installed)):
                names.append(installed.name)
        except PluginError:
            continue  # a broken plugin affects only the runs that select it
    return tuple(names)


def command_groups() -> dict[str, InstalledRunner]:
    """Return the name of a command group -> the runner that may provide it; nothing is imported."""
    return {
        runner.name: runner
        for runner in discover_runners()
        if runner.name != LOCAL and not runner.name.endswith(_ON_THIS_MACHINE)
    }
