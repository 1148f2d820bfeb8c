"""The learning rate of each epoch, by the schedules of the STM32 model zoo: nine, and the two of its first version.

A schedule is data: a name and numbers. `learning_rate` returns the value that the zoo's callback of that name sets at
the beginning of an epoch, counted from 0; like the zoo's, it ends a hold one epoch early, so that a configuration means
the same in both programs. Nothing here imports Keras.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCHEDULES: dict[str, dict[str, Any]] = {
    "LRLinearDecay": {"initial_lr": None, "hold_steps": None, "decay_steps": None, "end_lr": None},
    "LRExponentialDecay": {"initial_lr": None, "hold_steps": None, "decay_rate": None, "min_lr": 0.0},
    "LRStepDecay": {"initial_lr": None, "step_size": None, "decay_rate": None, "min_lr": 0.0},
    "LRCosineDecay": {"initial_lr": None, "hold_steps": None, "decay_steps": None, "end_lr": None},
    "LRWarmupCosineDecay": {
        "initial_lr": None,
        "warmup_steps": None,
        "max_lr": None,
        "hold_steps": None,
        "decay_steps": None,
        "end_lr": None,
    },
    "LRCosineDecayRestarts": {
        "initial_lr": None,
        "first_decay_steps": None,
        "end_lr": None,
        "t_mul": 2,
        "m_mul": 1.0,
    },
    "LRPolynomialDecay": {
        "initial_lr": None,
        "hold_steps": None,
        "decay_steps": None,
        "end_lr": None,
        "power": 0.5,
    },
    "LRPolynomialDecayRestarts": {
        "initial_lr": None,
        "hold_steps": None,
        "decay_steps": None,
        "end_lr": None,
        "power": 0.7,
    },
    "LRPiecewiseConstantDecay": {"boundaries": None, "values": None},
    "LRExponentialDecayV1": {"initial_lr": None},
    "LRCosineDecayV1": {"initial_lr": None},
}
"""Name -> argument -> default; None for a required argument. All counts are epochs."""


def schedule_fault(name: str, arguments: Mapping[str, Any]) -> str:
    """Return the fault in the arguments of the schedule `name`; empty for none.

    Names of arguments are not checked here.
    """
    missing = [key for key, default in SCHEDULES[name].items() if default is None and arguments.get(key) is None]
    if missing:
        return f"{name} needs {', '.join(missing)}"
    if name == "LRPiecewiseConstantDecay":
        return _piecewise_fault(arguments["boundaries"], arguments["values"])
    for key, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            return f"{name}.{key} is {value!r}; expected a number of at least 0"
        if value == 0 and key in {"decay_steps", "step_size", "first_decay_steps", "t_mul", "initial_lr", "max_lr"}:
            return f"{name}.{key} is 0; expected a positive number"
    return ""


def _piecewise_fault(boundaries: object, values: object) -> str:
    if not isinstance(boundaries, list | tuple) or not isinstance(values, list | tuple):
        return "LRPiecewiseConstantDecay: boundaries and values must be lists"
    if len(values) != len(boundaries) + 1:
        return f"LRPiecewiseConstantDecay: {len(boundaries)} boundaries need {len(boundaries) + 1} values"
    if any(isinstance(item, bool) or not isinstance(item, int | float) for item in (*boundaries, *values)):
        return "LRPiecewiseConstantDecay: boundaries and values must be numbers"
    if list(boundaries) != sorted(set(boundaries)):
        return "LRPiecewiseConstantDecay: boundaries must increase"
    return ""


def learning_rate(name: str, arguments: Mapping[str, Any], epoch: int) -> float:
    """Return the learning rate of `epoch` by the schedule `name`, whose arguments are valid."""
    complete = {**SCHEDULES[name], **arguments}
    return float(_FORMULAS[name](epoch, **complete))


def _cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * share))


def _linear(epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float) -> float:
    done = max(0, epoch - hold_steps + 1)
    return initial_lr + (end_lr - initial_lr) * min(1.0, done / decay_steps)


def _exponential(epoch: int, *, initial_lr: float, hold_steps: int, decay_rate: float, min_lr: float) -> float:
    done = max(0, epoch - hold_steps + 1)
    return max(min_lr, initial_lr * math.exp(-decay_rate * done)) if done or hold_steps == 0 else initial_lr


def _stairs(epoch: int, *, initial_lr: float, step_size: int, decay_rate: float, min_lr: float) -> float:
    return max(min_lr, initial_lr * decay_rate ** ((1 + epoch) // step_size))


def _held_cosine(epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float) -> float:
    if epoch < hold_steps:
        return initial_lr
    return _cosine(initial_lr, end_lr, min(epoch - hold_steps + 1, decay_steps) / decay_steps)


def _warm_cosine(  # noqa: PLR0913  the zoo's arguments
    epoch: int,
    *,
    initial_lr: float,
    warmup_steps: int,
    max_lr: float,
    hold_steps: int,
    decay_steps: int,
    end_lr: float,
) -> float:
    if epoch < warmup_steps - 1:
        return initial_lr + (max_lr - initial_lr) / warmup_steps * epoch
    done = max(0, epoch - warmup_steps - hold_steps)
    return _cosine(max_lr, end_lr, min(done, decay_steps) / decay_steps)


def _restarting_cosine(
    epoch: int, *, initial_lr: float, first_decay_steps: int, end_lr: float, t_mul: float, m_mul: float
) -> float:
    """Return the rate within the period of `epoch` (Loshchilov and Hutter, SGDR, 2017)."""
    start, length, height = 0.0, float(first_decay_steps), initial_lr - end_lr
    while epoch >= start + length:
        start, length, height = start + length, length * max(t_mul, 1.0), height * m_mul
    return _cosine(height, 0.0, (epoch - start) / length) + end_lr


def _polynomial(
    epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float, power: float
) -> float:
    share = min(max(0, epoch - hold_steps + 1), decay_steps) / decay_steps
    return float((initial_lr - end_lr) * (1 - share) ** power + end_lr)


def _restarting_polynomial(
    epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float, power: float
) -> float:
    done = max(0, epoch - hold_steps + 1)
    share = done / (decay_steps * math.ceil(done / decay_steps)) if done else 0.0
    return float((initial_lr - end_lr) * (1 - share) ** power + end_lr)


def _piecewise(epoch: int, *, boundaries: list[int], values: list[float]) -> float:
    return values[bisect_right(boundaries, epoch)]


_V1_HOLD = 10
"""Epochs at the initial rate, in both schedules of v1."""
_V1_DECAY_STEPS = 1000
_V1_ALPHA = 1e-5


def _exponential_v1(epoch: int, *, initial_lr: float) -> float:
    """Return the rate of v1, whose callback multiplies the rate of the epoch before by exp(-0.001 epoch)."""
    return initial_lr * math.exp(-0.001 * sum(range(_V1_HOLD, epoch + 1)))


def _cosine_v1(epoch: int, *, initial_lr: float) -> float:
    """Return the rate of v1, whose callback multiplies the rate of the epoch before by a cosine of the epoch."""
    steps = (min(done, _V1_DECAY_STEPS) / _V1_DECAY_STEPS for done in range(_V1_HOLD, epoch + 1))
    return initial_lr * math.prod(_cosine(1.0, _V1_ALPHA, step) for step in steps)


_FORMULAS: dict[str, Callable[..., float]] = {
    "LRLinearDecay": _linear,
    "LRExponentialDecay": _exponential,
    "LRStepDecay": _stairs,
    "LRCosineDecay": _held_cosine,
    "LRWarmupCosineDecay": _warm_cosine,
    "LRCosineDecayRestarts": _restarting_cosine,
    "LRPolynomialDecay": _polynomial,
    "LRPolynomialDecayRestarts": _restarting_polynomial,
    "LRPiecewiseConstantDecay": _piecewise,
    "LRExponentialDecayV1": _exponential_v1,
    "LRCosineDecayV1": _cosine_v1,
}
