"""Every installed use case gives the same results on the local runner and as an executed definition.

The scenarios are accepted and rejected models, a step that fails once and is retried, a step that fails, three
shards and a search. The default suite runs the fast ones; MLOPS_TEST_PARITY=all, or names of use cases, selects more.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mlops_sagemaker.local_runner import SageMakerLocalRunner, definition_of
from mlops_sagemaker.parity import executed_definition

from mlops_core import api
from mlops_core.runners import SilentObserver
from mlops_core.runners.parity import prove_parity
from mlops_core.testing.use_cases.subjects import subject_of
from mlops_core.use_cases.discovery import discover_use_cases
from mlops_core.workspace.store import Store

FAILING = Path(__file__).parents[1] / "failing_steps"
SHARDS = {"AED": "dataset.shards", "ROAD_SIGN": "preprocessing.shards", "SCENE": "preprocessing.shards"}
TUNED = {
    "ABALONE": ("tuning.trials=3", "tuning.concurrent=2"),
    "SYMBOL_DETECTION": ("tuning.trials=2", "tuning.concurrent=1"),
}
QUICK = {("ABALONE", scenario) for scenario in ("accepted", "rejected", "retried", "failing", "tuned")}
SCENARIOS = ("accepted", "rejected", "retried", "failing", "three shards", "tuned")
EXPECTED = {"rejected": ("rejected", 3), "failing": ("failed", 4)}


def is_possible(use_case, scenario):
    needed = {"three shards": SHARDS, "tuned": TUNED}.get(scenario)
    return needed is None or use_case in needed


def is_selected(use_case, scenario):
    chosen = os.environ.get("MLOPS_TEST_PARITY", "")
    return (use_case, scenario) in QUICK or chosen == "all" or use_case in chosen.split(",")


CASES = [
    pytest.param(
        use_case.name,
        scenario,
        marks=[]
        if is_selected(use_case.name, scenario)
        else pytest.mark.skip(reason="takes a minute; run it with MLOPS_TEST_PARITY=all (make test-parity)"),
        id=f"{use_case.name}-{scenario.replace(' ', '-')}",
    )
    for use_case in discover_use_cases()
    for scenario in SCENARIOS
    if is_possible(use_case.name, scenario)
]


@pytest.fixture
def failing_steps(monkeypatch):
    monkeypatch.syspath_prepend(str(FAILING))
    monkeypatch.setenv("PYTHONPATH", str(FAILING))


def thresholds(pipeline, *, is_met):
    """Return a value for each threshold of the gate that every model meets, or that none meets."""
    values = {}
    for comparison in (part for part in _comparisons(pipeline.gate.condition) if isinstance(part.threshold, str)):
        metric = next(metric for metric in pipeline.metrics if metric.name == comparison.metric)
        low, high = max(metric.minimum, -1e9), min(metric.maximum, 1e9)
        is_lower_better = comparison.operator.value.startswith("<")
        values[comparison.threshold] = repr(high if is_lower_better is is_met else low)
    return values


def _comparisons(condition):
    parts = getattr(condition, "parts", None) or ((condition.part,) if hasattr(condition, "part") else ())
    if not parts:
        yield condition
    for part in parts:
        yield from _comparisons(part)


def request_of(name, scenario):
    from mlops_failing_steps import failing

    declaration = next(subject_of(one).declaration for one in discover_use_cases() if one.name == name)
    overrides = {"three shards": (f"{SHARDS.get(name)}=3",), "tuned": TUNED.get(name, ())}.get(scenario, ())
    pipeline = api.prepare_run(name, config=declaration.config, overrides=overrides).pipeline
    request = api.prepare_run(
        name,
        config=declaration.config,
        overrides=overrides,
        parameters=thresholds(pipeline, is_met=scenario != "rejected"),
    )
    if scenario in ("retried", "failing"):
        how = "once" if scenario == "retried" else "always"
        steps = [
            replace(step, run=failing(step.run, how=how), resources=replace(step.resources, retries=1))
            if step.name == "train"
            else step
            for step in request.pipeline.steps
        ]
        request = replace(request, pipeline=replace(request.pipeline, steps=tuple(steps)))
    return request


def assert_one_choice(rows, *, trials):
    """The objective of each trial, the record of all, the chosen model and its metrics were compared."""
    search = next(subject for subject, what in rows if what == "digest of trials")
    each = [f"{search}.trial-{index}" for index in range(trials)]
    assert all(rows[trial, "digest of objective"] for trial in each)
    assert rows[search, "digest of model"] in {rows[trial, "digest of model"] for trial in each}
    assert [what for _, what in rows if what == "digest of evaluation"]


@pytest.mark.slow_suite
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("use_case", "scenario"), CASES)
def test_use_case_is_equal_on_both_runners(failing_steps, workspace, use_case, scenario):
    request = request_of(use_case, scenario)
    with Store(workspace) as store:
        report = prove_parity(
            request,
            store=store,
            observer=SilentObserver(),
            runner=SageMakerLocalRunner(store, observer=SilentObserver(), jobs=2),
            definition_of=lambda run_id: executed_definition(definition_of(store, run_id)),
            jobs=2,
        )
    assert report.differences == ()
    rows = {(row.subject, row.what): row.executed for row in report.rows}
    status, code = EXPECTED.get(scenario, ("accepted", 0))
    assert (rows["run", "status"], rows["run", "exit code"]) == (status, str(code))
    if scenario == "tuned":
        assert_one_choice(rows, trials=int(TUNED[use_case][0].rpartition("=")[2]))
    digests = [row.local for row in report.rows if row.what.startswith("digest of")]
    assert digests
    assert all(len(digest) == 12 for digest in digests)
    sys.stdout.write(
        f"parity: {use_case}, {scenario}: {len(report.rows)} comparisons, {len(digests)} digests, {status}\n"
    )
