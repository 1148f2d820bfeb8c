"""Reads a definition for checking: its parameters and all of its steps, including those in branches."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.checking.faults import below

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_sagemaker.checking.faults import Faults

BRANCHES = ("IfSteps", "ElseSteps")
BODY = "ForEachBody"
_LAST_PART = re.compile(r"(\.[A-Za-z_]\w*|\[[^\[\]]*\])\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEntry:
    """A step and its location.

    Attributes:
        path: JSON path.
        data: JSON of the step.
        name: name of the step; empty if it has none.
        type: type of the step; empty if it has none.
        condition: name of the Condition step that contains it in a branch; empty at the top level.
        branch: key of that branch; empty at the top level.
        loop: name of the ForEach step that contains it in its body; empty elsewhere.
    """

    path: str
    data: Mapping[str, Any]
    name: str
    type: str
    condition: str = ""
    branch: str = ""
    loop: str = ""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments; empty if they are missing or not an object."""
        arguments = self.data.get("Arguments")
        return arguments if isinstance(arguments, dict) else {}

    @property
    def arguments_path(self) -> str:
        """JSON path of the arguments."""
        return below(self.path, "Arguments")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A definition.

    Attributes:
        data: JSON of the definition.
        parameters: declarations of the parameters, by name.
        steps: steps in the order of the text.
    """

    data: Mapping[str, Any]
    parameters: Mapping[str, Mapping[str, Any]]
    steps: tuple[StepEntry, ...]
    _by_name: Mapping[str, StepEntry] = field(init=False)
    _by_path: Mapping[str, StepEntry] = field(init=False)

    def __post_init__(self) -> None:
        """Index the steps."""
        object.__setattr__(self, "_by_name", {step.name: step for step in reversed(self.steps)})
        object.__setattr__(self, "_by_path", {step.path: step for step in self.steps})

    def step(self, name: str) -> StepEntry | None:
        """Return the first step with a name; None if there is none."""
        return self._by_name.get(name)

    def step_at(self, path: str) -> StepEntry | None:
        """Return the innermost step that contains a JSON path; None if no step contains it."""
        while path and path not in self._by_path:
            path = _LAST_PART.sub("", path) if _LAST_PART.search(path) else ""
        return self._by_path.get(path)

    def branches(self, step: StepEntry) -> Iterator[tuple[str, str]]:
        """Yield the name of the Condition step and the key of each branch that contains a step, innermost first."""
        seen: set[str] = set()
        current: StepEntry | None = step
        while current is not None and current.condition and current.path not in seen:
            seen.add(current.path)
            yield current.condition, current.branch
            current = self.step(current.condition)

    @property
    def step_names(self) -> tuple[str, ...]:
        """The names of all steps."""
        return tuple(step.name for step in self.steps if step.name)


def read_document(data: Mapping[str, Any], faults: Faults) -> Document:
    """Return the readable parts of a definition; all others become faults."""
    parameters: dict[str, Mapping[str, Any]] = {}
    for item in as_list(data.get("Parameters")):
        if isinstance(item, dict) and isinstance(item.get("Name"), str):
            parameters.setdefault(item["Name"], item)
    steps = tuple(_steps(data.get("Steps"), "$.Steps", faults))
    return Document(data=data, parameters=parameters, steps=steps)


def as_list(value: object) -> list[Any]:
    """Return the value if it is a list, and an empty list otherwise."""
    return value if isinstance(value, list) else []


def declared_outputs(step: StepEntry) -> dict[str, str]:
    """Return the type of each output that a Lambda or Callback step declares, by name; empty for an unknown type."""
    return {
        item["OutputName"]: str(item.get("OutputType", ""))
        for item in as_list(step.data.get("OutputParameters"))
        if isinstance(item, dict) and isinstance(item.get("OutputName"), str)
    }


def _steps(items: object, path: str, faults: Faults, *, parent: StepEntry | None = None) -> Iterator[StepEntry]:
    """Yield the steps of a list, each followed by those in its branches or its body; `parent` gives their context."""
    for index, item in enumerate(as_list(items)):
        place = below(path, index)
        if not isinstance(item, dict):
            faults.add(
                place,
                f"a step must be an object, not {type(item).__name__}",
                "use an object with Name, Type and Arguments",
            )
            continue
        name, kind = item.get("Name"), item.get("Type")
        entry = StepEntry(
            path=place,
            data=item,
            name=name if isinstance(name, str) else "",
            type=kind if isinstance(kind, str) else "",
            condition=parent.condition if parent else "",
            branch=parent.branch if parent else "",
            loop=parent.loop if parent else "",
        )
        yield entry
        for key in {"Condition": BRANCHES, "ForEach": (BODY,)}.get(entry.type, ()):
            label = entry.name or place
            context = replace(entry, loop=label) if key == BODY else replace(entry, condition=label, branch=key)
            yield from _steps(entry.arguments.get(key), below(entry.arguments_path, key), faults, parent=context)
