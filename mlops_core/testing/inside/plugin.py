"""Loading a plugin in a fresh process and calling the hooks that describe it, under observation."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from mlops_core.quantities import counted
from mlops_core.steps.observation import recorded


def describe(arguments: dict[str, Any]) -> dict[str, Any]:
    """Load ``arguments["use_case"]``, build its pipeline, and return what that imported and touched."""
    from mlops_core.use_cases.manager import load_use_case

    before = set(sys.modules)
    with recorded() as recorder:
        use_case = load_use_case(arguments["use_case"])
        loaded = set(sys.modules) - before
        config = arguments["config"]
        model = use_case.load_config(Path(config) if config else None, overrides=arguments["overrides"]).model
        use_case.pipeline(model)
        use_case.datasets(model)
        described = set(sys.modules) - before
    return {
        "loaded": sorted(loaded),
        "described": sorted(described - loaded),
        "events": sorted(recorder.events),
        "files": {name: _file(sys.modules[name]) for name in sorted(described)},
    }


def inspect_code(arguments: dict[str, Any]) -> dict[str, str]:
    """Return reference -> what is wrong with it, for each of ``arguments["references"]`` (reference -> arguments)."""
    return {
        reference: fault for reference, count in arguments["references"].items() if (fault := _fault(reference, count))
    }


def fetch(arguments: dict[str, Any]) -> dict[str, Any]:
    """Fetch the configured data set to ``arguments["destination"]``, observed."""
    from mlops_core.datasets import storage
    from mlops_core.use_cases.manager import load_use_case

    use_case = load_use_case(arguments["use_case"])
    config = arguments["config"]
    loaded = use_case.load_config(Path(config) if config else None, overrides=arguments["overrides"])
    dataset = use_case.dataset(loaded.model)
    calls: list[int] = []

    def populate(folder: Path) -> bool:
        calls.append(1)
        return use_case.fetch_dataset(dataset, folder)

    with recorded() as recorder:
        storage.fetch(
            dataset,
            Path(arguments["destination"]),
            seed=arguments["seed"],
            is_offline=arguments["is_offline"],
            populate=populate,
        )
    return {"events": sorted(recorder.events), "calls": len(calls)}


def _file(module: Any) -> str:
    return str(getattr(module, "__file__", "") or "")


def _fault(reference: str, count: int) -> str:
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001  a plugin's module may raise anything while it is imported
        return f"cannot be imported: {type(error).__name__}: {error}"
    function = getattr(module, name, None)
    if not callable(function):
        return f"module {module_name} has no function '{name}'"
    if count < 0:
        return ""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError as error:
        return f"cannot be called with {counted(count, 'argument')}: {error}"
    return ""
