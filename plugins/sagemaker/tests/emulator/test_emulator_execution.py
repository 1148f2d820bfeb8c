"""Complete executions with real processes in an ``/opt/ml`` tree, and S3 as a folder."""

import json
import sys
import tarfile
import textwrap
import threading
import time
from pathlib import Path

import pytest
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.execution import PipelineExecution, Surroundings
from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.history import FolderHistory
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers, can_mount
from mlops_sagemaker.emulator.jobs.registration import FolderRegistrar
from mlops_sagemaker.emulator.objects import FolderObjects
from mlops_sagemaker.service.uris import S3Uri

ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/words/execution/"


class World:
    """A machine without AWS: buckets, executions and packages are folders."""

    def __init__(self, root, containers):
        self.root = root
        self.objects = FolderObjects(root / "s3")
        self.history = FolderHistory(root / "executions")
        self.containers = containers
        self.count = 0
        self.seen = []

    def put(self, uri, text):
        path = self.objects.path(S3Uri.parse(uri))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def get(self, uri):
        return self.objects.read(S3Uri.parse(uri)).decode()

    def keys(self, uri):
        return list(self.objects.keys(S3Uri.parse(uri)))

    def prepare(self, steps, *, parameters=(), values=None, former=None, objects=None):
        self.count += 0 if former else 1
        parsed = parse_definition({"Version": "2020-12-01", "Parameters": list(parameters), "Steps": steps})
        arn = f"{ARN}e{self.count}"
        return PipelineExecution(
            parsed,
            arn=arn,
            pipeline="words",
            values=parsed.values(values or {}),
            former=former,
            surroundings=Surroundings(
                objects=objects or self.objects,
                containers=self.containers,
                registrar=FolderRegistrar(self.root / "packages"),
                history=self.history,
                folder=self.history.execution_folder(f"e{self.count}"),
                max_parallel=4,
                on_step=self.seen.append,
            ),
        )

    def run(self, steps, **options):
        return self.prepare(steps, **options).carry_out()

    def log(self, record, name):
        folder = self.history.execution_folder(record.execution_id) / "logs"
        return "".join(path.read_text() for path in folder.iterdir() if f"-{name}-" in path.name)


@pytest.fixture(params=["mount", "rewrite"])
def world(request, tmp_path):
    if request.param == "mount" and not can_mount():
        pytest.skip("this system does not allow mount namespaces")
    return World(tmp_path, ProcessContainers(has_mounts=request.param == "mount"))


@pytest.fixture
def plain(tmp_path):
    """Return a world with one kind of containers, for tests that do not depend on it."""
    return World(tmp_path, ProcessContainers(has_mounts=False))


def processing(name, code, *, inputs=(), outputs=(), instances=1, environment=None, **more):
    """Return a processing step that runs `code` with ``python3 -c``."""
    arguments = {
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": instances, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "AppSpecification": {"ImageUri": "image:1", "ContainerEntrypoint": ["python3", "-c", textwrap.dedent(code)]},
        "RoleArn": "arn:aws:iam::123456789012:role/r",
        "Environment": environment or {},
        "ProcessingInputs": [
            {
                "InputName": input_name,
                "S3Input": {
                    "S3Uri": uri,
                    "LocalPath": f"/opt/ml/processing/input/{input_name}",
                    "S3DataType": "S3Prefix",
                    "S3DataDistributionType": distribution,
                },
            }
            for input_name, uri, distribution in inputs
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": output_name,
                    "S3Output": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/output/{output_name}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for output_name, uri in outputs
            ]
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": more.pop("timeout", 60)},
    }
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **more}


def training(name, *, entry=None, hyperparameters=None, channels=(), environment=None, metrics=(), **more):
    specification = {"TrainingImage": "image:1", "TrainingInputMode": "File", "MetricDefinitions": list(metrics)}
    if entry:
        specification["ContainerEntrypoint"] = ["python3", "-c", textwrap.dedent(entry)]
    arguments = {
        "AlgorithmSpecification": specification,
        "OutputDataConfig": {"S3OutputPath": "s3://b/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "HyperParameters": hyperparameters or {},
        "Environment": environment or {},
        "InputDataConfig": [
            {"ChannelName": channel, "DataSource": {"S3DataSource": {"S3Uri": uri, "S3DataType": "S3Prefix"}}}
            for channel, uri in channels
        ],
    }
    return {"Name": name, "Type": "Training", "Arguments": arguments, **more}


def fail(name, message="no", **more):
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}, **more}


