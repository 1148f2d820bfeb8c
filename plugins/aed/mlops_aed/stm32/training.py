"""Optimizers and callbacks of the model zoo, checked against those of Keras and the zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_aed.stm32.layouts import Layout
from mlops_aed.stm32.values import Kind, Rule, read_value
from mlops_aed.training.config import CALLBACKS, OPTIMIZERS, check_callbacks, check_optimizer
from mlops_aed.training.schedules import SCHEDULES

if TYPE_CHECKING:
    from mlops_aed.stm32.draft import Draft

_V1_PATIENCE = 100
_V1_RATE = 0.001
_V1_WATCH = {"monitor": "val_accuracy", "mode": "max"}
_V1_PLATEAU = {"factor": 0.1, "patience": 15, "min_lr": 1e-6}
_V1_SCHEDULES = {"Exponential": "LRExponentialDecayV1", "Cosine": "LRCosineDecayV1"}
"""Schedule of v1 -> that of this use case."""
_FORBIDDEN = {
    "ModelCheckpoint": "the best weights are kept anyway",
    "TensorBoard": "the training curve is in the report",
    "CSVLogger": "the training curve is in history.csv",
    "LearningRateScheduler": "it holds code; use one of the schedules by name",
    "LambdaCallback": "it holds code",
    "BackupAndRestore": "a stopped run resumes by itself",
    "RemoteMonitor": "a step does not connect to servers",
}
_TEXTS = ("monitor", "mode")
_LISTS = ("boundaries", "values")


def convert_optimizer(value: dict[str, Any] | str) -> dict[str, dict[str, Any]]:
    """Return ``{name: arguments}`` of an optimizer given as name or mapping, without regard to case.

    Raises:
        ValueError: it is not an optimizer of Keras, or an argument is wrong.
    """
    optimizers = {value: None} if isinstance(value, str) else value
    named = {_known(name, OPTIMIZERS): _arguments(name, arguments) for name, arguments in optimizers.items()}
    return check_optimizer(named) or {}


def convert_callbacks(value: dict[str, Any] | str) -> dict[str, dict[str, Any]]:
    """Return ``{name: arguments}`` of the callbacks.

    Raises:
        ValueError: a callback is unknown or not allowed, or an argument is wrong.
    """
    callbacks = {value: None} if isinstance(value, str) else value
    for name in callbacks:
        if name in _FORBIDDEN:
            raise ValueError(f"{name} is not allowed: {_FORBIDDEN[name]}. Legal: {', '.join(CALLBACKS)}")
    return check_callbacks(
        {_known(name, CALLBACKS): _arguments(name, arguments) for name, arguments in callbacks.items()}
    )


def set_fitting(draft: Draft) -> None:
    """Set the training by epochs, with the zoo's loss."""
    for key in ("fine_tune", "batch_size", "epochs"):
        value = draft.value(f"training.{key}")
        if value is not None:
            draft.set(f"training.{key}", value, f"training.{key}")
    draft.set("training.label_smoothing", 0.0)
    resumed = draft.value("training.resume_training_from")
    if resumed:
        note = "is set; a stopped run resumes when its command is repeated; leave it empty"
        draft.refuse("training.resume_training_from", note)
    if draft.layout is Layout.V1:
        _set_v1(draft)
        return
    for name, reader in (("training.optimizer", convert_optimizer), ("training.callbacks", convert_callbacks)):
        if draft.value(name) is not None:
            try:
                draft.set(name, reader(draft.value(name)), name)
            except ValueError as error:
                draft.refuse(name, str(error))


def _set_v1(draft: Draft) -> None:
    """Set optimizer and callbacks; v1's patience is for early stopping, its schedules have fixed numbers."""
    section = "train_parameters"
    rate, name = draft.value(f"{section}.initial_learning"), draft.value(f"{section}.optimizer") or "adam"
    rate = _V1_RATE if rate is None else rate
    try:
        optimizer = convert_optimizer({str(name): {"learning_rate": rate}})
        draft.set("training.optimizer", optimizer, f"{section}.optimizer", f"{section}.initial_learning")
    except ValueError as error:
        draft.refuse(f"{section}.optimizer", str(error))
    patience = draft.value(f"{section}.patience") or _V1_PATIENCE
    restore = draft.value(f"{section}.restore_best_weights") is not False
    callbacks: dict[str, dict[str, Any]] = {
        "EarlyStopping": {**_V1_WATCH, "patience": patience, "restore_best_weights": restore}
    }
    schedule = draft.value(f"{section}.learning_rate_scheduler")
    if schedule == "ReduceLROnPlateau":
        callbacks[schedule] = {**_V1_WATCH, **_V1_PLATEAU}
    elif schedule in _V1_SCHEDULES:
        callbacks[_V1_SCHEDULES[schedule]] = {"initial_lr": rate}
    keys = ("patience", "restore_best_weights", "learning_rate_scheduler")
    draft.set("training.callbacks", callbacks, *(f"{section}.{key}" for key in keys))


def _known(name: str, known: dict[str, Any]) -> str:
    return next((item for item in known if item.casefold() == name.casefold()), name)


def _arguments(name: str, setting: object) -> dict[str, Any]:
    if setting is None or setting == "None":
        return {}
    if not isinstance(setting, dict):
        raise ValueError(f"{name} is {setting!r}; expected a mapping of arguments")  # noqa: TRY004  a fault of the file
    return {key: _argument(name, key, value) for key, value in setting.items()}


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
