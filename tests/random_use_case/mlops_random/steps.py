import hashlib
import json
import random

from mlops_core import Prediction, SplitRow, row_digest, write_predictions, write_split
from mlops_random.plugin import NUMBERS, Shape

VALUES = (*map(repr, NUMBERS), "nan", "inf", "-inf", "missing", "-0.5", "94.0")


def generate(folder, *, seed, progress):
    for letter in "abcd":
        (folder / f"{letter}.txt").write_text(f"{letter}{seed}")


def mix(context):
    """Write texts that depend on all inputs of the step to each output, distributed over the shards."""
    step = context._request.step
    if "shape" in step.config and context.section("shape", Shape).fails and step.name == "train":
        raise RuntimeError("drawn to fail")
    content = {
        "step": step.name,
        "seed": context.seed,
        "parameters": context.parameters,
        "inputs": {name: tree(context.input(name)) for name in step.inputs},
        "shape": list(context.section("shape", Shape).weights.items()) if "shape" in step.config else None,
    }
    for output in step.outputs:
        for number in range(context.shard.index, 3, context.shard.count):
            text = json.dumps({**content, "output": output, "number": number}, sort_keys=True)
            place = context.output(output) / f"part-{number}" / "digest.txt"
            place.parent.mkdir()
            place.write_text(hashlib.sha256(text.encode()).hexdigest())
    if step.name == "train" and context.shard.index == 0:
        _write_manifest(context)


def join(context):
    for output in context._request.step.outputs:
        lines = sorted(path.read_text() for part in context.parts(output) for path in part.rglob("digest.txt"))
        (context.output(output) / "all.txt").write_text("\n".join(lines))
    if context._request.step.name == "train":
        _write_manifest(context)


def _write_manifest(context):
    """Write two training samples, and the test samples with the values that the evaluation is going to draw."""
    rows = [
        *((f"train {label}", label, "train") for label in "ab"),
        *((s, _label(s), "test") for s in _values(context)),
    ]
    write_split(
        context.output("model"),
        [SplitRow(sample=s, group=s, label=label, part=part, digest=row_digest([s])) for s, label, part in rows],
    )


def _values(context):
    draw = random.Random(f"values {context.section('shape', Shape).seed}")
    return [f"m{number}={draw.choice(VALUES)}" for number in range(3)]


def _label(sample):
    return "b" if "m1" in sample else "a"


def evaluate(context):
    values = _values(context)
    content = hashlib.sha256(
        json.dumps([tree(context.input(n)) for n in sorted(context._request.step.inputs)]).encode()
    )
    rows = [
        Prediction(sample=sample, group=content.hexdigest(), label=_label(sample), scores=(1.0, 0.0))
        for sample in values[context.shard.index :: context.shard.count]
    ]
    write_predictions(context.output("predictions"), ("a", "b"), rows)


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.txt"))}
