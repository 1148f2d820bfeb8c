"""A quantized network and the runtime that executes it without TensorFlow: scores, and the cost of the graph.

Sizes come from the file, multiplications and memory from its graph; both are the same on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mlops_core import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCost:
    """Needs of a graph on a microcontroller.

    Attributes:
        flash_bytes: size of the file: weights, graph and names.
        weights_bytes: size of the constants alone.
        activations_bytes: an estimate: the largest sum of tensors that are alive at once, none sharing memory.
        multiplications: multiply-accumulates of the convolutions and dense layers for one patch.
    """

    flash_bytes: int
    weights_bytes: int
    activations_bytes: int
    multiplications: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Mapping of a tensor's integers to real numbers: ``scale * (number - zero_point)``; scale 0 for real numbers."""

    dtype: np.dtype[Any]
    scale: float
    zero_point: int


class LiteRtModel:
    """A loaded ``.tflite`` file; input and output may be int8, uint8 or float."""

    def __init__(self, path: Path) -> None:
        """Load the file.

        Raises:
            ConfigError: the file is damaged, or does not have one input and one output.
        """
        from ai_edge_litert.interpreter import Interpreter

        self._path = path
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as error:
            raise ConfigError(f"{path} is not a readable .tflite file: {' '.join(str(error).split())}") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ConfigError(f"{path.name} has {len(inputs)} inputs and {len(outputs)} outputs; expected one of each")
        self._input, self._output = inputs[0], outputs[0]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(int(size) for size in self._input["shape"][1:])

    @property
    def classes(self) -> int:
        """Number of scores."""
        return int(self._output["shape"][-1])

    @property
    def input_quantity(self) -> Quantity:
        """Number type and scale of the input."""
        return _quantity(self._input)

    def scores(self, patches: Floats) -> Floats:
        """Return the scores of `patches` (patches, n_mels, frames) as real numbers, shape (patches, classes).

        Raises:
            ConfigError: the model takes other patches, or is damaged.
        """
        source, target = self.input_quantity, _quantity(self._output)
        values = np.empty((len(patches), self.classes), dtype=np.float32)
        for index, patch in enumerate(patches):
            values[index] = _real(self._run(quantized(patch.reshape(1, *self.input_shape), source)), target)
        return values

    def _run(self, patch: NDArray[Any]) -> NDArray[Any]:
        try:
            self._interpreter.set_tensor(self._input["index"], patch)
            self._interpreter.invoke()
            scores: NDArray[Any] = self._interpreter.get_tensor(self._output["index"])[0]
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f"{self._path} cannot be run: {' '.join(str(error).split())[:200]}") from error
        return scores

    def clipping_rate(self, patches: Floats) -> float:
        """Return the share of input values outside the range of the input's type; 0 for a float input."""
        quantity = self.input_quantity
        if not quantity.scale:
            return 0.0
        limits = np.iinfo(quantity.dtype)
        numbers = np.rint(patches / quantity.scale) + quantity.zero_point
        return float(np.mean((numbers < limits.min) | (numbers > limits.max)))

    def cost(self) -> GraphCost:
        """Return the cost of the graph."""
        nodes = self._interpreter._get_ops_details()  # noqa: SLF001  the runtime has no public view of its graph
        operations = [node for node in nodes if node["op_name"] != "DELEGATE"]  # they duplicate other operations
        tensors = {item["index"]: item for item in self._interpreter.get_tensor_details()}
        made = {int(index) for item in operations for index in item["outputs"]} | {int(self._input["index"])}
        constants = {
            int(index) for item in operations for index in item["inputs"] if index >= 0 and int(index) not in made
        }
        return GraphCost(
            flash_bytes=self._path.stat().st_size,
            weights_bytes=sum(_size(tensors[index]) for index in constants if index in tensors),
            activations_bytes=_peak(operations, tensors, made, last=int(self._output["index"])),
            multiplications=sum(_multiplications(item, tensors) for item in operations),
        )


def quantized(values: Floats, quantity: Quantity) -> NDArray[Any]:
    """Return real numbers as a tensor holds them: rounded to the nearest, clipped to the range of the type."""
    if not quantity.scale:
        return np.asarray(values, dtype=quantity.dtype)
    limits = np.iinfo(quantity.dtype)
    numbers = np.rint(values / quantity.scale) + quantity.zero_point
    return np.asarray(np.clip(numbers, limits.min, limits.max), dtype=quantity.dtype)


def _real(numbers: NDArray[Any], quantity: Quantity) -> Floats:
    if not quantity.scale:
        return cast("Floats", numbers.astype(np.float32))
    return ((numbers.astype(np.float32) - quantity.zero_point) * quantity.scale).astype(np.float32)


def _quantity(details: dict[str, Any]) -> Quantity:
    scale, zero_point = details["quantization"]
    return Quantity(dtype=np.dtype(details["dtype"]), scale=float(scale), zero_point=int(zero_point))


def _size(tensor: dict[str, Any]) -> int:
    return int(math.prod(int(size) for size in tensor["shape"])) * int(np.dtype(tensor["dtype"]).itemsize)


def _peak(operations: list[dict[str, Any]], tensors: dict[int, dict[str, Any]], made: set[int], *, last: int) -> int:
    """Return the largest sum of activations that are alive while one operation runs, in bytes."""
    ends: dict[int, int] = {last: len(operations)}
    begins: dict[int, int] = {}
    for position, item in enumerate(operations):
        for index in map(int, item["inputs"]):
            if index in made:
                ends[index] = max(ends.get(index, 0), position)
        for index in map(int, item["outputs"]):
            begins[index] = position
    largest = 0
    for position in range(len(operations)):
        alive = [index for index in ends if begins.get(index, 0) <= position <= ends[index] and index in tensors]
        largest = max(largest, sum(_size(tensors[index]) for index in alive))
    return largest


def _multiplications(item: dict[str, Any], tensors: dict[int, dict[str, Any]]) -> int:
    if item["op_name"] not in _CONVOLUTIONS:
        return 0
    weights = tensors[int(item["inputs"][1])]["shape"]
    output = tensors[int(item["outputs"][0])]["shape"]
    if item["op_name"] == "FULLY_CONNECTED":
        return int(math.prod(map(int, weights)))
    if item["op_name"] == "DEPTHWISE_CONV_2D":
        return int(math.prod(map(int, output[1:]))) * int(weights[1]) * int(weights[2])
    return int(math.prod(map(int, output[1:]))) * int(math.prod(map(int, weights[1:])))