def condition(name, conditions, *, if_steps=(), else_steps=(), **more):
    arguments = {"Conditions": list(conditions), "IfSteps": list(if_steps), "ElseSteps": list(else_steps)}
    return {"Name": name, "Type": "Condition", "Arguments": arguments, **more}


def statuses(record):
    return {step.name: str(step.status) for step in record.steps}


COPY = """
    from pathlib import Path
    for path in Path("/opt/ml/processing/input/data").rglob("*.txt"):
        Path("/opt/ml/processing/output/out", path.name).write_text(path.read_text().upper())
"""
WRITE = "from pathlib import Path; Path('/opt/ml/processing/output/out/x.txt').write_text('x')"


def test_processing_step_reads_inputs_from_s3_and_writes_outputs_to_s3(world):
    world.put("s3://b/in/a.txt", "one")
    world.put("s3://b/in/deep/b.txt", "two")
    step = processing("Up", COPY, inputs=[("data", "s3://b/in/", "FullyReplicated")], outputs=[("out", "s3://b/out")])
    record = world.run([step])
    assert (record.status, record.steps[0].failure) == ("Succeeded", "")
    assert world.keys("s3://b/out/") == ["out/a.txt", "out/b.txt"]
    assert world.get("s3://b/out/b.txt") == "TWO"
    assert (
        record.steps[0]
        .describe()["Metadata"]["ProcessingJob"]["Arn"]
        .endswith(record.steps[0].properties["ProcessingJobName"])
    )
    seen = [(str(step.status), bool(step.metadata)) for step in world.seen]
    assert seen == [("Starting", False), ("Executing", False), ("Executing", True), ("Succeeded", True)]


def test_job_gets_its_own_environment_and_configuration_only(world, monkeypatch):
    code = """
        import json, os
        from pathlib import Path
        config = json.loads(Path("/opt/ml/config/processingjobconfig.json").read_text())
        result = {
            "mode": os.environ["MODE"],
            "arn": os.environ["PROCESSING_JOB_ARN"] == config["ProcessingJobArn"],
            "hosts": json.loads(Path("/opt/ml/config/resourceconfig.json").read_text())["hosts"],
            "secret": os.environ.get("AWS_SECRET_ACCESS_KEY"),
        }
        Path("/opt/ml/processing/output/out/result.json").write_text(json.dumps(result))
    """
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        record = world.run([processing("Look", code, outputs=[("out", "s3://b/out")], environment={"MODE": "m"})])
    assert record.status == "Succeeded", record.steps[0].failure
    result = json.loads(world.get("s3://b/out/result.json"))
    assert result == {"mode": "m", "arn": True, "hosts": ["algo-1"], "secret": None}


def test_training_step_gets_channels_and_hyperparameters_and_writes_a_model(world):
    world.put("s3://b/train/data.csv", "1,2")
    world.put("s3://b/models/unrelated.txt", "")
    entry = """
        import json, os
        from pathlib import Path
        hyperparameters = json.loads(Path("/opt/ml/input/config/hyperparameters.json").read_text())
        data = Path(os.environ["SM_CHANNEL_TRAIN"], "data.csv").read_text()
        text = data + hyperparameters["epochs"] + os.environ["SM_HP_EPOCHS"]
        Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(text)
        print("loss: 0.9"); print("loss: 0.25")
    """
    step = training(
        "Train",
        entry=entry,
        hyperparameters={"epochs": "7"},
        channels=[("train", "s3://b/train")],
        metrics=[{"Name": "loss", "Regex": "loss: ([0-9.]+)"}],
    )
    record = world.run([step])
    assert record.status == "Succeeded", record.steps[0].failure
    properties = record.steps[0].properties
    with tarfile.open(world.objects.path(S3Uri.parse(properties["ModelArtifacts"]["S3ModelArtifacts"]))) as tar:
        assert tar.extractfile("model.txt").read() == b"1,277"
    assert properties["FinalMetricDataList"] == [{"MetricName": "loss", "Value": 0.25}]


def test_script_mode_unpacks_the_source_and_passes_hyperparameters_as_arguments(world, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, os; open(os.path.join(os.environ['SM_MODEL_DIR'], 'args'), 'w').write(' '.join(sys.argv[1:]))"
    )
    archive = tmp_path / "source.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(script, arcname="train.py")
    world.objects.upload(archive, S3Uri.parse("s3://b/code/source.tar.gz"))
    step = training(
        "Train",
        hyperparameters={
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"s3://b/code/source.tar.gz"',
            "epochs": "10",
            "name": '"x"',
        },
    )
    record = world.run([step])
    assert record.status == "Succeeded", record.steps[0].failure
    with tarfile.open(
        world.objects.path(S3Uri.parse(record.steps[0].properties["ModelArtifacts"]["S3ModelArtifacts"]))
    ) as tar:
        assert tar.extractfile("args").read() == b"--epochs 10 --name x"


