import hashlib
import json
import random

from mlops_core import Prediction, write_predictions
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


def join(context):
    for output in context._request.step.outputs:
        lines = sorted(path.read_text() for part in context.parts(output) for path in part.rglob("digest.txt"))
        (context.output(output) / "all.txt").write_text("\n".join(lines))


def evaluate(context):
    draw = random.Random(f"values {context.section('shape', Shape).seed}")
    values = [f"m{number}={draw.choice(VALUES)}" for number in range(3)]
    content = hashlib.sha256(
        json.dumps([tree(context.input(n)) for n in sorted(context._request.step.inputs)]).encode()
    )
    rows = [
        Prediction(sample=sample, group=content.hexdigest(), label="b" if "m1" in sample else "a", scores=(1.0, 0.0))
        for sample in values[context.shard.index :: context.shard.count]
    ]
    write_predictions(context.output("predictions"), ("a", "b"), rows)


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.txt"))}
