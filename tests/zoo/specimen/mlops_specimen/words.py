import json
from dataclasses import replace

from mlops_core import ConfusionMatrix, DatasetError, MetricReport, SampleScores, proportion

CLASSES = ("long", "short")


def generate(folder, *, seed, progress):
    rows = []
    (folder / "words").mkdir()
    for number in range(48):
        group, label = f"g{number // 2:02d}", CLASSES[number // 2 % 2]
        length = (7 if label == "long" else 1) + (number + seed) % 5
        (folder / "words" / f"w{number:02d}.txt").write_text(chr(ord("é") + number) * length, encoding="utf-8")
        rows.append(f"w{number:02d},{label},{group}\n")
        progress("word", number + 1, 48)
    (folder / "labels.csv").write_text("".join(rows), encoding="utf-8")


def read_length(path):
    try:
        return len(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def scores_of(value, model):
    is_long = float(value * model["scale"] > model["limit"])
    return (is_long, 1 - is_long)


def compute(predictions):
    counts = {truth: dict.fromkeys(predictions.classes, 0) for truth in predictions.classes}
    for row in predictions.rows:
        best = max(range(len(row.scores)), key=lambda index: row.scores[index])
        counts[row.label][predictions.classes[best]] += 1
    right = sum(counts[name][name] for name in predictions.classes)
    matrix = ConfusionMatrix(classes=predictions.classes, counts=tuple(tuple(row.values()) for row in counts.values()))
    return MetricReport(
        values={"accuracy": proportion(right, len(predictions.rows))}, confusion_matrices={"sample": matrix}
    )


class WordPredictor:
    def __init__(self, folder):
        self._model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.classes = tuple(self._model["classes"])

    def predict(self, paths):
        for path in paths:
            yield SampleScores(path=str(path), scores=scores_of(read_length(path), self._model))

    features = ("length",)

    def describe(self, paths):
        for path in paths:
            for answer in self.predict([path]):
                yield replace(answer, description=(float(read_length(path)),))
