"""What ``mlops doctor`` finds: environment, plugins, disk and workspace, each with a cure."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core.runners import RunRequest
    from mlops_core.runners.remote.options import RunnerOptions
    from mlops_core.workspace.store import Store

_OLDEST_PYTHON = (3, 11)
_LITTLE_DISK_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what.
        is_good: nothing has to be done.
        found: in words.
        cure: what to do; empty when nothing has to be done.
    """

    subject: str
    is_good: bool
    found: str
    cure: str = ""


def examine(home: Path, *, is_repaired: bool = False) -> tuple[Finding, ...]:
    """Look at everything; with `is_repaired`, discard damaged artifacts.

    Args:
        home: the workspace; it is not created when it does not exist.
        is_repaired: change the workspace.
    """
    return (*_environment(), *_plugins(), *_disk(home), *_workspace(home, is_repaired=is_repaired))


def examine_runner(request: RunRequest, options: RunnerOptions) -> tuple[Finding, ...]:
    """Look at what a run in an account needs; nothing is changed.

    Raises:
        UsageError: role, bucket or image are not named.
        ConfigError: the settings are wrong.
    """
    from mlops_sagemaker.compiler.definition import compile_pipeline
    from mlops_sagemaker.service.account import Account
    from mlops_sagemaker.service.preflight import examine_account
    from mlops_sagemaker.target import find_target

    target = find_target(request.use_case.name, options)
    definition = compile_pipeline(request, target.settings).data
    account = Account(region=options.region)
    checks = examine_account(request.use_case.name, definition, target, account=account)
    return tuple(
        Finding(subject=check.subject, is_good=check.is_good, found=check.found, cure=check.cure) for check in checks
    )


def _environment() -> Iterator[Finding]:
    from mlops_core.runners.local.confinement import landlock_version

    yield Finding(
        subject="python",
        is_good=sys.version_info >= _OLDEST_PYTHON,
        found=f"{platform.python_version()} on {platform.platform()}",
        cure="" if sys.version_info >= _OLDEST_PYTHON else "install Python 3.11 or newer",
    )
    version = landlock_version()
    found = f"Landlock {version}: a step can write to its outputs only"
    if not version:
        found = "not confined by the system; inputs are checked after each step instead"
    yield Finding(subject="step isolation", is_good=True, found=found)


def _plugins() -> Iterator[Finding]:
    from mlops_core.use_cases.discovery import discover_use_cases
    from mlops_core.use_cases.manager import load_use_case

    try:
        installed = discover_use_cases()
    except MlopsError as error:
        yield Finding(subject="plugins", is_good=False, found=str(error), cure="uninstall one of them")
        return
    if not installed:
        yield Finding(subject="plugins", is_good=False, found="none is installed", cure="pip install a plugin")
    for use_case in installed:
        subject = f"plugin {use_case.name}"
        try:
            loaded = load_use_case(use_case.name)
            loaded.pipeline(loaded.load_config(None, environ={}).model)
        except MlopsError as error:
            yield Finding(subject=subject, is_good=False, found=str(error), cure="reinstall or mend the plugin")
        else:
            found = f"{use_case.distribution} {use_case.version} loads; its default configuration is valid"
            yield Finding(subject=subject, is_good=True, found=found)


def _disk(home: Path) -> Iterator[Finding]:
    place = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    is_good = free > _LITTLE_DISK_BYTES
    cure = "" if is_good else "make room, for example with mlops gc"
    yield Finding(subject="disk", is_good=is_good, found=f"{free / (1 << 30):.1f} GiB free at {place}", cure=cure)


def _workspace(home: Path, *, is_repaired: bool) -> Iterator[Finding]:
    from mlops_core.workspace.store import Store

    if not (home / "mlops.db").exists():
        yield Finding(subject="workspace", is_good=True, found=f"{home.absolute()} is not there yet")
        return
    try:
        with Store(home) as store:
            yield from _store(store, is_repaired=is_repaired)
    except (MlopsError, OSError, sqlite3.Error) as error:
        cure = "restore mlops.db from a backup, or set MLOPS_HOME to another folder"
        yield Finding(subject="workspace", is_good=False, found=str(error), cure=cure)


def _store(store: Store, *, is_repaired: bool) -> Iterator[Finding]:
    from mlops_core.workspace.housekeeping import database_fault, find_damage

    fault = database_fault(store)
    cure = "restore mlops.db from a backup" if fault else ""
    yield Finding(subject="database", is_good=not fault, found=fault or f"{store.home} is sound", cure=cure)
    count = 0
    for damage in find_damage(store):
        count += 1
        if is_repaired:
            store.artifacts.discard(damage.artifact)
        users = ", ".join(damage.needed_by) or "nothing"
        found = f"{damage.fault}; needed by {users}" + ("; discarded" if is_repaired else "")
        cure = damage.cure if is_repaired else "mlops doctor --repair"
        yield Finding(subject=f"artifact {damage.artifact[:12]}", is_good=False, found=found, cure=cure)
    if not count:
        yield Finding(subject="artifacts", is_good=True, found="every one was read and is what its name says")
