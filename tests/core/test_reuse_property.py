"""Change anything: the steps that depend on it run again, and only those; an independent model says which."""

import json
import os
import random
import shutil

import pytest

import mlops_core

SECTIONS = ("a", "b", "c", "d")
HELPERS = ("h0", "h1", "h2", "h3")
PLUGIN = """
import json
from pathlib import Path

from mlops_core import (
    DATASET, Comparison, Direction, Gate, Metric, MetricReport, Operator, Parameter, ParameterType, Section, Step,
    StepKind, Unit, UseCaseConfig, hookimpl, proportion,
)

SHAPE = json.loads((Path(__file__).parent / "shape.json").read_text())


class Data(Section):
    name: str = "own"
    path: str = ""


class Value(Section):
    value: int = 0


class Config(UseCaseConfig):
    dataset: Data = Data()
    a: Value = Value()
    b: Value = Value()
    c: Value = Value()
    d: Value = Value()


@hookimpl
def mlops_get_config_model(context):
    return Config


@hookimpl
def mlops_get_datasets(config, context):
    return []


@hookimpl
def mlops_get_parameters(config, context):
    return [Parameter(name=name, type=ParameterType.INTEGER, default=0) for name in ("p", "q")]


@hookimpl
def mlops_get_steps(config, context):
    return [
        Step(
            name=name,
            kind=StepKind.EVALUATION if name == "last" else StepKind.PROCESSING,
            run=f"{__package__}.{name}:run",
            inputs={f"i{n}": DATASET if other == "fetch" else f"{other}.out" for n, other in enumerate(step["needs"])},
            outputs=("predictions",) if name == "last" else ("out",),
            results=() if name == "last" else ("out",) if step["is_result"] else (),
            config=tuple(step["sections"]),
            parameters=tuple(step["parameters"]),
        )
        for name, step in SHAPE.items()
    ]


@hookimpl
def mlops_get_model(config, context):
    return "s0.out"


@hookimpl
def mlops_get_metrics(config, context):
    return [Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)]


@hookimpl
def mlops_compute_metrics(predictions, context):
    return MetricReport(values={"acc": proportion(1, 1)})


@hookimpl
def mlops_get_gate(config, context):
    return Gate(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold=0.5, message="acc <"))


@hookimpl
def mlops_load_predictor(model, context):
    raise NotImplementedError
"""
STEP = """
import hashlib
import json
{imports}
from {package}.plugin import Value

VALUE = 0


def run(context):
    from mlops_core import Prediction, write_predictions

    seen = hashlib.sha256()
    for name in {inputs}:
        for path in sorted(context.input(name).rglob("*")):
            seen.update(path.read_bytes() if path.is_file() else b"")
    facts = [VALUE, {helpers}, context.seed]
    facts += [context.section(name, Value).value for name in {sections}]
    facts += [context.parameters[name] for name in {parameters}]
    seen.update(json.dumps(facts).encode())
    if {is_last}:
        row = Prediction(sample=seen.hexdigest(), group="g", label="x", scores=(1.0, 0.0))
        write_predictions(context.output("predictions"), ("x", "y"), [row])
    else:
        (context.output("out") / "digest").write_text(seen.hexdigest())
"""


def random_shape(chance):
    """Return step -> what it reads, in an order in which each reads only from those before."""
    names = [f"s{index}" for index in range(chance.randint(2, 5))]
    shape = {}
    for index, name in enumerate([*names, "last"]):
        before = names[:index]
        needs = chance.sample(before, chance.randint(1, len(before))) if before else ["fetch"]
        shape[name] = {
            "needs": needs,
            "sections": chance.sample(SECTIONS, chance.randint(0, 2)),
            "parameters": chance.sample(["p", "q"], chance.randint(0, 1)),
            "helpers": chance.sample(HELPERS, chance.randint(0, 2)),
            "is_result": False,
        }
    read = {other for step in shape.values() for other in step["needs"]}
    for name in names:
        shape[name]["is_result"] = name not in read
    return shape


