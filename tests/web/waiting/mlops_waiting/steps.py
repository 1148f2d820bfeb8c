import time
from pathlib import Path

from mlops_core import HistoryRow, Prediction, SplitRow, row_digest, write_history, write_predictions, write_split
from mlops_waiting.plugin import Training

CLASSES = ("even", "odd")
EPOCHS = 10_000


def generate(folder, *, seed, progress):
    (folder / "numbers.txt").write_text("\n".join(map(str, range(20))))


def train(context):
    until = context.section("training", Training).until
    write_history(context.output("model"), _rows(context, until), step_name="epoch")
    write_split(context.output("model"), map(_row, ("train", "train", "test", "test"), (100, 101, 0, 1)))


def _rows(context, until):
    for epoch in range(1, EPOCHS):
        context.log.info("epoch %d of <b>many</b>", epoch)
        context.progress("epoch", epoch, EPOCHS)
        yield HistoryRow(step=epoch, values={"loss": 1 / epoch})
        if not until or Path(until).exists():
            return
        time.sleep(0.05)


def _row(part, number):
    label = CLASSES[number % 2]
    return SplitRow(sample=f"{number}", group=f"{number}", label=label, part=part, digest=row_digest([str(number)]))


def evaluate(context):
    rows = [
        Prediction(sample=f"{number}", group=f"{number}", label=CLASSES[number], scores=(1.0 - number, float(number)))
        for number in range(2)
    ]
    write_predictions(context.output("predictions"), CLASSES, rows)
