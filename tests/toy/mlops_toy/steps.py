import hashlib
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

from mlops_core import (
    HistoryRow,
    Prediction,
    SplitRow,
    row_digest,
    write_history,
    write_predictions,
    write_split,
)
from mlops_toy.helper import FACTOR
from mlops_toy.plugin import Features, Training


def generate(folder, *, seed, progress):
    words = [f"{'x' * (n % 12 + 1)},{'long' if n % 12 + 1 > 6 else 'short'}" for n in range(60 + seed)]
    (folder / "words.csv").write_text("\n".join(words) + "\n")
    progress("word", len(words), len(words))


def preprocess(context):
    context.section("features", Features)
    lines = (context.input("dataset") / "words.csv").read_text().split()
    for number in range(context.shard.index, len(lines), context.shard.count):
        word, label = lines[number].split(",")
        (context.output("features") / f"{number:03d}.txt").write_text(f"{len(word)} {label}")
        context.progress("word", number + 1, len(lines))


def train(context):
    settings = context.section("training", Training)
    context.log.info("behaviour %s", settings.behaviour)
    {
        "raise": lambda: 1 / 0,
        "exit": lambda: sys.exit(0),
        "print": lambda: [sys.stdout.write("y" * 1_000_000) for _ in range(100)],
        "sleep": lambda: subprocess.run(_sleeping(60, context), check=False),
        "fail_once": lambda: _fail_once(context),
        "undeclared": lambda: context.input("dataset"),
        "daemon": lambda: _start_daemon(context),
        "memory": lambda: bytearray(b"x" * 2**30),
        "write_outside": lambda: (context.input("features").parent / "outside").write_text("x"),
        "delete_inputs": lambda: shutil.rmtree(context.input("features")),
        "history": lambda: _write_history(context.output("model")),
        "random": lambda: (context.output("model") / "noise").write_text(str(uuid.uuid4())),
        "link": lambda: (context.output("model") / "more").symlink_to(context.input("features")),
        "link_output": lambda: _replace_by_link(context.output("model"), context.input("features")),
        "pipe": lambda: os.mkfifo(context.output("model") / "more"),
        "pipe_as_progress": lambda: os.mkfifo(context.scratch.parent / "progress.jsonl"),
        "warn": lambda: [context.log.warning("%d of 60 words are odd:\na b", 2) for _ in range(3)],
        "leak": lambda: subprocess.Popen(_sleeping(45, context)),
    }.get(settings.behaviour, lambda: None)()
    if settings.behaviour not in ("nothing", "link_output"):
        if any(context.input("features").iterdir()):
            write_split(context.output("model"), _manifest(context.input("features")))
        (context.output("model") / "model.txt").write_text(str(6.0 * FACTOR + settings.bias))


def _write_history(folder):
    rows = [HistoryRow(step=epoch, values={"loss": 1 / epoch, "validation_loss": 2 / epoch}) for epoch in (1, 2, 3)]
    write_history(folder, rows, step_name="epoch")


def _manifest(features):
    """Yield the two words from which the rule was made, which are in no data set, and the words to test."""
    for label in ("long", "short"):
        yield _row(f"example {label}", "example", label, part="train", content=f"example {label}")
    for path in sorted(features.glob("*.txt")):
        length, label = path.read_text().split()
        yield _row(path.name, length, label, part="test", content=length)


def _row(sample, group, label, *, part, content):
    return SplitRow(sample=sample, group=group, label=label, part=part, digest=row_digest([content]))


def _replace_by_link(folder, target):
    folder.rmdir()
    folder.symlink_to(target)


def _sleeping(seconds, context):
    """Return a command that names the place of its step, by which a test tells it from those of other tests."""
    return [sys.executable, "-c", f"import time; time.sleep({seconds})", str(context.scratch)]


def _start_daemon(context):
    """Start a process as a daemon starts itself: its parent ends, and its session is new."""
    code = "import os, sys, time\nif os.fork(): sys.exit()\nos.setsid()\nif os.fork(): sys.exit()\ntime.sleep(46)"
    subprocess.run([sys.executable, "-c", code, str(context.scratch)], check=True)


def _fail_once(context):
    # A step may write to its outputs only, so nothing can be remembered between attempts but in shared memory.
    mark = Path("/dev/shm") / f"toy-{hashlib.sha256(str(context.input('features')).encode()).hexdigest()}"
    if not mark.exists():
        mark.touch()
        raise RuntimeError("the first attempt fails")
    mark.unlink()


def evaluate(context):
    limit = float((context.input("model") / "model.txt").read_text())
    rows = []
    for path in sorted(context.input("features").iterdir())[context.shard.index :: context.shard.count]:
        length, label = path.read_text().split()
        is_long = float(int(length) > limit)
        rows.append(Prediction(sample=path.name, group=length, label=label, scores=(is_long, 1 - is_long)))
    write_predictions(context.output("predictions"), ("long", "short"), rows)
