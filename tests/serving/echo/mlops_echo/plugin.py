"""The use case ECHO: its answers depend on the content of a file alone, which can also make it slow, fail or end."""

import hashlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from mlops_toy.plugin import (  # noqa: F401  everything but the model is that of the toy
    mlops_compute_metrics,
    mlops_get_config_model,
    mlops_get_datasets,
    mlops_get_gate,
    mlops_get_metrics,
    mlops_get_parameters,
    mlops_get_steps,
)

from mlops_core import ContentType, DatasetError, Detection, Interval, Perturbation, SampleScores, hookimpl


@hookimpl
def mlops_get_config_file(context):
    import mlops_toy

    return Path(mlops_toy.__file__).parent / "user_config.yaml"


@hookimpl
def mlops_get_content_types(context):
    return [
        ContentType(media_type="application/octet-stream", suffix=".bin"),
        ContentType(media_type="text/csv", suffix=".csv", has_rows=True),
    ]


def shift(source, target, strength):
    rows = [row.split(",") for row in source.read_text().splitlines()]
    target.write_text("".join(f"{float(first) + strength},{other}\n" for first, other in rows))


def lose(source, target, strength):
    target.write_text("".join(source.read_text().splitlines(keepends=True)[int(strength) :]))


def wait_for(path):
    """Wait until a file exists."""
    while not path.exists():
        time.sleep(0.01)


class EchoPredictor:
    def __init__(self, folder):
        self._settings = (folder / "model.txt").read_text().split()
        if "unloadable" in self._settings:
            raise DatasetError(f"{folder}: the model is damaged; make it again")
        if "dying" in self._settings:
            os.kill(os.getpid(), signal.SIGKILL)
        if "orphaning" in self._settings:  # a child of the worker holds its socket open
            if os.fork():
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(20)
            os._exit(0)
        stuck = folder / "stuck"
        if stuck.exists() and (count := int(stuck.read_text())):
            stuck.write_text(str(count - 1))
            time.sleep(600)
        if "held" in self._settings:
            wait_for(folder / "released")
        self._is_warm = False

    @property
    def classes(self):
        return () if "regression" in self._settings else ("a", "b, c", 'd"e')

    @property
    def features(self):
        return ("first", "second") if "describing" in self._settings else ()

    def describe(self, paths):
        """Describe each row by the two numbers that it holds."""
        for path in paths:
            rows = path.read_text().splitlines()
            for row, answer in zip(rows, self.predict([path]), strict=True):
                yield replace(answer, description=tuple(map(float, row.split(","))))

    @property
    def perturbations(self):
        """Declare shifts of the first number; one more that loses a row."""
        if "perturbing" not in self._settings:
            return ()
        more = (Perturbation(name="loss", strengths=(1,), write=lose),) if "losing" in self._settings else ()
        return (Perturbation(name="shift", strengths=(0.5, 3), unit="V", write=shift), *more)

    def warm_up(self):
        time.sleep(0.3 if "heavy" in self._settings else 0)
        self._is_warm = True

    def predict(self, paths):
        for path in paths:
            content = path.read_bytes()
            if content == b"warm?":
                yield SampleScores(path=str(path), scores=(float(self._is_warm), 0.0, 0.0))
                continue
            self._obey(content, path)
            for number, row in enumerate(content.splitlines() if path.suffix == ".csv" else [content], start=1):
                yield self._answer(path, row, sample=f"row {number}" if path.suffix == ".csv" else "")

    def _obey(self, content, path):
        if content.startswith(b"sleep "):
            time.sleep(float(content.split()[1]))
        if content.startswith(b"wait for "):
            released = Path(os.fsdecode(content[9:]))
            released.with_name(f"{released.name}.begun").touch()
            wait_for(released)
        if content.startswith(b"end"):
            os.kill(os.getpid(), signal.SIGKILL)
        if content.startswith(b"hang up"):
            os.closerange(3, 256)
            time.sleep(600)
        if content.startswith(b"unusable"):
            raise DatasetError(f"{path} cannot be decoded: {path.name} has no samples")
        if content.startswith(b"defect"):
            raise ValueError("secret details of the model")
        if content.startswith(b"print"):
            print("a plugin that prints")  # noqa: T201  on purpose

    def _answer(self, path, content, *, sample):
        digest = hashlib.sha256(content).digest()
        scores = [int.from_bytes(digest[8 * n : 8 * n + 7]) / 2**56 for n in range(3)]
        if "finding" in self._settings and not content.startswith(b"whole"):  # an object for each letter o
            places = [float(place) for place, letter in enumerate(content) if letter == ord("o")]
            boxes = tuple((place, 0.0, place + 1, 0.5) for place in places)
            found = tuple(sorted(scores * len(boxes), reverse=True)[: len(boxes)])
            return Detection(path=str(path), sample=sample, scores=found, labels=("b, c",) * len(boxes), boxes=boxes)
        if self.classes:
            return SampleScores(path=str(path), sample=sample, scores=tuple(scores))
        low, value, high = sorted(scores)
        interval = Interval(low=low, high=high, level=0.9)
        return SampleScores(path=str(path), sample=sample, scores=(value,), interval=interval)


@hookimpl
def mlops_load_predictor(model, context):
    return EchoPredictor(model)
