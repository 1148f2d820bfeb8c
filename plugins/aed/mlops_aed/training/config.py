"""The sections ``training`` and ``data_augmentation``: which network, and how it is trained.

Optimizers, callbacks and schedules are named, never evaluated; the legal names and arguments are listed here, because
a configuration is checked before Keras is imported.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mlops_aed.models.pretrained import LocalPath, with_digest
from mlops_aed.training.schedules import SCHEDULES, schedule_fault
from mlops_core import KeyFaultError, Section, did_you_mean

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Scalar = bool | int | float | str | None

_EVERY_OPTIMIZER = (
    "learning_rate",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "gradient_accumulation_steps",
)
_MOMENTS = ("beta_1", "beta_2", "epsilon")
OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "SGD": ("momentum", "nesterov"),
    "RMSprop": ("rho", "momentum", "epsilon", "centered"),
    "Adam": (*_MOMENTS, "amsgrad"),
    "AdamW": (*_MOMENTS, "amsgrad"),
    "Adadelta": ("rho", "epsilon"),
    "Adagrad": ("initial_accumulator_value", "epsilon"),
    "Adamax": _MOMENTS,
    "Adafactor": ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step"),
    "Nadam": _MOMENTS,
    "Ftrl": (
        "learning_rate_power",
        "initial_accumulator_value",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "l2_shrinkage_regularization_strength",
        "beta",
    ),
    "Lion": ("beta_1", "beta_2"),
    "Lamb": _MOMENTS,
}
"""Keras optimizer -> its own arguments, besides those of every optimizer."""
CALLBACKS: dict[str, tuple[str, ...]] = {
    "EarlyStopping": (
        "monitor",
        "min_delta",
        "patience",
        "verbose",
        "mode",
        "baseline",
        "restore_best_weights",
        "start_from_epoch",
    ),
    "ReduceLROnPlateau": (
        "monitor",
        "factor",
        "patience",
        "verbose",
        "mode",
        "min_delta",
        "cooldown",
        "min_lr",
    ),
    "TerminateOnNaN": (),
    "SwapEMAWeights": ("swap_on_epoch",),
    **{name: (*arguments, "verbose") for name, arguments in SCHEDULES.items()},
}
"""Callback -> its arguments. Callbacks that write files, connect to servers or hold code are left out on purpose."""
_MONITORED = ("loss", "accuracy", "val_loss", "val_accuracy")
_MODES = ("auto", "min", "max")


def optimizer_arguments(name: str) -> tuple[str, ...]:
    """Return the arguments of the optimizer `name`."""
    return (*_EVERY_OPTIMIZER, *OPTIMIZERS[name])


def check_optimizer(given: dict[str, dict[str, Scalar]] | None) -> dict[str, dict[str, Scalar]] | None:
    """Return the value unchanged.

    Raises:
        ValueError: it is not one optimizer of Keras with legal arguments.
    """
    if given is None:
        return None
    if len(given) != 1:
        raise ValueError(f"expected one optimizer, not {len(given)}; known: {', '.join(OPTIMIZERS)}")
    for name, arguments in given.items():
        if name not in OPTIMIZERS:
            raise ValueError(
                f"'{name}' is not an optimizer{did_you_mean(name, OPTIMIZERS) or ';'} known: {', '.join(OPTIMIZERS)}"
            )
        _require_arguments(name, arguments, optimizer_arguments(name))
        rate = arguments.get("learning_rate", 0.001)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 10:
            raise ValueError(f"{name}.learning_rate is {rate!r}; expected a number above 0, at most 10")
    return given


def check_callbacks(given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the value unchanged.

    Raises:
        ValueError: a callback or an argument is unknown, or two callbacks set the learning rate.
    """
    for name, arguments in given.items():
        if name not in CALLBACKS:
            raise ValueError(
                f"'{name}' is not a callback{did_you_mean(name, CALLBACKS) or ';'} known: {', '.join(CALLBACKS)}"
            )
        _require_arguments(name, arguments, CALLBACKS[name])
        for key, legal in (("monitor", _MONITORED), ("mode", _MODES)):
            if key in arguments and arguments[key] not in legal:
                raise ValueError(f"{name}.{key} is {arguments[key]!r}; legal: {', '.join(legal)}")
    schedules = [name for name in given if name in SCHEDULES]
    if len(schedules) > 1:
        raise ValueError(f"{' and '.join(schedules)} both set the learning rate; keep one")
    for name in schedules:
        fault = schedule_fault(name, {key: value for key, value in given[name].items() if key != "verbose"})
        if fault:
            raise ValueError(fault)
    return given


