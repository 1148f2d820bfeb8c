"""The loader of the flavor ``python_function``: a data frame in, the answers of ``mlops predict`` out.

The data frame has a column ``path`` with names of files, or a column ``content`` with the bytes of files (or their
text in base64), or, for a use case that reads tables, one row per sample with the columns of its table.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core import DatasetError
from mlops_core.serving import ExportedPredictor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pandas import DataFrame


class PyfuncModel:
    """A model as ``mlflow.pyfunc`` calls it."""

    def __init__(self, folder: Path) -> None:
        """Load the exported model in `folder`."""
        self._predictor = ExportedPredictor(folder)

    def predict(self, model_input: DataFrame, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:  # noqa: ARG002  MLflow's signature
        """Return one object per sample, in the order of the rows, with the keys of ``mlops predict --json``.

        Raises:
            DatasetError: a file cannot be used, or the data frame has none of the expected columns.
        """
        columns = [str(name) for name in model_input.columns]
        if columns == ["path"]:
            return self._predictor.predict(Path(name) for name in model_input["path"])
        with tempfile.TemporaryDirectory(prefix="mlops-") as folder:
            if columns == ["content"]:
                suffix = self._predictor.content_types[0].suffix
                paths = [Path(folder) / f"{number:06}{suffix}" for number in range(len(model_input))]
                for path, content in zip(paths, model_input["content"], strict=True):
                    path.write_bytes(_bytes(content))
                return self._predictor.predict(paths)
            table = Path(folder) / "rows.csv"
            if not any(kind.has_rows and kind.suffix == ".csv" for kind in self._predictor.content_types):
                expected = "a column 'path' or a column 'content'"
                raise DatasetError(
                    f"{self._predictor.use_case} does not read tables: {', '.join(columns)}; expected {expected}"
                )
            model_input.to_csv(table, index=False)
            return self._predictor.predict([table])


def _bytes(content: object) -> bytes:
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    try:
        return base64.b64decode(str(content), validate=True)
    except binascii.Error as error:
        raise DatasetError(f"the column 'content' holds a text that is not base64: {error}") from error


def _load_pyfunc(path: str) -> PyfuncModel:
    """Return the model in a folder; MLflow calls this."""
    return PyfuncModel(Path(path))
