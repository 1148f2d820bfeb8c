"""Checks of a hyperparameter search: what it may vary exists and is legal, and it is judged on the validation part."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pydantic

from mlops_core.config import TuningSection
from mlops_core.config_files.values import visible_line
from mlops_core.errors import MlopsError
from mlops_core.pipeline import TRIAL_MARK
from mlops_core.predictions import read_predictions
from mlops_core.steps.tuned.trials import check_validation_predictions
from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.observation.execution import step_request
from mlops_core.testing.use_cases.checks.configuration import VALID
from mlops_core.testing.use_cases.single_steps import execute_step
from mlops_core.tuning.declaration import Tuning
from mlops_core.use_cases.searches import trial_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.pipeline import Step
    from mlops_core.testing.use_cases.session import ContractSession
    from mlops_core.tuning.space import SearchSpace

_DRAWN = 64
_SHOWN = 3


def _space(session: ContractSession) -> SearchSpace:
    assert session.config is not None  # noqa: S101  the checks before this one saw to it
    space = session.use_case.search_space(session.config.model)
    if space is None:
        raise NotApplicableError("the use case has no search space")
    return space


def _trial(session: ContractSession) -> Step:
    """Return a trial of a search of a few trials, on the training step that writes the model."""
    assert session.config is not None  # noqa: S101  the checks before this one saw to it
    config, name = session.config.model, session.pipeline.model.rpartition(".")[0]
    section = getattr(config, "tuning", None)
    if isinstance(section, TuningSection):
        asked = config.model_copy(update={"tuning": section.model_copy(update={"trials": 3, "concurrent": 1})})
        return session.use_case.pipeline(asked).step(f"{name}{TRIAL_MARK}1")
    space, objective = _space(session), session.pipeline.metrics[0].name
    tuning = Tuning(space=space, objective=objective, trials=3, concurrent=1, predictions=space.predictions)
    return trial_step(replace(session.pipeline.step(name), tuning=tuning), 1)


@check(after=VALID)
def search_varies_existing_keys(session: ContractSession) -> Iterator[str]:
    """Every parameter of the search space names a key of the configuration whose own value is legal: that is trial 0.

    Fix: correct `key`, or the limits and choices, of the TunedParameter in mlops_get_search_space.
    """
    space = _space(session)
    assert session.config is not None  # noqa: S101  as above
    tuning = Tuning(space=space, objective="any", trials=1)
    configured = tuning.configured(session.config.sections())
    for parameter in space.used():
        if parameter.name not in configured:
            yield f"{parameter.name}: the configuration has no value at '{parameter.key}'"
        elif fault := parameter.fault(configured[parameter.name]):
            yield f"{parameter.name}: the configuration's own value {fault}"


@check(after=VALID)
def search_space_is_legal(session: ContractSession) -> Iterator[str]:
    """The configuration accepts every value of the search space that the parameters call legal.

    Fix: narrow the ranges, or the limits of the TunedParameter, to what the model accepts.
    """
    space = _space(session)
    assert session.config is not None  # noqa: S101  as above
    config = session.config.model
    tuning = Tuning(space=space, objective="any", trials=_DRAWN)
    limits = [
        {name: value} for subspace in space.subspaces for name, found in subspace.items() for value in found.limits()
    ]
    refused = 0
    for values in (*map(tuning.values, range(1, _DRAWN)), *limits):
        try:
            type(config).model_validate(tuning.overlay(config.model_dump(mode="json"), values))
        except (pydantic.ValidationError, MlopsError) as error:
            refused += 1
            if refused <= _SHOWN:
                yield visible_line(f"{json.dumps(values)} is refused: {' '.join(str(error).split())}")


@check(after=VALID)
def trials_can_be_declared(session: ContractSession) -> Iterator[str]:
    """The training step can be searched: it declares the varied sections and the output with validation predictions.

    Fix: declare the output 'validation' of the step, with results=('validation',), and the sections in config.
    """
    _space(session)
    try:
        _trial(session)
    except MlopsError as error:
        yield str(error)


@check(after=("trials_can_be_declared", "steps_succeed"))
def trials_are_judged_on_validation(session: ContractSession) -> Iterator[str]:
    """A trial predicts all samples of the validation part and no other, so that no choice is made on the test part.

    Where the split has no validation part, it predicts the training part, each sample by a model that has not seen it.

    Fix: write the predictions for the validation part to the output 'validation' of the training step.
    """
    _space(session)
    step = _trial(session)
    outputs, error = execute_step(session, step)
    if error:
        yield f"trial 1 failed: {error}"
        return
    tuning = step.tuning
    assert tuning is not None  # noqa: S101  for mypy
    inputs, folder = session.inputs_of(step), session.new_folder("judged")
    request = step_request(session.request, step, inputs=inputs, outputs=outputs, folder=folder)
    try:
        check_validation_predictions(request, read_predictions(outputs[tuning.predictions]))
    except MlopsError as fault:
        yield str(fault)
