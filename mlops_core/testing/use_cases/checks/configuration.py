"""Checks of the configuration: the defaults hold, and what is wrong is refused before anything runs."""

from __future__ import annotations

import json
import typing
from enum import Enum
from typing import TYPE_CHECKING, Any

from mlops_core.config import GateSection, ObserverSection
from mlops_core.errors import ConfigError
from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.use_cases.checks.hooks import BUILT, LOADED

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pydantic

    from mlops_core.pipeline import Pipeline
    from mlops_core.testing.use_cases.session import ContractSession

VALID = ("smallest_configuration_is_valid",)
_UNKNOWN = "key_that_no_model_has"
_ODD_VALUES: tuple[object, ...] = (None, "", "text", -1, 0, 1, 1e308, True, [], ["text"], {}, {"a": 1})
_CORE_KEYS = (("gate", "condition"), ("gate", "dataset_licence"))
"""The keys that belong to core."""


@check(after=LOADED)
def default_configuration_is_valid(session: ContractSession) -> Iterator[str]:
    """The default configuration file is accepted as it is.

    Fix: correct user_config.yaml or the model; the message names the key.
    """
    try:
        session.use_case.load_config()
    except ConfigError as error:
        yield str(error)


@check(after=("default_configuration_is_valid",))
def smallest_configuration_is_valid(session: ContractSession) -> Iterator[str]:
    """The smallest configuration, with which the checks run the use case, is accepted.

    Fix: correct the file that `config` names; the message names the key.
    """
    try:
        assert session.config is not None  # noqa: S101  reading is the check
    except ConfigError as error:
        yield str(error)


@check(after=VALID)
def unknown_sections_are_refused(session: ContractSession) -> Iterator[str]:
    """A section that the model does not have is refused.

    Fix: derive the model from mlops_core.UseCaseConfig and do not set extra to anything but "forbid".
    """
    if _is_accepted(session, {**_data(session), _UNKNOWN: {}}):
        yield f"a section '{_UNKNOWN}' is accepted and ignored"


@check(after=VALID)
def unknown_keys_are_refused(session: ContractSession) -> Iterator[str]:
    """A key that a section does not have is refused, at every depth.

    Fix: derive every section, also a nested one, from mlops_core.Section.
    """
    for path, model in _models(session):
        if not path:
            continue
        data = _data(session)
        _at(data, path)[_UNKNOWN] = 1
        if _is_accepted(session, data):
            yield f"{'.'.join(path)} ({type(model).__name__}) accepts an unknown key"


@check(after=VALID)
def wrong_types_are_refused(session: ContractSession) -> Iterator[str]:
    """Every value has a type: a value of an entirely different type is refused.

    Fix: annotate the field with what it may be, instead of Any, object or a bare dict.
    """
    for path in _leaves(session):
        if all(_takes_quietly(session, path, value) for value in ({"a": {"b": [1]}}, [[{"a": 1}]], "\x00")):
            yield f"{'.'.join(path)} accepts a mapping, a list and a text alike"


@check(after=VALID)
def odd_values_are_reported(session: ContractSession) -> Iterator[str]:
    """Any value is accepted or refused in one line, never with a traceback.

    Fix: let validators raise ValueError only, and look at a value's type before using it.
    """
    for path in _leaves(session):
        for value in _ODD_VALUES:
            try:
                _takes(session, path, value)
            except Exception as error:  # noqa: BLE001  any kind is the violation
                yield f"{'.'.join(path)} = {value!r}: {type(error).__name__}: {error}"


@check(after=VALID)
def configuration_cannot_be_changed(session: ContractSession) -> Iterator[str]:
    """A configuration that was read is frozen.

    Fix: derive from mlops_core.Section and mlops_core.UseCaseConfig, and do not unset `frozen`.
    """
    for path, model in _models(session):
        for name in type(model).model_fields:
            try:
                setattr(model, name, getattr(model, name))
            except Exception:  # noqa: BLE001, S112  pydantic refuses with its own error: this is what is wanted
                continue
            yield f"{'.'.join((*path, name))} can be set"
            break


@check(after=VALID)
def configuration_survives_its_text(session: ContractSession) -> Iterator[str]:
    """The recorded configuration of a run can be read back and means the same.

    Fix: use fields that JSON knows (texts, numbers, lists, mappings), or give the model serializers that agree with
    its validators.
    """
    text = json.dumps(session.config.sections())
    try:
        again = session.use_case.config_model().model_validate(json.loads(text))
    except ValueError as error:
        yield f"the recorded configuration is refused: {' '.join(str(error).split())}"
        return
    if again != session.config.model:
        yield "the recorded configuration means something else when it is read again"


