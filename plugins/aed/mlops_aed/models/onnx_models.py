"""Models in the ONNX format, run with ONNX Runtime; needs the extra ``mlops-aed[onnx]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from mlops_core import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class OnnxModel:
    """A loaded ``.onnx`` file."""

    def __init__(self, path: Path) -> None:
        """Load the file.

        Raises:
            ConfigError: the file is damaged, does not have one input and one output, or ONNX Runtime is missing.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise ConfigError("a model in the ONNX format needs onnxruntime: pip install 'mlops-aed[onnx]'") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ConfigError(f"{path} is not a readable .onnx file: {' '.join(str(error).split())[:200]}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ConfigError(f"{path.name} has {len(inputs)} inputs and {len(outputs)} outputs; expected one of each")
        self._input = inputs[0]
        self._output = outputs[0]

    @property
    def input_name(self) -> str:
        """Name of the input."""
        return str(self._input.name)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(int(size) for size in self._input.shape[1:])

    @property
    def classes(self) -> int:
        """Number of scores."""
        return int(self._output.shape[-1])

    def scores(self, patches: Floats) -> Floats:
        """Return the scores of normalised `patches` (patches, n_mels, frames), shape (patches, classes)."""
        # One at a time: exported networks often have a fixed batch size of one.
        values = [
            self._session.run(None, {self._input.name: patch.reshape(1, *self.input_shape)})[0][0] for patch in patches
        ]
        return cast("Floats", np.asarray(values, dtype=np.float32))
