"""Optimizers and callbacks as the model zoo names them, checked against what Keras and the zoo have."""

from __future__ import annotations

from typing import Any

from mlops_aed.schedules import SCHEDULES
from mlops_aed.stm32.values import Kind, Rule, read_value
from mlops_aed.training_config import CALLBACKS, OPTIMIZERS, check_callbacks, check_optimizer

_FORBIDDEN = {
    "ModelCheckpoint": "the best weights are kept anyway",
    "TensorBoard": "the training curve is in the report",
    "CSVLogger": "the training curve is in history.csv",
    "LearningRateScheduler": "it holds code; use one of the schedules by name",
    "LambdaCallback": "it holds code",
    "BackupAndRestore": "a stopped run goes on by itself",
    "RemoteMonitor": "a step does not talk to servers",
}
_TEXTS = ("monitor", "mode")
_LISTS = ("boundaries", "values")


def convert_optimizer(value: dict[str, Any] | str) -> dict[str, dict[str, Any]]:
    """Return ``{name: arguments}`` of an optimizer that is a name or a mapping; the name's case does not matter.

    Raises:
        ValueError: it is not one of Keras's, or an argument is wrong.
    """
    given = {value: None} if isinstance(value, str) else value
    named = {_known(name, OPTIMIZERS): _arguments(name, arguments) for name, arguments in given.items()}
    return check_optimizer(named) or {}


def convert_callbacks(value: dict[str, Any] | str) -> dict[str, dict[str, Any]]:
    """Return ``{name: arguments}`` of the callbacks.

    Raises:
        ValueError: one is not known, or not allowed, or an argument is wrong.
    """
    given = {value: None} if isinstance(value, str) else value
    for name in given:
        if name in _FORBIDDEN:
            raise ValueError(f"{name} is not allowed: {_FORBIDDEN[name]}. Legal: {', '.join(CALLBACKS)}")
    return check_callbacks({_known(name, CALLBACKS): _arguments(name, arguments) for name, arguments in given.items()})


def convert_v1_training(
    values: dict[str, Any],
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]], tuple[str, str] | None]:
    """Return optimizer, callbacks, and the key that is wrong with its message, of the layout v1.

    Its patience is that of early stopping; ``reducelronplateau`` waits half as long.
    """
    section = "train_parameters"
    try:
        name = values.get(f"{section}.optimizer") or "adam"
        optimizer = convert_optimizer({name: {"learning_rate": values.get(f"{section}.initial_learning") or 0.001}})
    except ValueError as error:
        return {}, {}, (f"{section}.optimizer", str(error))
    patience = _count(values.get(f"{section}.patience"))
    if patience is None:
        return {}, {}, (f"{section}.patience", "is no whole number above 0")
    restore = values.get(f"{section}.restore_best_weights") is not False
    watch = {"monitor": "val_accuracy", "mode": "max"}
    callbacks = {"EarlyStopping": {**watch, "patience": patience, "restore_best_weights": restore}}
    scheduler = str(values.get(f"{section}.learning_rate_scheduler") or "constant").casefold()
    if scheduler == "reducelronplateau":
        callbacks["ReduceLROnPlateau"] = {**watch, "factor": 0.5, "patience": max(1, patience // 2), "min_lr": 1e-5}
    elif scheduler != "constant":
        note = f"is {scheduler!r}; legal: reducelronplateau, constant"
        return {}, {}, (f"{section}.learning_rate_scheduler", note)
    return optimizer, callbacks, None


def _count(value: object) -> int | None:
    if value is None:
        return 100
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _known(name: str, known: dict[str, Any]) -> str:
    return next((item for item in known if item.casefold() == name.casefold()), name)


def _arguments(name: str, given: object) -> dict[str, Any]:
    if given is None or given == "None":
        return {}
    if not isinstance(given, dict):
        raise ValueError(f"{name} is {given!r}; expected a mapping of arguments")  # noqa: TRY004  a fault of the file
    return {key: _argument(name, key, value) for key, value in given.items()}


def _argument(name: str, key: str, value: object) -> Any:
    if key in _TEXTS:
        return value
    if key in _LISTS:
        return value if isinstance(value, list) else list(_list(name, key, value))
    if isinstance(value, bool) or str(value).strip().lower() in {"true", "false"}:
        return read_value(value, Rule(kind=Kind.BOOLEAN))
    try:
        number = read_value(value, Rule(kind=Kind.NUMBER))
    except ValueError as error:
        raise ValueError(f"{name}.{key} {error}") from None
    is_count = key in {"patience", "cooldown", "start_from_epoch"} or (name in SCHEDULES and key.endswith("steps"))
    return int(number) if is_count and number is not None and number == int(number) else number


def _list(name: str, key: str, value: object) -> tuple[Any, ...]:
    text = str(value).strip().strip("[]()")
    try:
        return tuple(read_value(part, Rule(kind=Kind.NUMBER)) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{name}.{key} {error}") from None
