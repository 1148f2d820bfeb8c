from mlops_core import Prediction, SplitRow, read_split, row_digest, write_predictions, write_split
from mlops_weighed.plugin import Training


def generate(folder, *, seed, progress):
    rows = [f"parcel-{number:03d},sender-{number // 4},{(number * 37) % 100 / 10}" for number in range(240)]
    (folder / "parcels.csv").write_text("\n".join(rows) + "\n")


def split(context):
    rows = []
    for line in (context.input("dataset") / "parcels.csv").read_text().split():
        sample, sender, weight = line.split(",")
        part = {0: "test", 1: "validation"}.get(int(sender.partition("-")[2]) % 4, "train")
        label = "heavy" if float(weight) > 5 else "light"
        digest = row_digest(line.split(","))
        rows.append(
            SplitRow(sample=sample, group=sender, label=label, part=part, digest=digest, columns={"weight": weight})
        )
    write_split(context.output("split"), rows)


def train(context):
    (context.output("model") / "limit.txt").write_text(str(context.section("training", Training).limit))
    (context.output("model") / "notes").mkdir()
    (context.output("model") / "notes" / "origin.txt").write_text("parcels")


def evaluate(context):
    limit = float((context.input("model") / "limit.txt").read_text())
    rows = []
    for row in read_split(context.input("split"), "test"):
        score = 1 / (1 + 2 ** (limit - float(row.columns["weight"])))
        rows.append(Prediction(sample=row.sample, group=row.group, label=row.label, scores=(score, 1 - score)))
    write_predictions(context.output("predictions"), ["heavy", "light"], rows)
