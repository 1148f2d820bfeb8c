"""The steps of PROBE. Each reports what it sees to the kit before its work, and what it wrote after it."""

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlops_core import MlopsError, Prediction, SplitRow, StepContext, row_digest, write_predictions, write_split
from mlops_probe.config import Evaluation, Preparation, Training, WitnessSection

SAMPLES = 24
CLASSES = ("high", "low")
SECTIONS = {"preparation": Preparation, "training": Training, "evaluation": Evaluation}
INPUTS = ("numbers", "table", "left", "right", "model")


def generate(folder: Path, *, seed: int, progress: Callable[[str, int, int], None]) -> None:
    """Write the data set: one number per file."""
    for number in range(SAMPLES):
        value = {"value": (number * 7 + seed) % SAMPLES}
        (folder / f"number-{number:02}.json").write_text(json.dumps(value), encoding="utf-8")
    progress("number", SAMPLES, SAMPLES)


@contextlib.contextmanager
def _watched(context: StepContext, step: str, *outputs: str) -> Iterator[None]:
    """Report to the kit, do what it answers, and report what was written."""
    witness = context.section("witness", WitnessSection)
    print(f"probe {step} began with shard {context.shard.index}", flush=True)  # noqa: T201  the kit looks for it
    context.log.info("probe %s logs", step)
    with socket.create_connection(("127.0.0.1", witness.port)) as channel, channel.makefile("rw") as stream:
        _send(stream, {"scenario": witness.scenario, "step": step, **_facts(context)})
        answer = stream.readline().strip()
        if answer == "nothing":
            _send(stream, {"outputs": {}})
            return
        _obey(answer)
        yield
        context.progress("probe", 1, 1)
        _send(stream, {"outputs": {name: _tree(context.output(name)) for name in outputs}})


def _send(stream: Any, message: dict[str, Any]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def _facts(context: StepContext) -> dict[str, Any]:
    inputs = {name: folder for name in INPUTS if (folder := _attempt(context.input, name)) is not None}
    sections = {name: one for name, model in SECTIONS.items() if (one := _attempt(context.section, name, model))}
    return {
        "pid": os.getpid(),
        "shard": context.shard.index,
        "shards": context.shard.count,
        "seed": context.seed,
        "parameters": dict(context.parameters),
        "sections": {name: section.model_dump(mode="json") for name, section in sections.items()},
        "inputs": {name: _tree(folder) for name, folder in inputs.items()},
    }


def _attempt(function: Callable[..., Any], *arguments: object) -> Any:
    try:
        return function(*arguments)
    except MlopsError:
        return None


def _tree(folder: Path) -> dict[str, str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _obey(answer: str) -> None:
    match answer:
        case "raise":
            raise RuntimeError("the probe was asked to fail")
        case "exit":
            os._exit(0)
        case "allocate":
            block = bytearray(512 << 20)
            block[::4096] = b"x" * len(block[::4096])
            raise RuntimeError("the probe could allocate 512 MiB")


def prepare(context: StepContext) -> None:
    """Scale the numbers of this shard."""
    with _watched(context, "prepare", "table"):
        scale = context.section("preparation", Preparation).scale
        for path in sorted(context.input("numbers").glob("number-*.json"))[context.shard.index :: context.shard.count]:
            value = json.loads(path.read_text(encoding="utf-8"))["value"] * scale
            (context.output("table") / path.name).write_text(json.dumps(value), encoding="utf-8")
        if context.shard.index == 0:
            names = sorted(path.stem for path in context.input("numbers").glob("number-*.json"))
            write_split(context.output("table"), _manifest(names))


def left(context: StepContext) -> None:
    """Count the numbers."""
    with _watched(context, "left", "mark"):
        (context.output("mark") / "count.txt").write_text(str(len(_numbers(context))), encoding="utf-8")


def right(context: StepContext) -> None:
    """Add the numbers."""
    with _watched(context, "right", "mark"):
        (context.output("mark") / "sum.txt").write_text(str(sum(_numbers(context).values())), encoding="utf-8")


def train(context: StepContext) -> None:
    """Write a model that holds everything that a training may depend on."""
    with _watched(context, "train", "model"):
        model = {
            "seed": context.seed,
            "factor": context.parameters["factor"],
            "level": context.section("training", Training).level,
            "count": (context.input("left") / "count.txt").read_text(encoding="utf-8"),
            "sum": (context.input("right") / "sum.txt").read_text(encoding="utf-8"),
        }
        (context.output("model") / "model.json").write_text(json.dumps(model), encoding="utf-8")


def evaluate(context: StepContext) -> None:
    """Write predictions of which three quarters are right."""
    with _watched(context, "evaluate", "predictions"):
        fault = context.section("evaluation", Evaluation).fault
        rows = []
        for number, name in enumerate(sorted(_numbers(context))):
            is_right = number % 4 != 0
            group = fault if fault != "none" and number == 0 else name
            label = number % 2
            scores = (float(is_right == (label == 0)), float(is_right == (label == 1)))
            rows.append(Prediction(sample=name, group=group, label=CLASSES[label], scores=scores))
        write_predictions(context.output("predictions"), CLASSES, rows)


def _manifest(names: Sequence[str]) -> Iterator[SplitRow]:
    """Yield one training sample per class, which no file holds, and all numbers as test samples."""
    for label in CLASSES:
        digest = row_digest([label])
        yield SplitRow(sample=f"example {label}", group=f"example {label}", label=label, part="train", digest=digest)
    for number, name in enumerate(names):
        yield SplitRow(sample=name, group=name, label=CLASSES[number % 2], part="test", digest=row_digest([name]))


def _numbers(context: StepContext) -> dict[str, int]:
    paths = sorted(context.input("table").glob("*.json"))
    return {path.stem: int(json.loads(path.read_text(encoding="utf-8"))) for path in paths}
