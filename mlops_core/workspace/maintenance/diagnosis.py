"""The checks of ``mlops doctor``: environment, plugins, disk and workspace, each with a fix."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError
from mlops_core.workspace.database import DATABASE, HEAD_FILE, RENEW, is_no_database, loss_of_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from mlops_core.workspace.store import Store

_OLDEST_PYTHON = (3, 11)
_LITTLE_DISK_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One check and its outcome.

    Attributes:
        subject: what was checked.
        is_good: whether the check passed.
        detail: the outcome, one line.
        fix: what to do; empty if the check passed.
    """

    subject: str
    is_good: bool
    detail: str
    fix: str = ""


def examine(home: Path, *, is_repaired: bool = False) -> tuple[HealthCheck, ...]:
    """Check everything; with `is_repaired`, discard damaged artifacts.

    Args:
        home: the workspace; it is not created when it does not exist.
        is_repaired: repair the workspace.
    """
    return (*_environment(), *_plugins(), *_disk(home), *_workspace(home, is_repaired=is_repaired))


def _environment() -> Iterator[HealthCheck]:
    yield HealthCheck(
        subject="python",
        is_good=sys.version_info >= _OLDEST_PYTHON,
        detail=f"{platform.python_version()} on {platform.platform()}",
        fix="" if sys.version_info >= _OLDEST_PYTHON else "install Python 3.11 or newer",
    )


def _plugins() -> Iterator[HealthCheck]:
    from mlops_core.steps.packages import describe_missing, install_command, missing_packages
    from mlops_core.use_cases.discovery import discover_use_cases
    from mlops_core.use_cases.manager import load_use_case

    try:
        installed = discover_use_cases()
    except MlopsError as error:
        yield HealthCheck(subject="plugins", is_good=False, detail=str(error), fix="uninstall one of them")
        return
    if not installed:
        yield HealthCheck(
            subject="plugins",
            is_good=False,
            detail="no use case is installed",
            fix="install a plugin, or create one: mlops plugin new NAME",
        )
    for use_case in installed:
        subject = f"plugin {use_case.name}"
        try:
            loaded = load_use_case(use_case.name)
            pipeline = loaded.pipeline(loaded.load_config(None, environ={}).model)
            missing = {step.name: packages for step in pipeline.ordered() if (packages := missing_packages(step))}
        except MlopsError as error:
            yield HealthCheck(subject=subject, is_good=False, detail=str(error), fix="reinstall or fix the plugin")
            continue
        if missing:
            detail, fix = describe_missing(missing), install_command(missing)
            yield HealthCheck(subject=subject, is_good=False, detail=detail, fix=fix)
        else:
            detail = f"{use_case.distribution} {use_case.version} loads; its default configuration is valid"
            yield HealthCheck(subject=subject, is_good=True, detail=detail)


def _disk(home: Path) -> Iterator[HealthCheck]:
    place = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    is_good = free > _LITTLE_DISK_BYTES
    fix = "" if is_good else "make room, for example with mlops gc"
    yield HealthCheck(subject="disk", is_good=is_good, detail=f"{free / (1 << 30):.1f} GiB free at {place}", fix=fix)


def _workspace(home: Path, *, is_repaired: bool) -> Iterator[HealthCheck]:
    from mlops_core.workspace.store import Store

    loss = loss_of_database(home)
    if not loss and not (home / DATABASE).exists():
        yield HealthCheck(subject="workspace", is_good=True, detail=f"{home.absolute()} does not exist yet")
        return
    if loss or is_no_database(home.absolute() / DATABASE):
        yield _lost_database(home, loss or f"{DATABASE} is not a database", is_repaired=is_repaired)
        if not is_repaired:
            return
    try:
        with Store(home) as store:
            yield from _store(store, is_repaired=is_repaired)
    except (MlopsError, OSError, sqlite3.Error) as error:
        fix = "restore mlops.db from a backup, or set MLOPS_HOME to another folder"
        yield HealthCheck(subject="workspace", is_good=False, detail=str(error), fix=fix)


def _lost_database(home: Path, loss: str, *, is_repaired: bool) -> HealthCheck:
    """Report a database of which nothing can be read; with `is_repaired`, make a new one."""
    from mlops_core.workspace.maintenance.repair import LOST_WITH_DATABASE, renew_database

    detail = f"workspace {home.absolute()}: {loss}"
    if not is_repaired:
        return HealthCheck(subject="database", is_good=False, detail=detail, fix=RENEW)
    try:
        kept = renew_database(home.absolute(), why=loss)
    except (MlopsError, OSError, sqlite3.Error) as error:
        fix = "make the folder writable, or set MLOPS_HOME to another one"
        return HealthCheck(subject="database", is_good=False, detail=f"{detail}; not mended: {error}", fix=fix)
    place = f"; what was there is now {kept}" if kept else ""
    return HealthCheck(
        subject="database", is_good=False, detail=f"{detail}; made anew{place}; lost: {LOST_WITH_DATABASE}"
    )


def _store(store: Store, *, is_repaired: bool) -> Iterator[HealthCheck]:
    from mlops_core.workspace.maintenance.housekeeping import database_fault, find_damage
    from mlops_core.workspace.maintenance.repair import database_faults, mend

    fault = database_fault(store)
    fix = "restore mlops.db from a backup" if fault else ""
    yield HealthCheck(subject="database", is_good=not fault, detail=fault or f"{store.home} is sound", fix=fix)
    table_faults = tuple(database_faults(store))
    yield from _ledger(store, unreadable={fault.subject for fault in table_faults})
    for table_fault in table_faults:
        if is_repaired:
            mend(store, table_fault)
        lost = f"{'lost' if is_repaired else 'mending it loses'}: {table_fault.lost}" if table_fault.lost else ""
        can_mend = table_fault.mend is not None
        yield HealthCheck(
            subject=table_fault.subject,
            is_good=False,
            detail="; ".join(
                part for part in (table_fault.fault, "mended" if is_repaired and can_mend else "", lost) if part
            ),
            fix=table_fault.fix if not can_mend else "" if is_repaired else "mlops doctor --repair",
        )
    if not is_repaired and any(True for _ in database_faults(store)):
        return  # what the artifacts are needed by cannot be read
    count = 0
    for damage in find_damage(store):
        count += 1
        if is_repaired:
            store.artifacts.discard(damage.artifact)
        users = ", ".join(damage.needed_by) or "nothing"
        detail = f"{damage.fault}; needed by {users}" + ("; discarded" if is_repaired else "")
        fix = damage.fix if is_repaired else "mlops doctor --repair"
        yield HealthCheck(subject=f"artifact {damage.artifact[:12]}", is_good=False, detail=detail, fix=fix)
    if not count:
        yield HealthCheck(subject="artifacts", is_good=True, detail="every artifact was read and matches its digest")


def _ledger(store: Store, *, unreadable: AbstractSet[str]) -> Iterator[HealthCheck]:
    """Verify the chain of the ledger, which nothing mends: what was changed in it is known to nobody but a backup."""
    from mlops_core.workspace.maintenance.chain import verify_chain

    if unreadable & {"table ledger", "table ledger_head"}:
        return
    chain = verify_chain(store)
    whole = f"{chain.entries:,} entries; each matches its hash; the newest is {chain.head}"
    yield HealthCheck(
        subject="ledger",
        is_good=not chain.fault,
        detail="; ".join((chain.fault or whole, *chain.restarts)),
        fix=f"restore mlops.db and {HEAD_FILE} from a backup; --repair does not change the ledger"
        if chain.fault
        else "",
    )