COUNTING = """
    import os, pathlib, sys
    place = pathlib.Path("/opt/ml/checkpoints/epoch")
    done = int(place.read_text()) if place.exists() else 0
    place.write_text(str(done + 1))
    pathlib.Path("/opt/ml/model/epochs").write_text(str(done + 1))
    sys.exit(0 if done else 3)
"""


def test_interrupted_training_resumes_from_its_checkpoints(plain):
    plain.put("s3://b/in/x.txt", "the bucket exists")
    step = training("Train", entry=COUNTING)
    step["Arguments"]["CheckpointConfig"] = {"S3Uri": "s3://b/checkpoints"}
    first = plain.run([step])
    assert first.status == "Failed"
    assert plain.get("s3://b/checkpoints/epoch") == "1", plain.log(first, "Train")
    record = plain.run([step])
    assert record.status == "Succeeded", record.steps[0].failure
    assert plain.get("s3://b/checkpoints/epoch") == "2"


@pytest.mark.parametrize("instances", [1, 2, 3])
def test_sharded_inputs_are_distributed_and_outputs_combined(plain, instances):
    for number in range(7):
        plain.put(f"s3://b/in/{number}.txt", f"n{number}")
    code = COPY + textwrap.indent(
        'import json\nhost = json.loads(Path("/opt/ml/config/resourceconfig.json").read_text())["current_host"]\n'
        'Path("/opt/ml/processing/output/out", f"host-{host}").write_text("")\n',
        "    ",
    )
    # The code has /opt/ml in an argument of the command, which is rewritten.
    step = processing(
        "Up",
        code,
        inputs=[("data", "s3://b/in/", "ShardedByS3Key")],
        outputs=[("out", "s3://b/out")],
        instances=instances,
    )
    record = plain.run([step])
    assert record.status == "Succeeded", record.steps[0].failure
    expected = [f"out/{number}.txt" for number in range(7)] + [f"out/host-algo-{n + 1}" for n in range(instances)]
    assert plain.keys("s3://b/out/") == sorted(expected)
    assert len(record.steps[0].logs) == instances


def test_manifest_selects_the_objects_of_an_input(plain):
    plain.put("s3://b/data/a.txt", "a")
    plain.put("s3://b/data/b.txt", "b")
    plain.put("s3://b/list.json", json.dumps([{"prefix": "s3://b/data/"}, "b.txt"]))
    step = processing(
        "Up", COPY, inputs=[("data", "s3://b/list.json", "FullyReplicated")], outputs=[("out", "s3://b/out")]
    )
    step["Arguments"]["ProcessingInputs"][0]["S3Input"]["S3DataType"] = "ManifestFile"
    assert plain.run([step]).status == "Succeeded"
    assert plain.keys("s3://b/out/") == ["out/b.txt"]


def test_failing_container_fails_the_step_with_its_message_and_no_step_follows(plain):
    code = """
        import sys
        from pathlib import Path
        Path("/opt/ml/output/failure").write_text("the words are missing")
        print("about to fail")
        sys.exit(4)
    """
    record = plain.run([processing("Bad", code), processing("Next", "pass", DependsOn=["Bad"])])
    assert record.status == "Failed"
    assert record.failure == "Step failure: One or multiple steps failed."
    assert record.steps[0].failure == "AlgorithmError: the words are missing, exit code: 4"
    assert statuses(record) == {"Bad": "Failed"}
    assert "about to fail" in plain.log(record, "Bad")
    (log,) = record.steps[0].logs
    assert record.steps[0].metadata["ProcessingJob"]["Arn"].endswith(log.removesuffix(".algo-1.log"))


def test_message_of_a_container_can_be_referenced(plain):
    say = processing("Say", "open('/opt/ml/output/message', 'w').write('too few words')")
    stop = fail("Stop", {"Std:Join": {"On": ": ", "Values": ["rejected", {"Get": "Steps.Say.ExitMessage"}]}})
    assert plain.run([say, stop]).step("Stop").failure == "rejected: too few words"


