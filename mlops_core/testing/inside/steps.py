"""Executing one step under observation, exactly as a worker would."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.steps.observation import imported_folders, recorded
from mlops_core.testing.inside.calls import rebase
from mlops_core.testing.inside.faults import injected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def execute(arguments: dict[str, Any]) -> dict[str, Any]:
    """Execute the request file ``arguments["request"]``; return its outcome and what was observed.

    ``arguments["surroundings"]`` names the changed surroundings, ``arguments["writable"]`` the writable folders,
    and ``arguments["fault"]``, if it is there, the file and the line at which an error is raised.
    """
    from mlops_core.steps.context import StepContext
    from mlops_core.steps.execution import run_request_file
    from mlops_core.testing.inside.surroundings import forbid_writing_elsewhere, reverse_listings

    if "listing_order" in arguments["surroundings"]:
        reverse_listings()
    is_confined = os.geteuid() != 0
    if "read_only_inputs" in arguments["surroundings"]:
        is_confined |= forbid_writing_elsewhere(arguments["writable"])
    reads = _record_reads(StepContext)
    rebase()
    request = Path(arguments["request"])
    began = time.monotonic()
    with recorded() as recorder, injected(arguments.get("fault")) as fault:
        run_request_file(request)
    duration_s = time.monotonic() - began
    outcome = json.loads(request.with_name("result.json").read_text(encoding="utf-8"))
    return {
        "is_confined": is_confined,
        "duration_s": duration_s,
        "exit_code": outcome["exit_code"],
        "error": outcome["error"],
        "events": sorted(recorder.events),
        "sections": sorted(reads["section"]),
        "parameters": sorted(reads["parameter"]),
        "inputs": sorted(reads["input"]),
        "code": sorted(imported_folders()),
        "is_fault_reached": fault.is_reached,
        "packages": sorted(name for name in list(sys.modules) if "." not in name),
    }


class _Noting(dict[str, Any]):
    """The parameters of a step; notes which ones are read."""

    def __init__(self, values: Mapping[str, Any], noted: set[str]) -> None:
        super().__init__(values)
        self._noted = noted

    def __getitem__(self, name: str) -> Any:
        self._noted.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._noted.add(name)
        return super().get(name, default)


def _record_reads(context: Any) -> dict[str, set[str]]:
    """Patch `StepContext` in this process so that it notes the sections, inputs and parameters that the step reads."""
    reads: dict[str, set[str]] = {"section": set(), "input": set(), "parameter": set()}

    def noting(kind: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Any, name: str, *arguments: Any) -> Any:
            reads[kind].add(name)
            return original(self, name, *arguments)

        return method

    for kind in ("section", "input"):
        setattr(context, kind, noting(kind, getattr(context, kind)))
    opened = context.__init__

    def opening(self: Any, *arguments: Any) -> None:
        opened(self, *arguments)
        self.parameters = _Noting(self.parameters, reads["parameter"])

    context.__init__ = opening
    return reads
