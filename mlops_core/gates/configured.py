"""The gate that a configuration asks for: the plugin's own, or the condition in its ``gate`` section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import ConfigError, PipelineError
from mlops_core.gates.gate import Gate
from mlops_core.gates.parsing import parse_condition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mlops_core.datasets.licences import Licences
    from mlops_core.evaluation.metrics import Metric

DEFAULT = "default"
"""The name by which a configured condition mentions the plugin's gate."""


def configured_gate(
    gate: Gate,
    text: str | None,
    *,
    metrics: Sequence[Metric],
    parameters: Collection[str],
    licences: Licences | None = None,
    key: str = "gate.condition",
) -> Gate:
    """Return the gate with the condition of a configuration; the plugin's gate where there is none.

    Args:
        gate: of the plugin; the condition may mention it as ``default``.
        text: the condition.
        metrics: the declared metrics.
        parameters: names of the numeric parameters.
        licences: of the data and the base models; None while they are not known.
        key: where the condition comes from, for messages.

    Raises:
        ConfigError: the condition is not well formed, mentions what does not exist, or can accept no model.

    Example:
        >>> acc = Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
        >>> gate = configured_gate(
        ...     Gate(parse_condition("acc >= 0.8")), "default and acc.lower >= 0.75", metrics=[acc], parameters=[]
        ... )
        >>> print(gate.condition)
        acc >= 0.8 and acc.lower >= 0.75
    """
    if text is None:
        return gate
    try:
        changed = Gate(parse_condition(text, names={DEFAULT: gate.condition}))
        changed.check(metrics=metrics, parameters=parameters, licences=licences)
    except PipelineError as error:
        raise ConfigError(f"{key}: {str(error).removeprefix('gate: ')}") from error
    return changed


def check_thresholds(
    gate: Gate,
    *,
    metrics: Sequence[Metric],
    values: Mapping[str, object],
    licences: Licences | None = None,
    key: str = "gate",
) -> None:
    """Refuse a gate whose clauses contradict each other with the parameters and licences of a run.

    Args:
        gate: the gate.
        metrics: the declared metrics.
        values: value of each parameter.
        licences: of the data and the base models; None while they are not known.
        key: where the condition comes from, for messages.

    Raises:
        ConfigError: no model can be accepted; the clauses are named.
    """
    numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    try:
        gate.check(metrics=metrics, parameters=numbers, values=numbers, licences=licences)
    except PipelineError as error:
        raise ConfigError(f"{key}: {str(error).removeprefix('gate: ')}") from error


def check_licences(gate: Gate, licences: Licences, *, metrics: Sequence[Metric]) -> None:
    """Refuse a plugin's gate that can accept no model trained on the configured data and base models.

    Args:
        gate: of the plugin.
        licences: of the data and the base models.
        metrics: the declared metrics.

    Raises:
        ConfigError: a licence is unknown, or the gate does not accept it.
    """
    if not gate.needs_licences:
        return
    try:
        gate.check_licences(licences, metrics=metrics)
    except PipelineError as error:
        raise ConfigError(
            f"{error}; choose another data set or base model, or another condition in gate.condition"
        ) from error
