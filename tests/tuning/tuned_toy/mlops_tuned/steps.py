import shutil
import time
from dataclasses import replace
from pathlib import Path

from mlops_core import Prediction, SplitRow, read_split, row_digest, write_predictions, write_split
from mlops_tuned.plugin import Training


def generate(folder, *, seed, progress):
    words = [f"{'x' * (n % 12 + 1)},{'long' if n % 12 + 1 > 6 else 'short'}" for n in range(120)]
    (folder / "words.csv").write_text("\n".join(words) + "\n")
    progress("word", len(words), len(words))


def split(context):
    lines = (context.input("dataset") / "words.csv").read_text().split()
    rows = []
    for number, line in enumerate(lines):
        word, label = line.split(",")
        part = ("train", "validation", "test")[number // 12 % 3]
        name = f"{number:03d}"
        digest = row_digest([name, word])
        rows.append(
            SplitRow(sample=name, group=name, label=label, part=part, digest=digest, columns={"length": str(len(word))})
        )
    write_split(context.output("words"), rows)


def _predict(context, folder, limit, part, fraction=1.0):
    rows = [row for row in read_split(context.input("words")) if row.part == part]
    rows = rows[: int(len(rows) * fraction)]
    write_predictions(
        folder,
        ("long", "short"),
        [
            Prediction(
                sample=row.sample,
                group=row.group,
                label=row.label,
                scores=(float(int(row.columns["length"]) > limit), float(int(row.columns["length"]) <= limit)),
            )
            for row in rows
        ],
    )


def train(context):
    settings = context.section("training", Training)
    if settings.behaviour == "fail" or (settings.behaviour == "fail_above" and settings.threshold > 6):
        raise RuntimeError(f"a threshold of {settings.threshold} cannot be trained")
    if settings.behaviour == "sleep":
        time.sleep(0.2 if settings.threshold == 3 else 30)
    while settings.behaviour == "hold" and settings.threshold != 3 and Path(settings.hold).exists():
        time.sleep(0.05)
    shutil.copyfile(context.input("words") / "split.csv", context.output("model") / "split.csv")
    if settings.behaviour == "relabel":
        rows = read_split(context.input("words"))
        write_split(
            context.output("model"), [replace(row, part="validation") if row.sample == "024" else row for row in rows]
        )
    (context.output("model") / "model.txt").write_text(str(settings.threshold))
    folder = context.output("validation")
    part = {"test_part": "test", "train_part": "train"}.get(settings.behaviour, "validation")
    _predict(context, folder, settings.threshold, part, 0.5 if settings.behaviour == "partial" else 1)
    if settings.behaviour == "nan":
        rows = [row for row in read_split(context.input("words")) if row.part == "validation"]
        predictions = [
            Prediction(sample=row.sample, group=row.group, label=row.label, scores=(0.25, 0.75)) for row in rows
        ]
        write_predictions(folder, ("long", "short"), predictions)


def evaluate(context):
    limit = float((context.input("model") / "model.txt").read_text())
    _predict(context, context.output("predictions"), limit, "test")
