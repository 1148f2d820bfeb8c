"""A model in the folder that ``mlops models export`` wrote, for other programs: files in, JSON types out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlops_core.errors import StoreError
from mlops_core.serving.models import EXPORTED, find_model
from mlops_core.serving.workers.answers import prediction
from mlops_core.use_cases.manager import load_use_case

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mlops_core.predictors import ContentType


class ExportedPredictor:
    """A model that was exported, loaded by the installed plugin of its use case.

    Example:
        >>> from mlops_core.api import export_model
        >>> record = run("TOY", workspace="workspace")
        >>> version = export_model("TOY", "best", "exported", workspace="workspace")
        >>> ExportedPredictor(Path("exported")).classes
        ('long', 'short')
    """

    def __init__(self, folder: Path) -> None:
        """Load the model in `folder`.

        Raises:
            StoreError: the folder was not written by ``mlops models export``.
            UsageError: the use case is not installed.
            PluginError: its plugin cannot be loaded.
        """
        try:
            name = str(json.loads((folder / EXPORTED).read_text(encoding="utf-8"))["use_case"])
        except (OSError, ValueError, KeyError, TypeError):
            raise StoreError(f"{folder} holds no {EXPORTED}; export the model with: mlops models export") from None
        model = find_model(name, f"{folder}/")
        use_case = load_use_case(name)
        self._predictor = use_case.load_predictor(model.folder)
        self.use_case = use_case.name
        self.content_types: tuple[ContentType, ...] = use_case.content_types()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores; empty for a regression."""
        return tuple(self._predictor.classes)

    def predict(self, paths: Iterable[Path]) -> list[dict[str, Any]]:
        """Return one object per sample, in order, with the keys of ``mlops predict --json`` except ``path``.

        Raises:
            DatasetError: a file cannot be used; the message names it.
        """
        classes = self.classes
        return [prediction(answer, classes) for answer in self._predictor.predict(paths)]
