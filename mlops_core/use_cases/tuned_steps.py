"""The searches of a use case: what its steps declare, and what the section ``tuning`` of the configuration asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pydantic

from mlops_core.config import TuningSection
from mlops_core.errors import ConfigError, PluginError, did_you_mean
from mlops_core.pipeline import StepKind
from mlops_core.settings import expand_home
from mlops_core.tuning.declaration import Tuning
from mlops_core.use_cases.searches import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlops_core.config import UseCaseConfig
    from mlops_core.evaluation.metrics import Metric
    from mlops_core.pipeline import Step
    from mlops_core.tuning.space import SearchSpace, TunedValue

_SECTION = "tuning"


def tuned_steps(
    steps: Sequence[Step],
    config: UseCaseConfig,
    *,
    metrics: Sequence[Metric],
    model: str,
    space: Callable[[], SearchSpace | None],
    what: object,
) -> tuple[Step, ...]:
    """Return the steps of a pipeline, each tuned step as those of its search.

    Args:
        steps: that the plugin declares.
        config: its configuration; the section ``tuning`` asks for a search on the step that writes the model.
        metrics: declared metrics.
        model: reference of the registered output.
        space: returns what the use case lets a search vary.
        what: the plugin, for messages.

    Raises:
        ConfigError: the section or the file of the space is wrong, or the configuration refuses a trial's values.
        PluginError: the use case has no search space.
    """
    section = getattr(config, _SECTION, None)
    if isinstance(section, TuningSection) and section.trials > 1:
        name = model.rpartition(".")[0]
        steps = [
            replace(step, tuning=_tuning(section, step, metrics=metrics, space=space(), what=what))
            if step.name == name and step.tuning is None
            else step
            for step in steps
        ]
    result = tuple(expanded(steps))
    for step in result:
        _check_values(step, config)
    return result


def _tuning(
    section: TuningSection, step: Step, *, metrics: Sequence[Metric], space: SearchSpace | None, what: object
) -> Tuning:
    if space is None:
        raise PluginError(
            f"{what}: tuning.trials={section.trials}, and the use case has no search space; expected 1, or a plugin "
            "that implements mlops_get_search_space"
        )
    if step.kind is not StepKind.TRAINING:
        raise PluginError(f"{what}: step '{step.name}' writes the model and cannot be tuned: its kind is {step.kind}")
    known = [metric.name for metric in metrics]
    objective = section.objective or known[0]
    if objective not in known:
        raise ConfigError(
            f"tuning.objective: no metric '{objective}'{did_you_mean(objective, known) or ';'} "
            f"metrics: {', '.join(known)}"
        )
    predictions = space.predictions
    if not section.auto_mode:
        space = file_space(section.search_space or "", space)
    return Tuning(
        space=space,
        predictions=predictions,
        objective=objective,
        trials=section.trials,
        concurrent=section.concurrent,
        timeout_s=section.timeout_minutes * 60,
        sampler=section.sampler,
        seed=section.seed,
    )


def file_space(path: str, space: SearchSpace) -> SearchSpace:
    """Return the space in a file, of the parameters of `space`.

    Raises:
        ConfigError: every fault of the file, each with its line.
    """
    from mlops_core.tuning.space_file import read_space_file

    return read_space_file(expand_home(path, what="tuning.search_space"), space.parameters)


def _check_values(step: Step, config: UseCaseConfig) -> None:
    """Refuse a trial whose values the configuration's own checks refuse, before anything runs."""
    if step.tuning is None or step.trial is None:
        return
    values = step.tuning.values(step.trial)
    if not values:
        return
    fault = values_fault(step.tuning, values, model=type(config), sections=config.model_dump(mode="json"))
    if fault:
        raise ConfigError(f"search: trial {step.trial} {fault}; narrow the search space")


def values_fault(
    tuning: Tuning, values: Mapping[str, TunedValue], *, model: type[UseCaseConfig], sections: Mapping[str, Any]
) -> str:
    """Return why the configuration refuses drawn values in place of its own, as the rest of a sentence; or ''.

    Args:
        tuning: the search.
        values: of one trial.
        model: the class of the configuration.
        sections: all of its sections, as JSON types.
    """
    try:
        model.model_validate(tuning.overlay(sections, values))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        where = ".".join(map(str, first["loc"]))
        return f"({shown}): {f'{where}: ' if where else ''}{first['msg']}"
    return ""
