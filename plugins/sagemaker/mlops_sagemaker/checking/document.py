"""Reads a definition for checking: its parameters and all of its steps, including those in branches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.checking.faults import below

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_sagemaker.checking.faults import Faults

BRANCHES = ("IfSteps", "ElseSteps")


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
    """

    path: str
    data: Mapping[str, Any]
    name: str
    type: str
    condition: str = ""
    branch: str = ""

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

    def step(self, name: str) -> StepEntry | None:
        """Return the first step with a name; None if there is none."""
        return next((step for step in self.steps if step.name == name), None)

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


def _steps(items: object, path: str, faults: Faults, *, condition: str = "", branch: str = "") -> Iterator[StepEntry]:
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
            condition=condition,
            branch=branch,
        )
        yield entry
        if entry.type == "Condition":
            for each in BRANCHES:
                inner = entry.arguments.get(each)
                yield from _steps(
                    inner, below(entry.arguments_path, each), faults, condition=entry.name or place, branch=each
                )
