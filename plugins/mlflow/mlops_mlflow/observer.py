"""The hooks of the observer ``mlflow``. MLflow itself is imported only where an address is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.observers import EventPhase, hookimpl
from mlops_mlflow.settings import read_tracking_settings

if TYPE_CHECKING:
    from mlops_core.observers import (
        AliasEvent,
        ExportedModel,
        ModelEvent,
        ObserverContext,
        RunEvent,
        StepEvent,
    )


@hookimpl
def mlops_observe_run(run: RunEvent, context: ObserverContext) -> None:
    """Create the run in MLflow, or log its metrics and artifacts and end it."""
    settings = read_tracking_settings(context.settings)
    if settings is None:
        return
    from mlops_mlflow.tracking import open_tracking

    with open_tracking(settings) as tracking:
        if run.phase is EventPhase.STARTED:
            tracking.start_run(run)
        else:
            tracking.end_run(run)


@hookimpl
def mlops_observe_step(step: StepEvent, context: ObserverContext) -> None:
    """Log a step that has ended as a nested run, with the curves of a training."""
    settings = read_tracking_settings(context.settings)
    if settings is None or step.phase is EventPhase.STARTED:
        return
    from mlops_mlflow.tracking import open_tracking

    with open_tracking(settings) as tracking:
        tracking.log_step(step)


@hookimpl
def mlops_observe_model(model: ModelEvent, context: ObserverContext) -> None:
    """Register the version, or update its tags."""
    settings = read_tracking_settings(context.settings)
    if settings is None:
        return
    from mlops_mlflow.tracking import open_tracking

    with open_tracking(settings) as tracking:
        tracking.register(model)


@hookimpl
def mlops_observe_alias(alias: AliasEvent, context: ObserverContext) -> None:
    """Point the alias of the registered model to the same version, or remove it."""
    settings = read_tracking_settings(context.settings)
    if settings is None:
        return
    from mlops_mlflow.tracking import open_tracking

    with open_tracking(settings) as tracking:
        tracking.move_alias(alias)


@hookimpl
def mlops_write_model(model: ExportedModel) -> None:
    """Write ``MLmodel`` beside the files of an exported model."""
    from mlops_mlflow.export import write_pyfunc_model

    write_pyfunc_model(model)
