"""The events of TensorBoard: scalars, pictures, texts and the hyperparameters of a session.

Field numbers are those of TensorFlow's ``event.proto``, ``summary.proto`` and ``tensor.proto`` and of the hparams
plugin's ``plugin_data.proto``. No experiment is declared: TensorBoard then derives the columns of its table from the
sessions of all runs that it shows, which may have different configurations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.report.tensorboard.encoding import (
    bytes_field,
    double_field,
    float_field,
    integer_field,
    record,
    text_field,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_TENSOR_CLASS = 2
_FLOAT_TYPE, _TEXT_TYPE = 1, 7
_RGB = 3
_SUCCESS, _FAILURE = 1, 2
_NOTHING = integer_field(1, _FLOAT_TYPE) + bytes_field(2, bytes_field(2, integer_field(1, 0)))
"""A tensor of shape (0): the hparams plugin reads the metadata only."""

HyperParameter = bool | int | float | str


def version_event(wall_time: float) -> bytes:
    """Return the first record of every event file."""
    return record(double_field(1, wall_time) + text_field(3, "brain.Event:2"))


def scalar_event(tag: str, value: float, *, step: int, wall_time: float) -> bytes:
    """Return the record of one number.

    Args:
        tag: name of the curve.
        value: the number, kept with 32 bits.
        step: of the training.
        wall_time: seconds since 1970.
    """
    return _event(text_field(1, tag) + float_field(2, value), step=step, wall_time=wall_time)


def image_event(tag: str, png: bytes, *, width: int, height: int, wall_time: float) -> bytes:
    """Return the record of a picture."""
    image = integer_field(1, height) + integer_field(2, width) + integer_field(3, _RGB) + bytes_field(4, png)
    return _event(text_field(1, tag) + bytes_field(4, image), step=0, wall_time=wall_time)


def text_event(tag: str, markdown: str, *, wall_time: float) -> bytes:
    """Return the record of a text in Markdown."""
    tensor = integer_field(1, _TEXT_TYPE) + bytes_field(2, b"") + text_field(8, markdown)
    value = text_field(1, tag) + bytes_field(8, tensor) + bytes_field(9, _metadata("text", b""))
    return _event(value, step=0, wall_time=wall_time)


def session_start_event(values: Mapping[str, HyperParameter], *, name: str, wall_time: float) -> bytes:
    """Return the record of the hyperparameters of a run.

    Args:
        values: name -> value.
        name: of the run.
        wall_time: when it began, seconds since 1970.
    """
    entries = (text_field(1, key) + bytes_field(2, _value(value)) for key, value in values.items())
    start = b"".join(bytes_field(1, entry) for entry in entries) + text_field(4, name) + double_field(5, wall_time)
    return _session_event("_hparams_/session_start_info", bytes_field(3, start), wall_time=wall_time)


def session_end_event(*, is_success: bool, wall_time: float) -> bytes:
    """Return the record of the end of a run."""
    end = integer_field(1, _SUCCESS if is_success else _FAILURE) + double_field(2, wall_time)
    return _session_event("_hparams_/session_end_info", bytes_field(4, end), wall_time=wall_time)


def _session_event(tag: str, content: bytes, *, wall_time: float) -> bytes:
    value = text_field(1, tag) + bytes_field(8, _NOTHING) + bytes_field(9, _metadata("hparams", content))
    return _event(value, step=0, wall_time=wall_time)


def _metadata(plugin: str, content: bytes) -> bytes:
    return bytes_field(1, text_field(1, plugin) + bytes_field(2, content)) + integer_field(4, _TENSOR_CLASS)


def _value(value: HyperParameter) -> bytes:
    """Return a ``google.protobuf.Value``."""
    if isinstance(value, bool):
        return integer_field(4, value)
    if isinstance(value, str):
        return text_field(3, value)
    return double_field(2, value)


def _event(value: bytes, *, step: int, wall_time: float) -> bytes:
    summary = bytes_field(1, value)
    return record(double_field(1, wall_time) + integer_field(2, step) + bytes_field(5, summary))
