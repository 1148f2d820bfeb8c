"""Step ``classify``: classes of files without labels, predicted by the model of the run."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_aed.config import Classify
from mlops_aed.data.clip_files import AUDIO_SUFFIXES, list_files, require_text
from mlops_aed.predictor import AedPredictor
from mlops_core import DatasetError, normalise_path

if TYPE_CHECKING:
    from mlops_core import StepContext

TABLE_FILE = "classes.csv"


def classify(context: StepContext) -> None:
    """Write ``classes.csv``: each file with its class, the score of that class, and the scores of all classes.

    Raises:
        DatasetError: the folder does not exist or holds no audio, or a file cannot be decoded or has a name that is
            not text.
    """
    folder = Path(normalise_path(str(context.section("classify", Classify).path))).expanduser()
    names = list_files(folder).audio if folder.is_dir() else ()
    require_text(names, folder)
    files = [folder / name for name in names]
    if not files:
        what = "holds no audio files" if folder.is_dir() else "is not a folder"
        raise DatasetError(
            f"classify.path: {folder} {what}; expected a folder with {', '.join(sorted(AUDIO_SUFFIXES))}"
        )
    predictor = AedPredictor(context.input("model"))
    path = context.output("classes") / TABLE_FILE
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "class", "score", *predictor.classes))
        for number, answer in enumerate(predictor.predict(files), 1):
            score, name = max(zip(answer.scores, predictor.classes, strict=True))
            file = Path(answer.path).relative_to(folder).as_posix()
            writer.writerow((file, name, f"{score:.6f}", *(f"{value:.6f}" for value in answer.scores)))
            context.log.info("%s: %s (%.3f)", file, name, score)
            context.progress("file", number, len(files))
