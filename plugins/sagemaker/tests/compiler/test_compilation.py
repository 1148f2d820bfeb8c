"""The compiler: golden files, deterministic output, settings, refused pipelines, and the meaning of gates.

To update the golden files after an intended change:
MLOPS_UPDATE_GOLDEN=1 pytest plugins/sagemaker/tests/compiler/test_compilation.py
"""

import json
import math
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mlops_sagemaker.checking import check_definition
from mlops_sagemaker.compiler.gates import compile_gate, gate_parameters
from mlops_sagemaker.emulator.comparisons import holds_all
from mlops_sagemaker.layout import Layout

from mlops_core import AllOf, AnyOf, Comparison, Gate, Not, Operator
from mlops_core.errors import ConfigError, PipelineError
from mlops_core.evaluation.evaluation_file import read_evaluation, write_evaluation
from mlops_core.evaluation.metrics import Direction, Metric, MetricReport, MetricValue, Unit
from mlops_core.gates.contradictions import find_contradiction
from mlops_core.pipeline import Parameter, ParameterType, Pipeline, Step, StepKind
from mlops_core.runners.container.request import ContainerRequest, GateRequest, Part, read_order
from mlops_core.runners.container.verdict import gate_evaluation, verdict_message
from mlops_core.use_cases.discovery import discover_use_cases

GOLDEN = Path(__file__).parents[1] / "golden"
MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


def compile_installed(name, *overrides):
    from mlops_sagemaker.compiler.definition import compile_pipeline
    from mlops_sagemaker.settings import load_settings

    from mlops_core.api import prepare_run

    return compile_pipeline(prepare_run(name, overrides=overrides), load_settings())


def without_code(text):
    """Return the text without code digests, which change with every line of code."""
    return re.sub(r"--code=[0-9a-f]{64}", "--code=DIGEST", text)


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_use_case_compiles_to_its_golden_file(toy, golden):
    name, _, overrides = golden.stem.partition("--")
    if name not in {use_case.name for use_case in discover_use_cases()}:
        pytest.skip(f"use case {name} is not installed")
    text = without_code(compile_installed(name, *overrides.split(",") if overrides else ()).to_text())
    if os.environ.get("MLOPS_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), (
        "after an intended change of the use case: MLOPS_UPDATE_GOLDEN=1 pytest -k golden"
    )


def test_every_use_case_of_this_project_has_a_golden_file():
    projects = (Path(__file__).parents[4] / "plugins").glob("*/pyproject.toml")
    entries = [
        tomllib.loads(path.read_text())["project"]["entry-points"].get("mlops.usecases", {}) for path in projects
    ]
    names = {name for each in entries for name in each}
    assert names <= {path.stem for path in GOLDEN.glob("*.json")}


def test_every_installed_use_case_compiles_without_faults(toy):
    for use_case in discover_use_cases():
        definition = compile_installed(use_case.name)
        assert check_definition(definition.data) == (), use_case.name
        assert len(definition.to_compact_text()) < 100 * 1024


