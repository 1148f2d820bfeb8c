"""A batch-prediction step: a local run and the executed Transform step give equal files and equal errors."""

import json
import os
from pathlib import Path

import pytest
from mlops_sagemaker.checking import check_text
from mlops_sagemaker.compiler.definition import compile_pipeline
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.support import require_executable
from mlops_sagemaker.local_runner import SageMakerLocalRunner
from mlops_sagemaker.local_runner import definition_of as definition_of_run
from mlops_sagemaker.parity import executed_definition
from mlops_sagemaker.settings import load_settings

from mlops_core.api import prepare_run
from mlops_core.runners import DefinitionError, SilentObserver
from mlops_core.runners.parity import prove_parity
from mlops_core.workspace.store import Store

TESTS = Path(__file__).parents[4] / "tests"
PLUGINS = [str(TESTS / "batch" / "plugin"), str(TESTS / "toy")]


@pytest.fixture
def scores(monkeypatch):
    for place in PLUGINS:
        monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(PLUGINS))


def definition_of(*overrides):
    compiled = compile_pipeline(
        prepare_run("SCORES", overrides=overrides), load_settings(overrides=["inference.image=serve:1"])
    )
    return json.loads(compiled.to_text())


def test_the_definition_is_a_model_and_a_transform_step_without_faults(scores):
    data = definition_of("scoring.split=line", "scoring.strategy=multi", "scoring.retries=2")
    assert check_text(json.dumps(data)) == ()
    steps = {step["Name"]: step for step in data["Steps"]}
    assert [steps[name]["Type"] for name in ("score-model", "score")] == ["Model", "Transform"]
    arguments = steps["score"]["Arguments"]
    assert arguments["BatchStrategy"] == "MultiRecord"
    assert arguments["ModelClientConfig"] == {"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 2}
    assert arguments["ModelName"] == {"Get": "Steps.score-model.ModelName"}
    assert steps["gate"]["DependsOn"] == ["score"]


def test_a_transform_step_has_at_most_one_worker_per_core(scores):
    for asked, expected in ((1, "1"), (100, "2")):
        data = definition_of(f"scoring.max_concurrent={asked}", "scoring.max_payload_mb=1")
        (step,) = [step for step in data["Steps"] if step["Name"] == "score"]
        assert step["Arguments"]["MaxConcurrentTransforms"] == asked
        assert step["Arguments"]["TransformResources"]["InstanceType"] == "ml.m5.large"
        assert step["Arguments"]["Environment"]["SAGEMAKER_MODEL_SERVER_WORKERS"] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"BatchStrategy": "MultiRecord"}, "'MultiRecord' needs a TransformInput.SplitType that is not None"),
        ({"MaxPayloadInMB": 60, "MaxConcurrentTransforms": 2}, "60 times MaxConcurrentTransforms 2 is more than 100"),
    ],
)
def test_contradictions_of_a_transform_step_are_faults(scores, change, message):
    data = definition_of()
    step = next(step for step in data["Steps"] if step["Name"] == "score")
    step["Arguments"].update(change)
    assert any(message in str(fault) for fault in check_text(json.dumps(data)))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "step 'score': its model is that of step 'score-model': its image .* cannot be started without Docker"),
        ({"USECASE_NAME": "NOWHERE"}, "USECASE_NAME is 'NOWHERE', which is not installed here"),
    ],
)
def test_the_container_of_somebody_else_is_refused_before_anything_runs(scores, environment, message):
    data = definition_of()
    step = next(step for step in data["Steps"] if step["Name"] == "score-model")
    step["Arguments"]["PrimaryContainer"]["Environment"] = environment
    definition = parse_definition(data)
    values = {parameter.name: parameter.default for parameter in definition.parameters}
    with pytest.raises(DefinitionError, match=message):
        require_executable(definition, values)


@pytest.mark.slow_suite
@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ((), "-"),
        (("scoring.split=line", "scoring.strategy=multi", "scoring.accept=application/jsonlines"), "-"),
        (("scoring.split=line", "scoring.assemble=line", "scoring.max_concurrent=3"), "-"),
        (('scoring.content="1\\nunusable\\n"',), "below/content.csv: the request body, line 2: no numbers"),
        (("scoring.accept=application/json", "scoring.split=line", "scoring.strategy=multi"), "answered by 1 lines"),
        (
            ("scoring.content=sleep", "scoring.timeout_s=2", "scoring.retries=1"),
            "below/content.csv: no answer after 2 s",
        ),
        (("scoring.content_type=audio/wav",), "Content-Type: audio/wav: this model does not read it"),
    ],
)
def test_local_runs_and_executed_definitions_are_equal(scores, workspace, overrides, error):
    request = prepare_run("SCORES", overrides=overrides)
    with Store(workspace) as store:
        report = prove_parity(
            request,
            store=store,
            observer=SilentObserver(),
            runner=SageMakerLocalRunner(store, observer=SilentObserver()),
            definition_of=lambda run_id: executed_definition(definition_of_run(store, run_id)),
        )
    assert report.differences == ()
    errors = [line.executed for line in report.rows if (line.subject, line.what) == ("run", "error")]
    assert error in (errors or ["-"])[0]
