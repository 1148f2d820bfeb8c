import json
import random

from mlops_core import Prediction, SampleDescription, file_digest, write_descriptions, write_predictions
from mlops_specimen.config import Features, Training
from mlops_specimen.words import CLASSES, read_length, scores_of


def read_rows(path):
    return [line.split(",") for line in path.read_text(encoding="utf-8").split()]


def split(context):
    rows = read_rows(context.input("dataset") / "labels.csv")
    draw = random.Random(context.seed)
    lines = ["part,label,group,sample,digest\n"]
    for label in CLASSES:
        groups = sorted({row[2] for row in rows if row[1] == label})
        draw.shuffle(groups)
        test = set(groups[:6])
        for name, found, group in rows:
            if found == label:
                digest = file_digest(context.input("dataset") / "words" / f"{name}.txt")
                lines.append(f"{'test' if group in test else 'train'},{label},{group},{name},{digest}\n")
    (context.output("split") / "split.csv").write_text("".join(lines), encoding="utf-8")


def preprocess(context):
    scale = context.section("features", Features).scale
    rows = read_rows(context.input("split") / "split.csv")[1:]
    for number in range(context.shard.index, len(rows), context.shard.count):
        part, label, group, name, _ = rows[number]
        length = read_length(context.input("dataset") / "words" / f"{name}.txt")
        row = {"part": part, "label": label, "group": group, "name": name, "value": length * scale}
        (context.output("features") / f"{name}.json").write_text(json.dumps(row), encoding="utf-8")
        context.progress("word", number + 1, len(rows))


def read_features(folder, part):
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [row for row in rows if row["part"] == part]


def train(context):
    rows = read_features(context.input("features"), "train")
    margin = context.section("training", Training).margin
    scale = context.section("features", Features).scale
    limit = max(row["value"] for row in rows if row["label"] == "short") + margin
    model = {"classes": CLASSES, "limit": limit, "scale": scale}
    (context.output("model") / "model.json").write_text(json.dumps(model), encoding="utf-8")


def evaluate(context):
    model = json.loads((context.input("model") / "model.json").read_text(encoding="utf-8"))
    tested = {row[3] for row in read_rows(context.input("split") / "split.csv")}
    context.log.info("at least %s is asked for", context.parameters["q_accuracy"])
    rows = [
        Prediction(
            sample=row["name"],
            group=row["group"],
            label=row["label"],
            scores=scores_of(row["value"] / model["scale"], model),
        )
        for row in read_features(context.input("features"), "test")
        if row["name"] in tested
    ]
    write_predictions(context.output("predictions"), CLASSES, rows)
    described = (
        SampleDescription(sample=row["name"], vector=(row["value"] / model["scale"],))
        for row in read_features(context.input("features"), "test")
        if row["name"] in tested
    )
    write_descriptions(context.output("predictions"), ["length"], described)
    right = sum(row.scores[CLASSES.index(row.label)] for row in rows)
    context.log.info("accuracy on test set: %.4f", right / max(1, len(rows)))