def test_independent_steps_run_in_parallel(plain):
    code = """
        import time
        from pathlib import Path
        mark, other = Path("{root}/{me}"), Path("{root}/{other}")
        mark.touch()
        end = time.monotonic() + 20
        while not other.exists():
            assert time.monotonic() < end, "the other step did not start"
            time.sleep(0.02)
    """
    steps = [
        processing("A", code.format(root=plain.root, me="a", other="b")),
        processing("B", code.format(root=plain.root, me="b", other="a")),
    ]
    assert plain.run(steps).status == "Succeeded"


def test_running_steps_finish_after_a_failure_and_no_new_step_starts(plain):
    slow = f"import time; time.sleep(1.5); open('{plain.root}/slow', 'w').close()"
    record = plain.run(
        [
            processing("Slow", slow),
            processing("Bad", "raise SystemExit(1)"),
            processing("After", "pass", DependsOn=["Slow"]),
        ]
    )
    assert statuses(record) == {"Slow": "Succeeded", "Bad": "Failed"}
    assert (plain.root / "slow").exists()


REPORT = """
    from pathlib import Path
    Path("/opt/ml/processing/output/out/report.json").write_text('{"m": {"acc": {"value": %s}}}')
"""


def gated(value, *, threshold=0.5):
    evaluate = processing(
        "Evaluate",
        REPORT % value,
        outputs=[("out", "s3://b/evaluation")],
        PropertyFiles=[{"PropertyFileName": "Report", "OutputName": "out", "FilePath": "report.json"}],
    )
    accuracy = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "m.acc.value"}}
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": "words",
            "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [{"Image": "image:1", "ModelDataUrl": "s3://b/evaluation/report.json"}]
            },
        },
    }
    message = {"Std:Join": {"On": " ", "Values": ["Execution failed due to acc <", {"Get": "Parameters.q"}]}}
    judge = condition(
        "Judge",
        [{"Type": "GreaterThanOrEqualTo", "LeftValue": accuracy, "RightValue": {"Get": "Parameters.q"}}],
        if_steps=[register],
        else_steps=[fail("Reject", message)],
    )
    return [evaluate, judge], [{"Name": "q", "Type": "Float", "DefaultValue": threshold}]


@pytest.mark.parametrize("value", ["0.5", "0.9"])
def test_met_condition_registers_the_model(plain, value):
    steps, parameters = gated(value)
    record = plain.run(steps, parameters=parameters)
    assert statuses(record) == {"Evaluate": "Succeeded", "Judge": "Succeeded", "Register": "Succeeded"}
    assert record.step("Judge").describe()["Metadata"] == {"Condition": {"Outcome": "True"}}
    package = json.loads((plain.root / "packages" / "words" / "1.json").read_text())
    assert package["ModelPackageArn"] == record.step("Register").metadata["RegisterModel"]["Arn"]
    assert package["ModelApprovalStatus"] == "PendingManualApproval"


def test_unmet_condition_fails_the_execution_with_the_message(plain):
    steps, parameters = gated("0.49")
    record = plain.run(steps, parameters=parameters)
    assert record.status == "Failed"
    assert statuses(record) == {"Evaluate": "Succeeded", "Judge": "Succeeded", "Reject": "Failed"}
    assert record.step("Reject").failure == "Execution failed due to acc < 0.5"
    assert not (plain.root / "packages").exists()


def test_parameter_passed_at_the_start_overrides_the_default(plain):
    steps, parameters = gated("0.49")
    assert plain.run(steps, parameters=parameters, values={"q": "0.4"}).status == "Succeeded"


@pytest.mark.parametrize("value", ["null", "NaN", '"0.9"'])
def test_invalid_metric_fails_the_condition_and_registers_nothing(plain, value):
    steps, parameters = gated(value)
    record = plain.run(steps, parameters=parameters)
    assert statuses(record) == {"Evaluate": "Succeeded", "Judge": "Failed"}
    assert not (plain.root / "packages").exists()


def test_model_with_missing_data_is_not_registered(plain):
    steps, parameters = gated("0.9")
    register = steps[1]["Arguments"]["IfSteps"][0]
    register["Arguments"]["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] = "s3://b/nothing.tar.gz"
    record = plain.run(steps, parameters=parameters)
    assert record.step("Register").failure == "ClientError: Could not find model data at s3://b/nothing.tar.gz"
    assert not (plain.root / "packages").exists()


def test_step_after_a_condition_waits_for_the_selected_branch(plain):
    mark = plain.root / "mark"
    inside = processing("Inside", f"import time; time.sleep(0.5); open('{mark}', 'w').close()")
    judge = condition(
        "Judge", [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}], if_steps=[inside], else_steps=[fail("No")]
    )
    record = plain.run([judge, processing("After", f"open('{mark}').close()", DependsOn=["Judge"])])
    assert statuses(record) == {"Judge": "Succeeded", "Inside": "Succeeded", "After": "Succeeded"}


