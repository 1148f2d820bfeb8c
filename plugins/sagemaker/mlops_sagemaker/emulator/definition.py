"""A pipeline definition (schema version 2020-12-01) as frozen data, and its graph.

Branches of condition steps are flattened: each step knows the condition and the outcome under which it runs. The
order follows from the references in the arguments, from ``DependsOn``, and from the branches.
"""

from __future__ import annotations

import graphlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlops_core.runners import DefinitionError, did_you_mean
from mlops_sagemaker.values.durations import duration_fix, parse_duration

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator, Mapping

VERSION = "2020-12-01"
SUPPORTED = (
    "Processing",
    "Training",
    "Tuning",
    "Transform",
    "Condition",
    "Fail",
    "RegisterModel",
    "Model",
    "Callback",
)
"""The step types that the emulator executes."""
EXECUTION_VARIABLES = (
    "PipelineName",
    "PipelineArn",
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "StartDateTime",
    "CurrentDateTime",
)
"""The execution variables that every step can refer to."""
JOB_VARIABLES = {"Processing": "ProcessingJobName", "Training": "TrainingJobName"}
"""The execution variable with the name of a step's own job, by type of the step."""
_STEP_REFERENCE = re.compile(r"Steps\.([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyFile:
    """A JSON file in an output of a step, for ``Std:JsonGet``.

    Attributes:
        name: name of the property file.
        output: name of the processing output that contains it.
        path: path within that output.
    """

    name: str
    output: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """A policy for retries of a failed step.

    Attributes:
        exceptions: exception types, for example ``SageMaker.JOB_INTERNAL_ERROR``.
        interval_s: wait before the first retry, in seconds.
        backoff: factor between consecutive waits.
        max_attempts: maximum number of retries; None for no limit.
        expire_after_s: time since the start of the step after which there are no retries; None for no limit.
    """

    exceptions: frozenset[str]
    interval_s: float = 1.0
    backoff: float = 2.0
    max_attempts: int | None = None
    expire_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch of a Condition step: the name of the step, and the outcome that selects the branch."""

    condition: str
    outcome: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDefinition:
    """A step of a definition.

    Attributes:
        name: name of the step, unique in the definition.
        type: type of the step, for example ``Processing``.
        arguments: arguments with unresolved expressions.
        depends_on: names in ``DependsOn``.
        property_files: property files of its outputs.
        cache_expires: maximum age of a reused result; None if results are not reused.
        retries: retry policies in the order of the definition.
        branch: branch that contains the step; None at the top level.
        queue: URL of the queue of a Callback step, as text or expression.
        outputs: types of the outputs of a Callback step by name.
        display_name: display name; empty if there is none.
        description: description; empty if there is none.
    """

    name: str
    type: str
    arguments: Mapping[str, Any]
    depends_on: tuple[str, ...] = ()
    property_files: tuple[PropertyFile, ...] = ()
    cache_expires: dt.timedelta | None = None
    retries: tuple[RetryPolicy, ...] = ()
    branch: Branch | None = None
    queue: Any = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    display_name: str = ""
    description: str = ""

    def references(self) -> frozenset[str]:
        """Return the steps that the arguments refer to, without those in its branches."""
        own = [value for name, value in self.arguments.items() if name not in ("IfSteps", "ElseSteps")]
        return frozenset(match[1] for get in references([*own, self.queue]) if (match := _STEP_REFERENCE.match(get)))

    def execution_variables(self) -> frozenset[str]:
        """Return the execution variables that the arguments refer to, without those in its branches."""
        own = [value for name, value in self.arguments.items() if name not in ("IfSteps", "ElseSteps")]
        begin = "Execution."
        return frozenset(get.removeprefix(begin) for get in references([*own, self.queue]) if get.startswith(begin))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterDefinition:
    """A parameter of type ``String``, ``Integer``, ``Float`` or ``Boolean``."""

    name: str
    type: str
    default: str | float | bool | None = None
    choices: tuple[object, ...] = ()

    def value_of(self, text: str) -> str | float | bool:
        """Return the value of a text that is passed when an execution is started.

        Raises:
            DefinitionError: the value does not have the type of the parameter, or is not one of its choices.
        """
        try:
            value = _PARSERS[self.type](text)
        except ValueError:
            raise DefinitionError(f"parameter '{self.name}': {text!r} is not of type {self.type}") from None
        if self.choices and value not in self.choices:
            raise DefinitionError(f"parameter '{self.name}': {text!r} is not one of {list(self.choices)}")
        return value


def _boolean(text: str) -> bool:
    return bool(("false", "true").index(text.strip().lower()))


_PARSERS: dict[str, Callable[[str], str | float | bool]] = {
    "String": str,
    "Integer": int,
    "Float": float,
    "Boolean": _boolean,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A pipeline definition.

    Attributes:
        parameters: parameters in the order of the definition.
        steps: steps by name, with flattened branches, in the order of the definition.
    """

    parameters: tuple[ParameterDefinition, ...]
    steps: Mapping[str, StepDefinition]

    def values(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the value of each parameter: from `texts`, or the default.

        Raises:
            DefinitionError: a name is unknown, a value is invalid, or a parameter has no value.
        """
        parameters = {parameter.name: parameter for parameter in self.parameters}
        for name in texts:
            if name not in parameters:
                raise DefinitionError(f"the pipeline has no parameter '{name}'{did_you_mean(name, parameters)}")
        values = {
            name: parameter.value_of(texts[name]) if name in texts else parameter.default
            for name, parameter in parameters.items()
        }
        missing = [name for name, value in values.items() if value is None]
        if missing:
            raise DefinitionError(f"parameter '{missing[0]}' has neither a default nor a value")
        return values

    def needs(self, name: str) -> frozenset[str]:
        """Return the steps that must succeed before the step starts.

        A step outside of the branches that depends on a Condition step also waits for the steps in the branches.
        """
        step = self.steps[name]
        needed = {*step.depends_on, *step.references()}
        inside = {branch.condition for branch in self.branches(name)}
        waits = {
            other for other in self.steps for branch in self.branches(other) if branch.condition in needed - inside
        }
        needed |= waits - {name}
        if step.branch:
            needed.add(step.branch.condition)
        return frozenset(needed)

    def branches(self, name: str) -> Iterator[Branch]:
        """Yield the branches that contain the step, innermost first."""
        branch = self.steps[name].branch
        while branch:
            yield branch
            branch = self.steps[branch.condition].branch

    def without_cache(self, name: str) -> Definition:
        """Return a copy of the definition in which a step is always executed."""
        return replace(self, steps={**self.steps, name: replace(self.steps[name], cache_expires=None)})

    def order(self) -> tuple[str, ...]:
        """Return the steps in topological order; independent steps are in the order of the definition.

        Raises:
            DefinitionError: the steps form a cycle.
        """
        position = {name: index for index, name in enumerate(self.steps)}
        sorter = graphlib.TopologicalSorter({name: self.needs(name) for name in self.steps})
        ordered: list[str] = []
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            raise DefinitionError(f"Steps: a cycle: {' -> '.join(reversed(error.args[1]))}") from error
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=position.__getitem__)
            ordered += ready
            sorter.done(*ready)
        return tuple(ordered)


def parse_definition(text: str | bytes | Mapping[str, Any]) -> Definition:
    """Parse a definition from JSON.

    Raises:
        DefinitionError: the text is not JSON, has another version, an unknown type, step or parameter, a duplicate
            step or a cycle.
    """
    if not isinstance(text, str | bytes):
        data: Any = text
    else:
        try:
            data = json.loads(text)
        except ValueError as error:
            raise DefinitionError(f"the definition is not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("Version") != VERSION:
        version = data.get("Version") if isinstance(data, dict) else type(data).__name__
        raise DefinitionError(f"Version: {version!r}; expected a definition of version '{VERSION}'")
    try:
        return _definition(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise DefinitionError(f"the definition is not well formed: {type(error).__name__}: {error}") from error


def _definition(data: Mapping[str, Any]) -> Definition:
    steps: dict[str, StepDefinition] = {}
    for step in _flatten(data["Steps"], path="Steps", branch=None):
        if step.name in steps:
            raise DefinitionError(f"Steps: '{step.name}' is defined twice")
        steps[step.name] = step
    parameters = tuple(map(_parameter, data.get("Parameters") or ()))
    definition = Definition(parameters=parameters, steps=steps)
    for step in steps.values():
        _check(step, definition)
    definition.order()
    return definition


def _parameter(data: Mapping[str, Any]) -> ParameterDefinition:
    kind = data.get("Type", "String")
    if kind not in _PARSERS:
        raise DefinitionError(f"parameter '{data['Name']}': unknown type '{kind}'; types: {', '.join(_PARSERS)}")
    default = data.get("DefaultValue")
    if kind == "Float" and isinstance(default, int) and not isinstance(default, bool):
        default = float(default)
    return ParameterDefinition(
        name=data["Name"], type=kind, default=default, choices=tuple(data.get("EnumValues") or ())
    )


def _flatten(steps: Iterable[Mapping[str, Any]], *, path: str, branch: Branch | None) -> Iterator[StepDefinition]:
    for index, data in enumerate(steps):
        step = _step(data, branch)
        if step.type not in SUPPORTED:
            raise DefinitionError(
                f"{path}[{index}].Type: steps of type '{step.type}' cannot be executed here; "
                f"supported: {', '.join(SUPPORTED)}"
            )
        yield step
        for key, outcome in (("IfSteps", True), ("ElseSteps", False)):
            inner = step.arguments.get(key) or () if step.type == "Condition" else ()
            inside = Branch(condition=step.name, outcome=outcome)
            yield from _flatten(inner, path=f"{path}[{index}].Arguments.{key}", branch=inside)


def _step(data: Mapping[str, Any], branch: Branch | None) -> StepDefinition:
    return StepDefinition(
        name=data["Name"],
        type=data["Type"],
        arguments=data.get("Arguments") or {},
        depends_on=tuple(data.get("DependsOn") or ()),
        property_files=tuple(
            PropertyFile(name=file["PropertyFileName"], output=file["OutputName"], path=file["FilePath"])
            for file in data.get("PropertyFiles") or ()
        ),
        cache_expires=_cache_expiry(data),
        retries=tuple(map(_retry_policy, data.get("RetryPolicies") or ())),
        branch=branch,
        queue=data.get("SqsQueueUrl", ""),
        outputs={
            item["OutputName"]: str(item.get("OutputType", "String")) for item in data.get("OutputParameters") or ()
        },
        display_name=str(data.get("DisplayName") or ""),
        description=str(data.get("Description") or ""),
    )


def _cache_expiry(data: Mapping[str, Any]) -> dt.timedelta | None:
    """Return the maximum age of a reused result; None without caching, when the service ignores the duration."""
    cache = data.get("CacheConfig") or {}
    if not cache.get("Enabled"):
        return None
    text = cache.get("ExpireAfter")
    duration = parse_duration(text)
    if duration is None:
        raise DefinitionError(
            f"step '{data['Name']}': CacheConfig.ExpireAfter: "
            f"{'is missing' if text is None else f'{text!r} is not a duration'}; {duration_fix(text)}"
        )
    return duration


def _retry_policy(data: Mapping[str, Any]) -> RetryPolicy:
    minutes = data.get("ExpireAfterMin")
    return RetryPolicy(
        exceptions=frozenset(data["ExceptionType"]),
        interval_s=float(data.get("IntervalSeconds", 1)),
        backoff=float(data.get("BackoffRate", 2.0)),
        max_attempts=data.get("MaxAttempts"),
        expire_after_s=None if minutes is None else 60.0 * minutes,
    )


def _check(step: StepDefinition, definition: Definition) -> None:
    for name in (*step.depends_on, *sorted(step.references())):
        if name not in definition.steps:
            raise DefinitionError(f"step '{step.name}': unknown step '{name}'{did_you_mean(name, definition.steps)}")
    known = {*EXECUTION_VARIABLES, JOB_VARIABLES.get(step.type, "")}
    for name in sorted(step.execution_variables() - known):
        raise DefinitionError(
            f"step '{step.name}': 'Execution.{name}' has no value in a step of type {step.type}"
            f"{did_you_mean(name, known)}; known here: {', '.join(sorted(known - {''}))}"
        )


def references(value: object) -> Iterator[str]:
    """Yield the texts of all ``Get`` expressions in a value."""
    if isinstance(value, dict):
        reference = value.get("Get")
        if len(value) == 1 and isinstance(reference, str):
            yield reference
            return
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from references(inner)
