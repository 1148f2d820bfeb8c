"""Random pipelines and gates: the use case RANDOM, and its steps executed like the local runner does, in this process.

An engine's test executes the same steps through the compiled definition, with `InThisProcess` as its container's code.
"""

import os
import shutil
from pathlib import Path

import pytest

from mlops_core.datasets.digests import iter_tree, manifest_of
from mlops_core.evaluation.evaluation_file import read_evaluation
from mlops_core.pipeline import DATASET, StepKind
from mlops_core.runners import RunRequest
from mlops_core.runners.container.execution import _Container
from mlops_core.runners.container.request import Part
from mlops_core.steps import execution as steps
from mlops_core.steps.context import Shard, StepRequest
from mlops_core.use_cases.manager import load_use_case

USE_CASE = Path(__file__).parents[2] / "random_use_case"
PIPELINES = int(os.environ.get("MLOPS_TEST_PIPELINES", "8"))
BATCHES = 4


@pytest.fixture
def random_use_case(monkeypatch):
    """The use case RANDOM is installed, here and in the processes that are started."""
    monkeypatch.syspath_prepend(str(USE_CASE))
    monkeypatch.setenv("PYTHONPATH", str(USE_CASE))


@pytest.fixture
def use_case(random_use_case):
    return load_use_case("RANDOM")


@pytest.fixture
def dataset(random_use_case, tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    for letter in "abcd":
        (folder / f"{letter}.txt").write_text(letter)
    return folder


def request_of(use_case, seed, *overrides):
    """Return the run of a random pipeline."""
    config = use_case.load_config(None, overrides=[f"shape.seed={seed}", *overrides], environ={})
    pipeline = use_case.pipeline(config.model)
    values = pipeline.resolve_parameters({})
    return RunRequest(use_case=use_case, config=config, pipeline=pipeline, parameters=values, seed=seed % 7)


def digest(folder):
    return manifest_of(tuple(iter_tree(folder))).digest


class LocalSide:
    """Executes the steps of a pipeline like the local runner, in this process."""

    def __init__(self, request, dataset, root):
        self.request = request
        self.root = root
        self.folders = {DATASET: dataset}
        self.digests = {}

    def run(self):
        for step in self.request.pipeline.ordered():
            self.execute(step)
        pipeline = self.request.pipeline
        report = read_evaluation(self.folders["evaluate.evaluation"], pipeline.metrics)
        numbers = {name: value for name, value in self.request.parameters.items() if isinstance(value, int | float)}
        return pipeline.gate.evaluate(report, metrics=pipeline.metrics, parameters=numbers)

    def execute(self, step):
        parts = {}
        if step.shards > 1:
            places = [self.one(step, Shard(index=n, count=step.shards), names=step.outputs) for n in range(step.shards)]
            parts = {output: tuple(place[output] for place in places) for output in step.outputs}
        outputs = self.one(step, Shard(), names=step.all_outputs, parts=parts)
        for output, folder in outputs.items():
            self.folders[f"{step.name}.{output}"] = folder
            self.digests[f"{step.name}.{output}"] = digest(folder)

    def one(self, step, shard, *, names, parts=None):
        place = self.root / f"{step.name}-{shard.index}-of-{shard.count}"
        outputs = {name: place / "outputs" / name for name in names}
        for folder in (place / "scratch", *outputs.values()):
            folder.mkdir(parents=True)
        sections = self.request.config.sections()
        steps.execute(
            StepRequest(
                use_case="RANDOM",
                step=step,
                config={name: sections[name] for name in step.config},
                parameters={name: self.request.parameters[name] for name in step.parameters},
                seed=self.request.seed,
                shard=shard,
                inputs={name: self.folders[reference] for name, reference in step.inputs.items()},
                outputs=outputs,
                scratch=place / "scratch",
                metrics=tuple(m.to_json() for m in self.request.pipeline.metrics)
                if step.kind is StepKind.EVALUATION
                else (),
                parts=parts or {},
            )
        )
        return outputs


class InThisProcess(_Container):
    """The code of the container without a process for the step and without the check of the code digest."""

    def _check_code(self):
        pass

    def _execute(self, shard):
        inputs = {name: self._input(name) for name in self._step.inputs}
        parts = self._parts() if self._request.part is Part.MERGE else {}
        request = self._step_request(self._places.work / "attempt-1", shard=shard, inputs=inputs, parts=parts)
        steps.execute(request)
        return dict(request.outputs)


def check_random_pipelines(batch, compare, *, use_case, dataset, root):
    """Compare a batch of random pipelines; `compare` takes a request, the data and a folder and returns the verdict."""
    accepted = faulty = sharded = 0
    for seed in range(batch, PIPELINES, BATCHES):
        place = root / str(seed)
        verdict = compare(request_of(use_case, seed), dataset, place)
        accepted += verdict.accepted
        faulty += any(clause.value is None for clause in verdict.clauses)
        sharded += any((place / "local").glob("*-of-3"))
        shutil.rmtree(place)
    # A batch without any of these would prove nothing.
    assert min(accepted, faulty, sharded) >= PIPELINES // BATCHES // 25