def test_step_that_needs_a_skipped_branch_is_skipped(plain):
    judge = condition(
        "Judge", [{"Type": "Equals", "LeftValue": 1, "RightValue": 2}], if_steps=[processing("Inside", "pass")]
    )
    record = plain.run([judge, processing("After", "pass", DependsOn=["Inside"])])
    assert record.status == "Succeeded"
    assert statuses(record) == {"Judge": "Succeeded"}


CACHED = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"}}


def test_step_with_equal_arguments_and_its_followers_are_reused(plain):
    first = processing("First", WRITE, outputs=[("out", "s3://b/first")], **CACHED)
    uri = {"Get": "Steps.First.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}
    second = processing("Second", "pass", inputs=[("data", uri, "FullyReplicated")], **CACHED)
    original, again = plain.run([first, second]), plain.run([first, second])
    assert [step.describe().get("CacheHitResult") for step in again.steps] == [
        {"SourcePipelineExecutionArn": original.arn}
    ] * 2
    assert again.steps[0].properties == original.steps[0].properties
    third = plain.run([first, second])
    assert third.steps[0].cache_source == original.arn


def test_changed_arguments_expired_results_and_failures_are_not_reused(plain):
    first = processing("First", "pass", **CACHED)
    plain.run([first])
    assert not plain.run([processing("First", "pass # changed", **CACHED)]).steps[0].cache_source
    assert not plain.run([processing("Other", "pass", **CACHED)]).steps[0].cache_source
    assert not plain.run([processing("First", "pass")]).steps[0].cache_source
    old = processing("First", "pass", CacheConfig={"Enabled": True, "ExpireAfter": "PT1S"})
    time.sleep(1.1)
    assert not plain.run([old]).steps[0].cache_source
    bad = processing("Bad", "raise SystemExit(1)", **CACHED)
    plain.run([bad])
    assert plain.run([bad]).steps[0].status == "Failed"


class Unreliable(FolderObjects):
    """S3 that fails a given number of times."""

    def __init__(self, root, kind, times):
        super().__init__(root)
        self._kind = kind
        self._remaining = times

    def keys(self, prefix):
        if self._remaining:
            self._remaining -= 1
            raise StepFault(self._kind, "503 Slow Down")
        return super().keys(prefix)


def retried(*exceptions, attempts=3):
    policy = {"ExceptionType": list(exceptions), "IntervalSeconds": 0.01, "BackoffRate": 1.0, "MaxAttempts": attempts}
    return processing(
        "Up",
        COPY,
        inputs=[("data", "s3://b/in/", "FullyReplicated")],
        outputs=[("out", "s3://b/out")],
        RetryPolicies=[policy],
    )


def test_fault_of_the_service_is_retried_as_often_as_the_policy_allows(plain):
    plain.put("s3://b/in/a.txt", "a")
    record = plain.run([retried("Step.SERVICE_FAULT")], objects=Unreliable(plain.root / "s3", FaultKind.SERVICE, 2))
    assert (record.status, record.steps[0].attempts) == ("Succeeded", 3)
    record = plain.run([retried("Step.SERVICE_FAULT")], objects=Unreliable(plain.root / "s3", FaultKind.SERVICE, 9))
    assert (record.status, record.steps[0].attempts) == ("Failed", 4)
    assert record.steps[0].failure == "ServiceFault: 503 Slow Down"


def test_fault_without_a_policy_is_not_retried(plain):
    plain.put("s3://b/in/a.txt", "a")
    record = plain.run([retried("Step.THROTTLING")], objects=Unreliable(plain.root / "s3", FaultKind.SERVICE, 1))
    assert (record.status, record.steps[0].attempts) == ("Failed", 1)
    bad = processing(
        "Bad",
        "raise SystemExit(1)",
        RetryPolicies=retried("Step.SERVICE_FAULT", "SageMaker.JOB_INTERNAL_ERROR")["RetryPolicies"],
    )
    assert plain.run([bad]).steps[0].attempts == 1


def test_step_that_exceeds_its_time_limit_is_killed_with_its_child_processes(plain):
    mark = plain.root / "child"
    code = f"""
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3); open('{mark}', 'w').close()"])
        time.sleep(60)
    """
    record = plain.run([processing("Slow", code, timeout=1)])
    assert record.steps[0].failure == "ClientError: MaxRuntimeExceeded: the job ran longer than MaxRuntimeInSeconds=1"
    time.sleep(3)
    assert not mark.exists()


def test_stopped_execution_can_be_retried_without_repeating_successful_steps(plain):
    started, go = plain.root / "started", plain.root / "go"
    slow = f"""
        import time
        from pathlib import Path
        Path("{started}").touch()
        while not Path("{go}").exists():
            time.sleep(0.02)
    """
    count = f"open('{plain.root}/count', 'a').write('x')"
    steps = [processing("Quick", count), processing("Slow", slow, DependsOn=["Quick"])]
    execution = plain.prepare(steps)
    thread = threading.Thread(target=execution.carry_out)
    thread.start()
    while not started.exists():
        time.sleep(0.02)
    execution.stop()
    assert execution.record.status == "Stopping"
    thread.join(timeout=20)
    assert execution.record.status == "Stopped"
    assert statuses(execution.record) == {"Quick": "Succeeded", "Slow": "Stopped"}
    go.touch()
    record = plain.run(steps, former=execution.record)
    assert (record.status, record.arn) == ("Succeeded", execution.record.arn)
    assert (plain.root / "count").read_text() == "x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"ProcessingResources": {"ClusterConfig": {"InstanceCount": 0}}},
            "InstanceCount: 0 is not a positive whole number",
        ),
        ({"AppSpecification": {"ImageUri": "i:1"}}, "image 'i:1': its entry point is unknown here"),
        (
            {"AppSpecification": {"ImageUri": "i:1", "ContainerEntrypoint": ["no-such-program"]}},
            "cannot start 'no-such-program'",
        ),
        (
            {"ProcessingInputs": [{"InputName": "x", "S3Input": {"S3Uri": "s3://b/none/", "LocalPath": "/opt/ml/x"}}]},
            "No S3 objects found",
        ),
        (
            {"ProcessingInputs": [{"InputName": "x", "S3Input": {"S3Uri": "/local", "LocalPath": "/opt/ml/x"}}]},
            "'/local' is not an s3:// URI",
        ),
        (
            {"ProcessingInputs": [{"InputName": "x", "S3Input": {"S3Uri": "s3://gone/x", "LocalPath": "/opt/ml/x"}}]},
            "NoSuchBucket",
        ),
        ({"ProcessingInputs": [{"InputName": "x", "DatasetDefinition": {}}]}, "only S3Input is supported here"),
    ],
)
def test_invalid_request_is_a_client_error(plain, change, message):
    plain.put("s3://b/in/a.txt", "a")
    step = processing("Bad", "pass")
    step["Arguments"] |= change
    record = plain.run([step])
    assert record.status == "Failed"
    assert record.steps[0].failure.startswith("ClientError: ")
    assert message in record.steps[0].failure


