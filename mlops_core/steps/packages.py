"""The distributions that steps declare: which of them are not installed here.

Alternatives share the beginning of their names, such as ``tensorflow`` and ``tensorflow-cpu``: one of them suffices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import PluginError
from mlops_core.installed.distributions import version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlops_core.pipeline import Step


def missing_packages(step: Step) -> tuple[str, ...]:
    """Return the distributions that a step declares and that are not installed, without alternatives to others."""
    installed = [package for package in step.packages if version_of(package) is not None]
    return tuple(
        package
        for package in dict.fromkeys(step.packages)
        if package not in installed and not any(_are_alternatives(package, one) for one in installed)
    )


def describe_missing(missing: Mapping[str, Iterable[str]]) -> str:
    """Return one line about step -> distributions that are not installed."""
    steps: dict[str, list[str]] = {}
    for step, packages in missing.items():
        for package in packages:
            steps.setdefault(package, []).append(f"'{step}'")
    needs = {
        package: f"step {names[0]} needs" if len(names) == 1 else f"steps {', '.join(names)} need"
        for package, names in steps.items()
    }
    return "; ".join(f"{text} {package}, which is not installed" for package, text in needs.items())


def install_command(missing: Mapping[str, Iterable[str]]) -> str:
    """Return the command that installs what is missing."""
    return f"pip install {' '.join(dict.fromkeys(package for packages in missing.values() for package in packages))}"


def require_packages(steps: Iterable[Step]) -> None:
    """Refuse steps whose distributions are not installed.

    Raises:
        PluginError: distributions are missing; all of them are named, each with its steps.
    """
    missing = {step.name: packages for step in steps if (packages := missing_packages(step))}
    if missing:
        raise PluginError(f"{describe_missing(missing)}; {install_command(missing)}")


def _are_alternatives(first: str, second: str) -> bool:
    return f"{first}-".startswith(f"{second}-") or f"{second}-".startswith(f"{first}-")