def write_package(folder, shape):
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "plugin.py").write_text(PLUGIN)
    (folder / "shape.json").write_text(json.dumps(shape))
    (folder / "user_config.yaml").write_text("dataset:\n  name: own\n")
    (folder / "README.md").write_text("read me\n")
    (folder / "unused.py").write_text("VALUE = 0\n")
    for helper in HELPERS:
        (folder / f"{helper}.py").write_text("VALUE = 0\n")
    for name, step in shape.items():
        text = STEP.format(
            package=folder.name,
            imports="\n".join(f"from {folder.name} import {helper}" for helper in step["helpers"]),
            helpers=", ".join(f"{helper}.VALUE" for helper in step["helpers"]) or "0",
            inputs=[f"i{index}" for index in range(len(step["needs"]))],
            sections=step["sections"],
            parameters=step["parameters"],
            is_last=name == "last",
        )
        (folder / f"{name}.py").write_text(text)


def with_followers(shape, direct):
    """The independent model: a step that reads from a step that runs again, runs again."""
    found = set(direct)
    for name, step in shape.items():
        if found & set(step["needs"]):
            found.add(name)
    return found


class Experiment:
    def __init__(self, tmp_path, package, shape):
        self.workspace = tmp_path / "workspace"
        self.package = package
        self.shape = shape
        self.data = tmp_path / "data"
        self.data.mkdir()
        (self.data / "file").write_text("0")
        self.overrides = {}
        self.parameters = {}
        self.seed = 0

    def run(self):
        record = mlops_core.run(
            "GENERATED",
            workspace=self.workspace,
            overrides=[
                f"dataset.path={self.data}",
                *(f"{name}.value={value}" for name, value in self.overrides.items()),
            ],
            parameters=self.parameters,
            seed=self.seed,
        )
        assert record.status == "accepted", record.error
        return {step.name for step in record.steps if step.status == "done"}

    def edit(self, file, text):
        path = self.package / file
        path.write_text(path.read_text().replace("VALUE = 0", "VALUE = 1") + text)

    def mutate(self, chance, kind):  # noqa: C901, PLR0911  one branch for each kind of change
        """Change one thing; return the steps that depend on it directly."""
        readers = lambda field, name: {step for step, facts in self.shape.items() if name in facts[field]}  # noqa: E731
        if kind == "code":
            step = chance.choice(list(self.shape))
            self.edit(f"{step}.py", "# edited\n")
            return {step}
        if kind == "helper":
            helper = chance.choice(HELPERS)
            self.edit(f"{helper}.py", "# edited\n")
            return readers("helpers", helper)
        if kind == "section":
            section = chance.choice(SECTIONS)
            self.overrides[section] = self.overrides.get(section, 0) + 1
            return readers("sections", section)
        if kind == "parameter":
            name = chance.choice("pq")
            self.parameters[name] = str(int(self.parameters.get(name, 0)) + 1)
            return readers("parameters", name)
        if kind == "seed":
            self.seed += 1
            return set(self.shape)
        if kind == "data":
            (self.data / "file").write_text(str(chance.random()))
            return readers("needs", "fetch")
        if kind == "readme":
            self.edit("README.md", "more\n")
            self.edit("unused.py", "# edited\n")
        if kind == "times":
            for path in [self.data / "file", *self.package.glob("*.py")]:
                os.utime(path, (1, 1))
        if kind == "place":
            moved = self.data.with_name(f"{self.data.name}-moved")
            shutil.move(self.data, moved)
            self.data = moved
        return set()


KINDS = ("code", "helper", "section", "parameter", "seed", "data", "readme", "times", "place", "nothing")


@pytest.mark.representatives(1)
@pytest.mark.parametrize("example", range(4))
def test_whatever_changes_the_right_steps_and_only_those_run_again(example, tmp_path, monkeypatch):
    chance = random.Random(example)
    package = tmp_path / "site" / f"generated_{example}_{os.getpid()}"
    package.parent.mkdir()
    shape = random_shape(chance)
    write_package(package, shape)
    metadata = package.parent / "generated-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: generated\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[mlops.usecases]\nGENERATED = {package.name}.plugin\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    experiment = Experiment(tmp_path, package, shape)
    assert experiment.run() == set(shape)
    for kind in chance.sample(KINDS, len(KINDS)):
        direct = experiment.mutate(chance, kind)
        assert experiment.run() == with_followers(shape, direct), f"after a change of {kind}"
