"""The hooks of observers: entry points of the group ``mlops.observers``, found by name, any number of them at a time.

Unlike the hooks of a use case, each of these may be implemented by several plugins, and all are optional. They are
called in a process of their own, one per observer, in the order of the events, and repeated until they return: an
implementation has to tolerate an event that it has already handled. An observer can neither fail nor delay a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.hookspecs import hookspec

if TYPE_CHECKING:
    from mlops_core.observers.events import (
        AliasEvent,
        ExportedModel,
        ModelEvent,
        ObserverContext,
        RunEvent,
        StepEvent,
    )


@hookspec
def mlops_observe_run(run: RunEvent, context: ObserverContext) -> None:
    """Handle a run that began or ended.

    Called in the process of the observer, once per phase. Optional. Since 0.1.

    :param run: the run, with its record and, at the end, its metrics.
    :param context: the observer's settings and log.
    :raises ObserverUnavailableError: the event cannot be delivered now; it is kept and delivered later.
    """


@hookspec
def mlops_observe_step(step: StepEvent, context: ObserverContext) -> None:
    """Handle a step that began or ended.

    Called in the process of the observer, after the start of the step's run and before its end. Optional. Since 0.1.

    :param step: the step, with its record and, at the end of a training, its histories.
    :param context: the observer's settings and log.
    :raises ObserverUnavailableError: the event cannot be delivered now; it is kept and delivered later.
    """


@hookspec
def mlops_observe_model(model: ModelEvent, context: ObserverContext) -> None:
    """Handle a model version that was registered, approved or rejected.

    Called in the process of the observer, after the events of the run that registered the version. Optional. Since 0.1.

    :param model: the version and the ledger's entry.
    :param context: the observer's settings and log.
    :raises ObserverUnavailableError: the event cannot be delivered now; it is kept and delivered later.
    """


@hookspec
def mlops_observe_alias(alias: AliasEvent, context: ObserverContext) -> None:
    """Handle an alias that was moved to another version, or removed.

    Called in the process of the observer, after the registration of the version. Optional. Since 0.1.

    :param alias: the alias, its version and the ledger's entry.
    :param context: the observer's settings and log.
    :raises ObserverUnavailableError: the event cannot be delivered now; it is kept and delivered later.
    """


@hookspec
def mlops_write_model(model: ExportedModel, context: ObserverContext) -> None:
    """Describe an exported model in the format of another system, with files beside those of the model.

    Called by ``mlops models export --format NAME``, where NAME is the name of the observer, in the process of the
    command. Optional: without it, the format is refused. Since 0.1.

    :param model: the version and the folder.
    :param context: the observer's settings and log.
    :raises MlopsError: the model cannot be described; nothing is exported.
    """
