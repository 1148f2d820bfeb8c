"""The use case WORDS. A model's file ``behaviour.txt`` says what is wrong with it."""

import hashlib
import os
import time
from pathlib import Path

from mlops_toy.plugin import (  # noqa: F401  everything else is that of the toy
    mlops_compute_metrics,
    mlops_get_config_model,
    mlops_get_gate,
    mlops_get_metrics,
    mlops_get_parameters,
)

from mlops_core import (
    DATASET,
    ContentType,
    Dataset,
    DatasetError,
    GeneratedSource,
    SampleScores,
    Step,
    StepKind,
    hookimpl,
)


@hookimpl
def mlops_get_config_file(context):
    import mlops_toy

    return Path(mlops_toy.__file__).parent / "user_config.yaml"


@hookimpl
def mlops_get_datasets(config, context):
    source = GeneratedSource(run="mlops_served_words.steps:generate")
    return [Dataset(name="words", title="words", licence="CC0-1.0", sources=(source,), required=("000.txt",))]


@hookimpl
def mlops_get_steps(config, context):
    return [
        Step(
            name="train",
            kind=StepKind.TRAINING,
            run="mlops_toy.steps:train",
            inputs={"features": "preprocess.features"},
            outputs=("model",),
            config=("training",),
        ),
        Step(
            name="preprocess",
            run="mlops_served_words.steps:preprocess",
            inputs={"dataset": DATASET},
            outputs=("features",),
        ),
        Step(
            name="evaluate",
            kind=StepKind.EVALUATION,
            run="mlops_toy.steps:evaluate",
            inputs={"features": "preprocess.features", "model": "train.model"},
            outputs=("predictions",),
        ),
    ]


@hookimpl
def mlops_get_content_types(context):
    return [ContentType(media_type="text/plain", suffix=".txt")]


class WordPredictor:
    classes = ("long", "short")

    def __init__(self, folder):
        self._limit = float((folder / "model.txt").read_text())
        behaviour = folder / "behaviour.txt"
        self._behaviour = behaviour.read_text() if behaviour.exists() else ""
        if self._behaviour == "unloadable":
            raise DatasetError(f"{folder.name[:4]}: the model is damaged; make it again")
        if self._behaviour == "never ready":
            time.sleep(600)

    def predict(self, paths):
        for path in paths:
            content = path.read_bytes()
            if not content.isascii() or b"\0" in content:
                raise DatasetError(f"{path}: no word")
            yield SampleScores(path=str(path), scores=self._scores(content))

    def _scores(self, content):
        if self._behaviour == "failing":
            raise ValueError("the model is broken")
        if self._behaviour == "dying":
            os._exit(9)
        if self._behaviour == "slow":
            time.sleep(0.3)
        if self._behaviour == "constant":
            return (0.5, 0.5)
        share = int.from_bytes(hashlib.sha256(content).digest()[:4]) / 2**34
        return (0.75 + share, 0.25 - share) if len(content) > self._limit else (0.25 - share, 0.75 + share)


@hookimpl
def mlops_load_predictor(model, context):
    return WordPredictor(model)