def test_two_processes_compile_to_equal_bytes_without_network_or_credentials(toy, tmp_path):
    texts = []
    for seed in ("1", "2"):
        output = tmp_path / f"{seed}.json"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
        done = subprocess.run(
            [*MLOPS, "compile", "-u", "toy", "--runner", "sagemaker", "-o", str(output)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert "to be given when an execution is started: ExecutionRole, ArtifactBucket, StepImage" in done.stdout
        texts.append(output.read_bytes())
    assert texts[0] == texts[1]


def test_compilation_opens_no_connection_and_imports_no_aws_package(compiled, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("compiling connects"))
    compiled()
    code = (
        "import sys; from mlops_core.cli import _exit_code; "
        "_exit_code(['compile', '--runner', 'sagemaker', '-u', 'TOY', '--no-check']);"
        "print(sorted({'boto3', 'botocore', 'sagemaker', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_settings_in_the_documentation_compile_without_faults(tmp_path):
    pytest.importorskip("mlops_aed")
    from mlops_sagemaker.compiler.definition import compile_pipeline
    from mlops_sagemaker.settings import load_settings

    from mlops_core.api import prepare_run

    page = (Path(__file__).parents[4] / "docs" / "sagemaker.md").read_text()
    path = tmp_path / "sagemaker.yaml"
    path.write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    definition = compile_pipeline(prepare_run("AED", overrides=["dataset.shards=2"]), load_settings(path))
    assert check_definition(definition.data) == ()
    steps = {step["Name"]: step for step in definition.data["Steps"]}
    assert steps["train"]["Arguments"]["StoppingCondition"]["MaxWaitTimeInSeconds"] == 28800
    assert steps["preprocess"]["DisplayName"] == "Features"
    assert steps["preprocess"]["Arguments"]["AppSpecification"]["ImageUri"] == "other:1"
    assert steps["after"]["Type"] == "Lambda"


def steps_of(definition):
    return {step["Name"]: step for step in definition.data["Steps"]}


def test_parameters_and_seed_become_defaults(compiled):
    definition = compiled(parameters={"q_acc": "0.75"}, seed=7, settings=["account.bucket=a-bucket"])
    defaults = {item["Name"]: item.get("DefaultValue") for item in definition.data["Parameters"]}
    assert defaults["q_acc"] == 0.75
    assert defaults["Seed"] == 7
    assert defaults["ArtifactBucket"] == "a-bucket"
    assert "DefaultValue" not in definition.data["Parameters"][0]


def test_sharded_step_becomes_a_job_with_several_instances_and_a_merge(compiled):
    steps = steps_of(compiled("features.scale=3"))
    cluster = steps["preprocess"]["Arguments"]["ProcessingResources"]["ClusterConfig"]
    assert cluster["InstanceCount"] == 3
    merge = steps["preprocess-merge"]["Arguments"]
    assert merge["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 1
    assert [item["InputName"] for item in merge["ProcessingInputs"]] == ["dataset", "features.parts"]
    channel = steps["train"]["Arguments"]["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    assert channel["S3Uri"]["Get"].startswith("Steps.preprocess-merge.")


def test_settings_are_applied_to_the_jobs(compiled):
    settings = (
        "account.kms_key=key-1",
        "account.volume_kms_key=key-2",
        "account.subnets=[subnet-1]",
        "account.security_groups=[sg-1]",
        "account.network_isolation=true",
        "account.encrypt_traffic=true",
        "account.tags={b: '2', a: '1'}",
        "account.cache_days=0",
        "steps.train.instance_type=ml.c5.xlarge",
        "steps.train.volume_gb=99",
        "steps.train.timeout_s=100",
        "steps.train.spot=true",
        "steps.train.max_wait_s=5000",
        "steps.train.checkpoints=true",
        "steps.preprocess.sharded_inputs=[dataset]",
        "steps.preprocess.raw={DisplayName: Words, Arguments: {ExperimentConfig: {TrialName: x}}}",
    )
    definition = compiled("features.scale=2", settings=settings)
    assert check_definition(definition.data) == ()
    steps = steps_of(definition)
    train = steps["train"]["Arguments"]
    assert train["ResourceConfig"] == {
        "InstanceCount": 1,
        "InstanceType": "ml.c5.xlarge",
        "VolumeSizeInGB": 99,
        "VolumeKmsKeyId": "key-2",
    }
    assert train["StoppingCondition"] == {"MaxRuntimeInSeconds": 1000, "MaxWaitTimeInSeconds": 5000}
    assert train["EnableManagedSpotTraining"] is True
    assert train["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert train["OutputDataConfig"]["KmsKeyId"] == "key-1"
    assert train["VpcConfig"] == {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    assert train["Tags"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    order = read_order(
        [text for text in train["AlgorithmSpecification"]["ContainerArguments"] if isinstance(text, str)]
    )
    assert order.request.step.resources.timeout_s == 100
    preprocess = steps["preprocess"]
    assert preprocess["DisplayName"] == "Words"
    assert preprocess["Arguments"]["ExperimentConfig"] == {"TrialName": "x"}
    assert preprocess["Arguments"]["NetworkConfig"]["EnableNetworkIsolation"] is True
    (data_input,) = preprocess["Arguments"]["ProcessingInputs"]
    assert data_input["S3Input"]["S3DataDistributionType"] == "ShardedByS3Key"
    assert not any("CacheConfig" in step for step in steps.values())


def test_step_that_reads_the_data_set_is_cached_only_with_its_digest(compiled):
    steps = steps_of(compiled())
    assert "CacheConfig" not in steps["preprocess"]
    assert steps["train"]["CacheConfig"] == {"Enabled": True, "ExpireAfter": "P30D"}
    steps = steps_of(compiled(dataset_digest="abc"))
    assert steps["preprocess"]["CacheConfig"]["Enabled"] is True
    assert "--dataset-digest=abc" in steps["preprocess"]["Arguments"]["AppSpecification"]["ContainerArguments"]
    assert "--dataset-digest=abc" not in steps["train"]["Arguments"]["AlgorithmSpecification"]["ContainerArguments"]


def test_raw_steps_are_added_unchanged(compiled):
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:f"
    raw = f'{{Name: notify, Type: Lambda, Arguments: {{}}, FunctionArn: "{arn}", DependsOn: [gate]}}'
    definition = compiled(settings=[f"raw_steps=[{raw}]"])
    assert steps_of(definition)["notify"]["DependsOn"] == ["gate"]
    assert check_definition(definition.data) == ()


TRANSFORM = {
    "ModelName": {"Get": "Steps.served.ModelName"},
    "TransformInput": {
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/rows/"}},
        "ContentType": "text/csv",
    },
    "TransformOutput": {"S3OutputPath": "s3://bucket/answers/"},
    "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
}
SEARCH = {
    "HyperParameterTuningJobConfig": {
        "Strategy": "Bayesian",
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 8, "MaxParallelTrainingJobs": 4},
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "acc"},
        "ParameterRanges": {"IntegerParameterRanges": [{"Name": "bias", "MinValue": "0", "MaxValue": "9"}]},
    },
    "TrainingJobDefinition": {
        "AlgorithmSpecification": {
            "TrainingImage": {"Get": "Parameters.StepImage"},
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "acc", "Regex": "acc=([0-9.]+)"}],
        },
        "InputDataConfig": [
            {
                "ChannelName": "features",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": {"Get": "Steps.preprocess.ProcessingOutputConfig.Outputs['features'].S3Output.S3Uri"},
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/search"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10},
        "RoleArn": {"Get": "Parameters.ExecutionRole"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    },
}
SERVED = {
    "PrimaryContainer": {
        "Image": {"Get": "Parameters.StepImage"},
        "ModelDataUrl": {"Get": "Steps.train.ModelArtifacts.S3ModelArtifacts"},
    },
    "ExecutionRoleArn": {"Get": "Parameters.ExecutionRole"},
}


def test_raw_transform_and_tuning_steps_can_refer_to_compiled_steps(compiled):
    steps = [
        {"Name": "search", "Type": "Tuning", "Arguments": SEARCH},
        {"Name": "served", "Type": "Model", "Arguments": SERVED, "DependsOn": ["gate"]},
        {"Name": "answers", "Type": "Transform", "Arguments": TRANSFORM},
    ]
    definition = compiled(settings=[f"raw_steps={json.dumps(steps)}"])
    assert check_definition(definition.data) == ()
    assert [steps_of(definition)[step["Name"]] for step in steps] == steps
    steps[2]["Arguments"] = {**TRANSFORM, "ModelName": {"Get": "Steps.served.ModelNam"}}
    (fault,) = check_definition(compiled(settings=[f"raw_steps={json.dumps(steps)}"]).data)
    assert "did you mean 'ModelName'" in str(fault)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("account.bucket=s3://bucket", "not a valid bucket name"),
        ("account.role=Admin", "not the ARN of a role"),
        ("account.buckt=x", "unknown key; did you mean 'bucket'"),
        ("account.subnets=[subnet-1]", "must be set together"),
        ("account.approval_status=Aproved", "PendingManualApproval"),
        ("steps.train.instance_type=m5.large", "pattern"),
        ("steps.train.max_wait_s=5", "needs spot"),
        ("steps.trian.spot=true", "unknown step; did you mean 'train'"),
        ("steps.preprocess.spot=true", "need a training step"),
        ("steps.train.sharded_inputs=[feature]", "did you mean 'features'"),
        ("steps.train.sharded_inputs=[features]", "needs a step with shards"),
    ],
)
def test_invalid_setting_is_refused(compiled, setting, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        compiled(settings=[setting])


def test_cache_duration_of_the_settings_is_that_of_the_definition(compiled):
    steps = steps_of(compiled(settings=["account.cache_expires=30dT5h"], dataset_digest="abc"))
    assert {step["CacheConfig"]["ExpireAfter"] for step in steps.values() if "CacheConfig" in step} == {"30dT5h"}
    with pytest.raises(ConfigError, match="write PT12H"):
        compiled(settings=["account.cache_expires=12h"])
    with pytest.raises(ConfigError, match="cannot both be set"):
        compiled(settings=["account.cache_expires=P1D", "account.cache_days=3"])


@pytest.mark.parametrize("prefix", ["..", "a/../b", "a/.", "a/*", "/a", "a//b"])
def test_prefix_that_leads_elsewhere_is_refused(compiled, prefix):
    with pytest.raises(ConfigError, match="not a valid key prefix"):
        compiled(settings=[f'account.prefix="{prefix}"'])


def test_secret_is_never_written_to_a_definition(toy, tmp_path):
    config = tmp_path / "user_config.yaml"
    config.write_text("training:\n  bias: ${BIAS_TOKEN}\n")
    done = subprocess.run(
        [*MLOPS, "compile", "-u", "TOY", "--runner", "sagemaker", "-c", str(config)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "BIAS_TOKEN": "0.123456"},
    )
    assert "0.123456" not in done.stdout + done.stderr
    assert done.returncode == 2
    assert "training.bias is a secret that step 'train' reads" in done.stderr


def test_parameter_with_a_reserved_name_is_refused(compiled, toy):
    from dataclasses import replace

    from mlops_sagemaker.compiler.definition import compile_pipeline
    from mlops_sagemaker.settings import load_settings

    from mlops_core.api import prepare_run

    request = prepare_run("TOY")
    seed = Parameter(name="Seed", type=ParameterType.INTEGER, default=0)
    pipeline = replace(request.pipeline, parameters=(*request.pipeline.parameters, seed))
    with pytest.raises(PipelineError, match="parameter 'Seed' has a reserved name"):
        compile_pipeline(replace(request, pipeline=pipeline), load_settings())


def test_configuration_that_is_too_large_for_the_command_is_refused(toy):
    from mlops_sagemaker.compiler.arguments import to_arguments

    step = Step(name="train", kind=StepKind.TRAINING, run="a:b", outputs=("model",), config=("big",))
    request = ContainerRequest(
        use_case="X", layout=Layout.TRAINING, part=Part.WHOLE, step=step, config={"big": ["ä" * 100] * 100}
    )
    with pytest.raises(PipelineError, match="step 'train': its configuration needs a request of .* characters"):
        to_arguments(request, code="0" * 64, seed="0", values={})


def test_request_round_trips_through_arguments(toy):
    from mlops_sagemaker.compiler.arguments import to_arguments

    parameter = Parameter(name="text", type=ParameterType.STRING, default="")
    step = Step(
        name="train", kind=StepKind.TRAINING, run="a:b", outputs=("model",), parameters=("text",), config=("c",)
    )
    request = ContainerRequest(
        use_case="X",
        layout=Layout.TRAINING,
        part=Part.WHOLE,
        step=step,
        config={"c": {"quote": "a\"b='\\ äöü\n", "list": list(range(500))}},
        parameters=(parameter,),
        model_output="model",
        packed={"x": ""},
    )
    arguments = to_arguments(request, code="c" * 64, seed="3", values={"text": "a=b --seed=5"}, dataset_digest="d")
    assert all(len(argument) <= 256 for argument in arguments)
    order = read_order(arguments)
    assert order.request.config == request.config
    assert order.request.to_json() == request.to_json()
    assert (order.seed, order.code, order.dataset_digest) == (3, "c" * 64, "d")
    assert order.parameters == {"text": "a=b --seed=5"}


# --- The gate ---------------------------------------------------------------------------------------------

METRICS = tuple(
    Metric(name=name, section="numbers", unit=Unit.FRACTION, minimum=low, maximum=high, direction=Direction.HIGHER)
    for name, low, high in (("a", 0, 1), ("b", 0, math.inf), ("c", -1, 1))
)
PARAMETERS = tuple(
    Parameter(name=name, type=kind, default=default, minimum=0, maximum=1)
    for name, kind, default in (("p", ParameterType.FLOAT, 0.5), ("q", ParameterType.INTEGER, 1))
)
VALUES = st.sampled_from([None, math.nan, math.inf, -math.inf, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5])
COMPARISONS = st.builds(
    Comparison,
    metric=st.sampled_from(["a", "b", "c"]),
    operator=st.sampled_from(list(Operator)),
    threshold=st.sampled_from([0.0, 0.25, 0.5, 1.0, "p", "q"]),
    message=st.sampled_from(["", "Execution failed due to a <"]),
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=8,
)


class Scope:
    """The values that the emulator needs to resolve conditions."""

    def __init__(self, parameters, evaluation):
        self.values = parameters
        self.evaluation = evaluation

    def parameters(self):
        return self.values

    def property_file(self, step, name):
        assert (step, name) == ("evaluate", "evaluation")
        return json.dumps(self.evaluation)


@given(condition=CONDITIONS, metric_values=st.tuples(VALUES, VALUES, VALUES), thresholds=st.tuples(VALUES, VALUES))
@settings(max_examples=int(os.environ.get("MLOPS_TEST_GATES", "60")), deadline=None)
def test_compiled_gate_decides_like_the_gate(tmp_path_factory, condition, metric_values, thresholds):
    folder = tmp_path_factory.mktemp("evaluation")
    p = 0.5 if thresholds[0] is None or not math.isfinite(thresholds[0]) else thresholds[0]
    parameters = {"p": p, "q": 1}
    gate = Gate(condition)
    assume(not find_contradiction(condition, metrics={metric.name: metric for metric in METRICS}, parameters={}))
    pipeline = Pipeline(
        name="x",
        dataset="d",
        steps=(Step(name="evaluate", kind=StepKind.EVALUATION, run="a:b", outputs=("predictions", "model")),),
        parameters=PARAMETERS,
        metrics=METRICS,
        gate=gate,
        model="evaluate.model",
    )
    report = MetricReport(
        values={
            metric.name: MetricValue(value=value, low=0, high=1)
            for metric, value in zip(METRICS, metric_values, strict=True)
            if value is not None
        }
    )
    write_evaluation(folder, report, METRICS)
    request = ContainerRequest(
        use_case="X",
        layout=Layout.PROCESSING,
        part=Part.WHOLE,
        step=pipeline.steps[0],
        metrics=METRICS,
        gate=GateRequest(gate=gate, parameters=gate_parameters(pipeline)),
    )
    evaluation = gate_evaluation(folder, request, parameters)
    decided = holds_all(compile_gate(pipeline, evaluation="evaluate"), Scope(parameters, evaluation))
    local = gate.evaluate(read_evaluation(folder, METRICS), metrics=METRICS, parameters=parameters)
    is_refused = "p" in gate.parameters() and not 0 <= p <= 1  # a local run is not even started
    assert decided is (local.accepted and not is_refused)
    assert evaluation["verdict"]["accepted"] is decided
    if not is_refused and not decided:
        assert verdict_message(evaluation["verdict"]) == local.message
