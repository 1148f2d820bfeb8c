"""The function that each process of the kit executes: it makes one call and writes what it returned."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.integrity import CoreWatch

if TYPE_CHECKING:
    from collections.abc import Mapping

_watches: list[CoreWatch] = []


def rebase() -> None:
    """Compare core, when the call has ended, with what it is now: after the kit's own changes."""
    _watches[:] = [CoreWatch()]


def execute(arguments: Mapping[str, str]) -> int:
    """Make the call that the file ``arguments["call"]`` describes; leave ``result.json`` beside it.

    Returns:
        0 when the function returned, 1 when it raised; its traceback is on standard error.
    """
    rebase()
    path = Path(arguments["call"])
    call = json.loads(path.read_text(encoding="utf-8"))
    sys.path[:] = call["sys_path"]
    importlib.invalidate_caches()
    module, _, name = call["function"].partition(":")
    try:
        outcome: dict[str, object] = {"result": getattr(importlib.import_module(module), name)(call["arguments"])}
    except BaseException as error:  # noqa: BLE001  a plugin may raise anything, SystemExit included
        traceback.print_exc()
        text = " ".join(str(error).split())
        outcome = {"error": f"{type(error).__name__}: {text}" if text else type(error).__name__}
    outcome["core_changes"] = list(_watches[-1].changes())
    path.with_name("result.json").write_text(json.dumps(outcome), encoding="utf-8")
    return 1 if "error" in outcome else 0