def test_prefix_is_the_beginning_of_a_key_and_an_object_keeps_its_name(plain):
    plain.put("s3://b/data/train/a.txt", "a")
    plain.put("s3://b/data/train2/b.txt", "b")
    plain.put("s3://b/data/single.txt", "s")
    for uri, expected in (
        ("s3://b/data/train/", ["a.txt"]),
        ("s3://b/data/train", ["a.txt", "b.txt"]),
        ("s3://b/data/single.txt", ["single.txt"]),
    ):
        out = f"s3://b/out-{len(uri)}"
        record = plain.run([processing("Up", COPY, inputs=[("data", uri, "FullyReplicated")], outputs=[("out", out)])])
        assert record.status == "Succeeded", record.steps[0].failure
        assert [Path(key).name for key in plain.keys(out)] == expected


def test_record_is_saved_and_described_like_in_the_service(plain):
    record = plain.run([processing("A", "pass")])
    (kept,) = plain.history.newest_first("words")
    assert kept == record
    assert set(kept.steps[0].describe()) == {
        "StepName", "StepDisplayName", "StartTime", "EndTime", "StepStatus", "AttemptCount", "Metadata",
    }  # fmt: skip


def test_python_is_the_python_that_runs_the_emulator(plain):
    code = "import sys; print('executable', sys.executable)"
    record = plain.run([processing("A", code)])
    assert f"executable {sys.executable}" in plain.log(record, "A")