@check(after=(*BUILT, "hooks_leave_arguments_untouched"))
def every_section_is_used(session: ContractSession) -> Iterator[str]:
    """Every section of the configuration is used: a step declares it, or a key of it changes the pipeline.

    A step that is part of the pipeline only for another value of another key counts. `dataset` is read by core, and so
    is the section `gate` where it has core's keys only. A `mlops_core.ObserverSection` is read by an observer.

    Fix: declare it in the `config` of the step that reads it, or remove it: a key that does nothing misleads.
    """
    used = {section for step in session.pipeline.steps for section in step.config} | {"dataset"}
    fields = type(session.config.model).model_fields
    unused = [
        name
        for name, field in fields.items()
        if name not in used and field.annotation is not GateSection and not _is_for_an_observer(field.annotation)
    ]
    if unused:
        elsewhere = _sections_that_other_pipelines_use(session)
        yield from (f"no step declares the section '{name}'" for name in unused if name not in elsewhere)


def _is_for_an_observer(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, ObserverSection)


@check(after=VALID)
def dataset_can_be_chosen(session: ContractSession) -> Iterator[str]:
    """A user can name another folder that holds the data: dataset.path, or mlops_get_dataset_source.

    Fix: give the section `dataset` the keys `name` and `path: str | None = None`.
    """
    if hasattr(session.plugin, "mlops_get_dataset_source"):
        return
    section = getattr(session.config.model, "dataset", None)
    if section is None or not {"name", "path"} <= set(type(section).model_fields):
        yield "the section 'dataset' has no keys 'name' and 'path'"


def _sections_that_other_pipelines_use(session: ContractSession) -> set[str]:
    """Return the sections on which the pipeline depends, found by changing one key at a time.

    Those are the section of a key that changes it, and those that the steps declare that come of the change.
    """
    before = session.pipeline.to_json()
    found = set()
    for path in _leaves(session):
        for pipeline in _other_pipelines(session, path):
            if pipeline.to_json() != before:
                found |= {path[0], *(section for step in pipeline.steps for section in step.config)}
    return found


def _other_pipelines(session: ContractSession, path: tuple[str, ...]) -> Iterator[Pipeline]:
    """Yield the pipelines that come of other values of one key, where the model takes them."""
    for value in (*_others(_value(_data(session), path)), *_choices(session, path)):
        data = _data(session)
        _at(data, path[:-1])[path[-1]] = value
        if _is_accepted(session, data):
            with session.guard("building the pipeline"):
                yield session.use_case.pipeline(session.use_case.config_model().model_validate(data))


def _others(value: object) -> tuple[object, ...]:
    if value is None:
        return ("text", 1, 0.5, True)
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, value - 1)
    return (value + 1, value / 2, value * 0.9) if isinstance(value, float) else ()


def _choices(session: ContractSession, path: tuple[str, ...]) -> tuple[object, ...]:
    """Return the values among which a key of a closed set chooses."""
    model = dict(_models(session))[path[:-1]]
    waiting: list[Any] = [type(model).model_fields[path[-1]].annotation]
    found: list[object] = []
    while waiting:
        annotation = waiting.pop()
        if typing.get_origin(annotation) is typing.Literal:
            found += typing.get_args(annotation)
        elif isinstance(annotation, type) and issubclass(annotation, Enum):
            found += [member.value for member in annotation]
        else:
            waiting += typing.get_args(annotation)
    return tuple(found)


def _data(session: ContractSession) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(session.config.sections()))
    return data


def _models(session: ContractSession) -> Iterator[tuple[tuple[str, ...], pydantic.BaseModel]]:
    """Yield path -> model, for the configuration and every model in it."""
    import pydantic

    waiting: list[tuple[tuple[str, ...], pydantic.BaseModel]] = [((), session.config.model)]
    while waiting:
        path, model = waiting.pop()
        yield path, model
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, pydantic.BaseModel):
                waiting.append(((*path, name), value))


def _leaves(session: ContractSession) -> list[tuple[str, ...]]:
    import pydantic

    found = [
        (*path, name)
        for path, model in _models(session)
        for name in type(model).model_fields
        if not isinstance(getattr(model, name), pydantic.BaseModel)
    ]
    found = [path for path in found if path not in _CORE_KEYS]
    if not found:
        raise NotApplicableError("the configuration has no keys")
    return found


def _at(data: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        data = data[name]
    return data


def _value(data: dict[str, Any], path: tuple[str, ...]) -> Any:
    return _at(data, path[:-1])[path[-1]]


def _takes(session: ContractSession, path: tuple[str, ...], value: object) -> bool:
    data = _data(session)
    _at(data, path[:-1])[path[-1]] = value
    return _is_accepted(session, data)


def _takes_quietly(session: ContractSession, path: tuple[str, ...], value: object) -> bool:
    try:
        return _takes(session, path, value)
    except Exception:  # noqa: BLE001  a validator that falls over is another check's concern
        return False


def _is_accepted(session: ContractSession, data: dict[str, Any]) -> bool:
    import pydantic

    try:
        session.use_case.config_model().model_validate(data)
    except pydantic.ValidationError:
        return False
    return True
