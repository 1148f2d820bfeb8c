"""Calling each hook first, in a process that has called no other: what it does to its arguments and to core."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.integrity import CoreWatch, described_changes
from mlops_core.testing.inside.calls import rebase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlops_core.use_cases.manager import UseCase

_CALLS = 3
_DEEPEST = 12


def call_each(arguments: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Load the use case and call each hook in a fork of this process.

    Args:
        arguments: ``use_case``, ``config``, ``overrides``; ``predictions``: a folder with predictions, or empty.

    Returns:
        hook -> ``arguments``: what it changed in them; ``core``: what it replaced in core; ``error``: why it failed.
        The import of the plugin is the entry ``import``.
    """
    from mlops_core.use_cases import manager, registration

    registration._refuse = lambda *_: None  # noqa: SLF001  this process reports instead
    rebase()
    watch = CoreWatch()
    use_case = manager.load_use_case(arguments["use_case"])
    imported = described_changes(watch.changes())
    watch.restore()
    found = {"import": {"core": imported, "arguments": "", "error": ""}}
    for hook in _calls(use_case, arguments):
        found[hook] = _forked(lambda hook=hook: _observed(hook, arguments, use_case))  # type: ignore[misc]
    return found


def _calls(use_case: UseCase, arguments: Mapping[str, Any]) -> dict[str, Callable[[Any], object]]:
    calls: dict[str, Callable[[Any], object]] = {
        "mlops_get_datasets": use_case.datasets,
        "mlops_get_dataset_source": use_case.dataset_source,
        "mlops_get_earlier_split": use_case.earlier_split,
        "mlops_get_metrics": use_case.metrics,
        "mlops_get_gate": use_case.gate,
        "mlops_get_steps": use_case.pipeline,
        "mlops_get_prediction_outputs": lambda _: use_case.prediction_outputs(),
    }
    if arguments["predictions"]:
        return {"mlops_compute_metrics": use_case.compute_metrics}
    return calls


def _observed(hook: str, arguments: Mapping[str, Any], use_case: UseCase) -> dict[str, str]:
    watch = CoreWatch()
    if hook == "mlops_compute_metrics":
        from mlops_core.predictions import read_predictions

        subject: Any = read_predictions(Path(arguments["predictions"]))
    else:
        config = arguments["config"]
        subject = use_case.load_config(Path(config) if config else None, overrides=arguments["overrides"]).model
    before, context = described(subject), described(use_case.context)
    call = _calls(use_case, arguments)[hook]
    for number in range(1, _CALLS + 1):
        call(subject)
        for name, noted, value in (("first argument", before, subject), ("context", context, use_case.context)):
            if described(value) != noted:
                return {"arguments": f"its {name}, at call {number}", "core": described_changes(watch.changes())}
    return {"arguments": "", "core": described_changes(watch.changes())}


def _forked(function: Callable[[], dict[str, str]]) -> dict[str, str]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = {"error": "", **function()}
        except BaseException as error:  # noqa: BLE001  a hook may raise anything
            answer = {"error": f"{type(error).__name__}: {error}", "core": "", "arguments": ""}
        os.write(writing, json.dumps(answer).encode()[:60_000])
        sys.stdout.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        data = stream.read()
    os.waitpid(pid, 0)
    if not data:
        return {"error": "its process ended", "core": "", "arguments": ""}
    answer = json.loads(data)
    return {name: str(text) for name, text in answer.items()}


def described(value: object, depth: int = 0) -> str:  # noqa: PLR0911  one for each form
    """Return everything that a value holds, at every depth, as a text that changes when the value does."""
    if depth > _DEEPEST or value is None or isinstance(value, str | bytes | int | float | Path):
        return repr(value)
    deeper = depth + 1
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {described(item, deeper)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        items = [described(item, deeper) for item in value]
        return f"{type(value).__name__}{sorted(items) if isinstance(value, set | frozenset) else items}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [item.name for item in dataclasses.fields(value)]
        return f"{type(value).__name__}{[described(getattr(value, name, None), deeper) for name in names]}"
    if hasattr(value, "model_fields") or hasattr(type(value), "model_fields"):
        parts = (vars(value), getattr(value, "__pydantic_private__", None), getattr(value, "__pydantic_extra__", None))
        return f"{type(value).__qualname__}{[described(part, deeper) for part in parts]}"
    if hasattr(value, "__iter__") and hasattr(value, "__len__"):  # the rows of predictions
        return f"[{', '.join(described(item, deeper) for item in value)}]"
    return f"{type(value).__qualname__}"
