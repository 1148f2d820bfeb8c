"""The use case SCORES: that of the toy, with a step that writes tables and one that predicts them in a batch."""

import math
import os
import signal
import time
from pathlib import Path

from mlops_toy import plugin as toy
from mlops_toy.plugin import (  # noqa: F401  the hooks of the toy
    Config,
    mlops_compute_metrics,
    mlops_get_datasets,
    mlops_get_gate,
    mlops_get_metrics,
    mlops_get_parameters,
)

from mlops_core import (
    BatchPrediction,
    ContentType,
    DatasetError,
    Interval,
    SampleScores,
    Section,
    Step,
    batch_prediction_step,
    hookimpl,
)


class Scoring(Section):
    content: str = "1.5,2\n3,4\n\u00fc,7\n5,0.1\n"
    content_type: str = "text/csv"
    accept: str = "text/csv"
    split: str = "none"
    strategy: str = "single"
    assemble: str = "none"
    max_payload_mb: int = 6
    max_concurrent: int = 2
    timeout_s: int = 60
    retries: int = 0


class ScoresConfig(Config):
    scoring: Scoring = Scoring()


@hookimpl
def mlops_get_config_model(context):
    return ScoresConfig


@hookimpl
def mlops_get_config_file(context):
    import mlops_toy

    return Path(mlops_toy.__file__).parent / "user_config.yaml"


@hookimpl
def mlops_get_content_types(context):
    return [ContentType(media_type="text/csv", suffix=".csv", has_rows=True)]


@hookimpl
def mlops_get_steps(config, context):
    rows = Step(
        name="rows",
        run="mlops_scores.plugin:write_rows",
        inputs={"features": "preprocess.features"},
        outputs=("tables",),
        config=("scoring",),
    )
    values = config.scoring.model_dump()
    del values["content"]
    score = batch_prediction_step("score", model="train.model", data="rows.tables", batch=BatchPrediction(**values))
    return [*toy.mlops_get_steps(config, context), rows, score]


def write_rows(context):
    folder = context.output("tables")
    names = sorted(path.stem for path in context.input("features").iterdir())[:3]
    (folder / "below").mkdir()
    for name in names:
        (folder / f"{name}.csv").write_text(f"{name},1\n" * 3, encoding="utf-8")
    (folder / "below" / "content.csv").write_bytes(context.section("scoring", Scoring).content.encode())


class ScoresPredictor:
    classes = ()

    def __init__(self, folder):
        self._limit = float((folder / "model.txt").read_text())

    def predict(self, paths):
        for path in paths:
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                yield self._row(path, number, line)

    def _row(self, path, number, line):
        if line == "unusable":
            raise DatasetError(f"{path}, line {number}: no numbers")
        if line == "end":
            os.kill(os.getpid(), signal.SIGKILL)
        if line.startswith("wait for "):
            while not Path(line[9:]).exists():
                time.sleep(0.01)
        if line == "sleep":
            time.sleep(4)
        value = math.sin(sum(map(ord, line)) * self._limit) * math.pi
        interval = Interval(low=value - 1 / 3, high=value + 1 / 3, level=0.9)
        return SampleScores(path=str(path), sample=f"row {number}", scores=(value,), interval=interval)


@hookimpl
def mlops_load_predictor(model, context):
    return ScoresPredictor(model)