def _require_arguments(name: str, arguments: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in arguments:
        if key not in known:
            raise ValueError(
                f"{name} has no argument '{key}'{did_you_mean(key, known) or ';'} known: {', '.join(known)}"
            )


class DataAugmentation(Section):
    """Strengths of the changes to training patches; 0 switches one off.

    ``gain_db`` amplifies or attenuates the recording by up to as many decibels. The head of a frozen backbone, which
    is fitted without random numbers, learns from each patch as it is and at both ends of that range.
    """

    mixup_alpha: Annotated[float, Field(ge=0, le=2)] = 0.1
    time_mask: NotNegative = 16
    frequency_mask: NotNegative = 8
    time_shift: NotNegative = 24
    time_masks: NotNegative = 1
    frequency_masks: NotNegative = 1
    noise: Annotated[float, Field(ge=0)] = 0.0
    gain_db: Annotated[float, Field(ge=0, le=40)] = 0.0
    volume: Annotated[tuple[float, float], Field()] = (1.0, 1.0)

    @model_validator(mode="after")
    def _volume_is_a_range(self) -> Self:
        if not 0 < self.volume[0] <= self.volume[1]:
            raise KeyFaultError(
                "volume", f"{list(self.volume)}: expected a range of positive factors, the smaller first"
            )
        return self


class ModelChoice(Section):
    """The network; keys that it does not use are ignored.

    ``file`` is the model at ``general.model_path``, which is trained further.
    ``pooling`` without a value is ``multi`` for yamnet (means and maxima of the last map, means of the one before:
    768 values, for a short sound has a high maximum and a low mean) and none, the whole last map, for the others.
    ``weights`` without a value are those that the model zoo publishes.
    """

    name: Literal["residual", "yamnet", "miniresnet", "miniresnetv2", "custom", "file"] = "residual"
    filters: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=5)] = (8, 16, 32)
    n_stacks: Literal[1, 2] = 1
    pooling: Literal["avg", "max", "multi"] | None = None
    embedding_size: Literal[256] = 256
    pretrained: bool = True
    weights: LocalPath | None = None
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    code: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2

    @model_validator(mode="before")
    @classmethod
    def _digest_is_noted(cls, data: object) -> object:
        return with_digest(data, path_key="weights", digest_key="weights_sha256")

    @model_validator(mode="after")
    def _pooling_fits(self) -> Self:
        if self.pooling == "multi" and self.name != "yamnet":
            raise KeyFaultError("pooling", f"multi belongs to yamnet; legal for {self.name}: avg or max")
        return self

    @model_validator(mode="after")
    def _custom_has_code(self) -> Self:
        if (self.name == "custom") != (self.code is not None):
            raise KeyFaultError("code", "'package.module:function' belongs to name: custom, and custom needs it")
        return self


class Training(Section):
    """Settings of the training; a step is one weight update on one batch.

    With ``epochs`` the network is trained by epochs with ``optimizer`` and ``callbacks``; otherwise for ``steps``.
    A pretrained backbone that is not fine-tuned stays as it is: only its head is fitted, until it converges, with the
    ``head_penalty`` that does best on held-out source recordings where none is given.
    """

    model: ModelChoice = ModelChoice()
    fine_tune: bool = False
    batch_size: Positive = 32
    steps: Positive = 600
    patience: Positive = 300
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.006
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0005
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    head_penalty: Annotated[float, Field(gt=0, le=1)] | None = None
    epochs: Positive | None = None
    optimizer: Annotated[dict[str, dict[str, Scalar]] | None, AfterValidator(check_optimizer)] = None
    callbacks: Annotated[dict[str, dict[str, Any]], AfterValidator(check_callbacks)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _epochs_have_their_keys(self) -> Self:
        if self.epochs is None and (self.optimizer or self.callbacks):
            raise KeyFaultError("epochs", "is not set; optimizer and callbacks belong to training by epochs")
        return self
