"""Runs on an endpoint: from the start to the verdict, and failures on the way."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("boto3", reason="the extra 'aws' is not installed")
pytest.importorskip("obstore", reason="the extra 'aws' is not installed")
pytest.importorskip("moto", reason="the extra 'test' is not installed")

from engine_tests.remote_runs import COMMAND, Notes, RemoteRuns, variables
from mlops_sagemaker.options import SageMakerOptions
from mlops_sagemaker.service.policy import Audience, actions, names_of, policy
from sagemaker_tests.faulty_proxy import Fault, FaultyProxy

from mlops_core import api
from mlops_core.errors import ConfigError, DefinitionError, ExitCode, RunnerError, UsageError
from mlops_core.workspace.records import RunStatus, StepStatus
from mlops_core.workspace.store import Store

pytestmark = pytest.mark.slow
ROLE = "arn:aws:iam::123456789012:role/Role"
BUCKET = "remote-runs"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """Yield an endpoint; the processes that it starts can import the toy use case."""
    from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

    before = os.environ.get("PYTHONPATH")
    tests = Path(__file__).parents[3] / "tests"
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (tests / "toy", tests / "tuning" / "tuned_toy")))
    with SageMakerEndpoint(tmp_path_factory.mktemp("endpoint"), max_parallel=2) as endpoint:
        endpoint.client("s3").create_bucket(Bucket=BUCKET)
        yield endpoint
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


class Service(RemoteRuns):
    """The endpoint behind a proxy, and a workspace."""

    runner = "sagemaker"
    options = SageMakerOptions

    def __init__(self, endpoint, proxy, workspace):
        super().__init__(workspace)
        self.endpoint, self.proxy = endpoint, proxy

    def client(self, name):
        return self.endpoint.client(name)

    def packages(self):
        return self.client("sagemaker").list_model_packages(ModelPackageGroupName="TOY")["ModelPackageSummaryList"]


@pytest.fixture
def service(endpoint, workspace, toy, _clean_environment):
    with (
        FaultyProxy(endpoint.url) as proxy,
        variables(
            AWS_ENDPOINT_URL=proxy.url,
            **endpoint.credential.environment(),
            AWS_REGION="us-east-1",
            AWS_MAX_ATTEMPTS="3",
            SAGEMAKER_PIPELINE_ROLE_ARN=ROLE,
            ARTIFACT_BUCKET=BUCKET,
            MLOPS_STEP_IMAGE="image:1",
        ),
    ):
        yield Service(endpoint, proxy, workspace)


S3_ACTIONS = {
    ("GET", False): "s3:GetObject",
    ("HEAD", False): "s3:GetObject",
    ("PUT", False): "s3:PutObject",
    ("DELETE", False): "s3:DeleteObject",
    ("GET", True): "s3:ListBucket",
    ("POST", True): "s3:DeleteObject",
}


def used_actions(requests):
    """Return the IAM actions of requests."""
    used = set()
    for one in requests:
        if one.target:
            service, _, name = one.target.partition(".")
            used.add(f"{'logs' if service.startswith('Logs') else 'sagemaker'}:{name}")
        else:
            used.add(S3_ACTIONS[one.method, "/" not in one.path[1:].partition("?")[0]])
    return used


def test_accepted_run_equals_a_local_run_and_needs_only_allowed_actions(service, tmp_path):
    local = api.run("TOY", workspace=service.workspace)
    service.proxy.faults = [
        Fault("POST", "SageMaker.Describe", "500", times=2),
        Fault("PUT", "words.csv", "503", times=1),
    ]
    record = service.run(artifacts_dir=tmp_path / "ml")
    assert all(fault.times == 0 for fault in service.proxy.faults)
    assert (record.status, record.exit_code, record.error) == (RunStatus.ACCEPTED, 0, "")
    assert {step.name: step.status for step in record.steps} == dict.fromkeys(
        ("preprocess", "train", "evaluate"), StepStatus.DONE
    )
    assert record.verdict == local.verdict
    evaluations = [next(s for s in each.steps if s.name == "evaluate").outputs for each in (local, record)]
    assert evaluations[0] == evaluations[1]
    assert service.observer.steps[0] == ("fetch", "started")
    assert any(note.startswith("estimate: about") for note in service.observer.notes)
    # The evaluation is in all three locations.
    wanted = (service.workspace / "runs" / local.run_id / "evaluation.json").read_bytes()
    assert (tmp_path / "ml" / "evaluation.json").read_bytes() == wanted
    published = service.client("s3").get_object(Bucket=BUCKET, Key="evaluation/build/evaluation.json")
    assert published["Body"].read() == wanted
    # The run is listed with its registered model package.
    (package,) = service.packages()
    assert record.remote.model_package == package["ModelPackageArn"]
    listed = service.mlops("runs", "list")
    assert re.search(rf"{record.run_id} +TOY +sagemaker +accepted .* package 1\n", listed)
    assert re.search(rf"{local.run_id} +TOY +local +accepted .* 1\n", listed)
    shown = service.mlops("runs", "show", record.run_id)
    assert f"model package 1, PendingManualApproval: {package['ModelPackageArn']}" in shown
    assert f"carried out by: sagemaker, {record.remote.execution}" in shown
    assert (service.workspace / "runs" / record.run_id / "report.html").stat().st_size > 1000
    assert "behaviour normal" in service.mlops("runs", "logs", record.run_id, "--step", "train")
    # Every call is allowed, and other allowed actions are needed by other tests of this module.
    from mlops_sagemaker.settings import load_settings

    settings = load_settings(overrides=[f'account.role="{ROLE}"'])
    names = names_of("TOY", settings, pipeline="TOY", region="us-east-1")
    allowed = actions(policy(names, Audience.SUBMITTER))
    used = used_actions(service.proxy.seen)
    assert used - allowed == set()
    written = {
        "sagemaker:CreatePipeline",
        "sagemaker:UpdatePipeline",
    }  # one of them, because another test may have created it
    assert used & written
    assert allowed - used - written == {
        "iam:PassRole",  # requested by the service
        "s3:DeleteObject",  # changed data sets
        "s3:ListMultipartUploadParts",  # large files
        "sagemaker:AddTags",
        "sagemaker:ListTrainingJobsForHyperParameterTuningJob",  # searches
        "sagemaker:RetryPipelineExecution",
        "sagemaker:StopPipelineExecution",
    }


def test_a_search_is_followed_trial_by_trial_and_ends_like_a_local_one(service, monkeypatch):
    folder = str(Path(__file__).parents[3] / "tests" / "tuning" / "tuned_toy")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)
    overrides = ["tuning.trials=3", "training.behaviour=fail_above"]
    local = api.run("TUNED", workspace=service.workspace, overrides=overrides)
    observer = Notes()
    record = api.run(
        "TUNED",
        overrides=overrides,
        runner="sagemaker",
        workspace=service.workspace,
        options=SageMakerOptions(),
        observer=observer,
    )
    assert (record.status, record.error) == (RunStatus.ACCEPTED, "")
    assert record.verdict == local.verdict
    assert record.step("evaluate").outputs == local.step("evaluate").outputs
    assert [record.step(f"train.trial-{index}").status for index in range(3)] == [
        local.step(f"train.trial-{index}").status for index in range(3)
    ]
    assert record.step("train.trial-2").because == "objective:acc 0.916667"
    assert "a threshold of 7.01979211345 cannot be trained" in record.step("train.trial-1").error
    assert "sagemaker:ListTrainingJobsForHyperParameterTuningJob" in used_actions(service.proxy.seen)


@pytest.mark.slow_suite
def test_training_curves_come_back_and_their_logs_are_beside_the_outputs(service):
    local = api.run("TOY", workspace=service.workspace, overrides=["training.behaviour=history"])
    record = service.run("training.behaviour=history")
    logs = [service.workspace / "runs" / run.run_id / "tensorboard" for run in (local, record)]
    shapes = [
        sorted((path.parent.name, path.stat().st_size) for path in folder.glob("*/*tfevents*")) for folder in logs
    ]
    assert shapes[0] == shapes[1]
    assert [name for name, _ in shapes[0]] == ["training", "validation"]
    execution = record.remote.execution.rpartition("/")[2]
    s3 = service.client("s3")
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"toy/executions/{execution}/tensorboard/")["Contents"]
    stored = {item["Key"].rpartition("/tensorboard/")[2]: item["Size"] for item in listed}
    written = {str(p.relative_to(logs[1])): p.stat().st_size for p in logs[1].rglob("*") if p.is_file()}
    assert stored == written
    page = (service.workspace / "runs" / record.run_id / "report.html").read_text()
    assert "validation_loss" in page


def test_rejected_model_is_not_registered_and_the_exit_code_is_3(service):
    before = len(service.packages())
    record = service.run("training.bias=100", parameters={"q_acc": "0.9"})
    assert (record.status, record.exit_code) == (RunStatus.REJECTED, ExitCode.REJECTED)
    assert record.error == "Execution failed due to acc < 0.9"
    assert record.verdict.accepted is False
    assert len(service.packages()) == before
    out = service.mlops("runs", "retry", code=ExitCode.USAGE)
    assert "was rejected; there is nothing to retry" in out


def test_failed_step_shows_the_end_of_its_log_and_is_retried(service):
    record = service.run("training.behaviour=raise")
    assert (record.status, record.exit_code) == (RunStatus.FAILED, ExitCode.STEP)
    assert record.error.startswith("step 'train' failed: ZeroDivisionError: division by zero")
    (log,) = [note for note in service.observer.notes if note.startswith("the end of the log of step 'train'")]
    assert "ZeroDivisionError: division by zero" in log
    assert Path(record.error.rpartition("log: ")[2]).read_text().count("ZeroDivisionError") >= 1
    assert ("evaluate", "skipped") in service.observer.steps
    service.proxy.seen.clear()
    out = service.mlops("runs", "retry", record.run_id, code=ExitCode.STEP)
    assert "SageMaker.RetryPipelineExecution" in {one.target for one in service.proxy.seen}
    assert "train: failed" in out


def slow_run(service, **options):
    """Start a detached run whose training sleeps, and return its record."""
    settings = ("steps.train.timeout_s=100",)
    record = service.run("training.behaviour=sleep", is_detached=True, settings_overrides=settings, **options)
    assert record.status is RunStatus.RUNNING
    return record


def test_detached_run_continues_and_can_be_listed_and_stopped(service):
    record = slow_run(service)
    assert re.search(rf"{record.run_id} .* running ", service.mlops("runs", "list"))
    assert "to start a new run" not in service.mlops("runs", "show")
    assert re.search(rf"{record.run_id} .* running ", service.mlops("runs", "list", "--offline"))
    service.proxy.faults = [Fault("POST", "SageMaker.", "drop")]
    out = service.mlops("runs", "list")
    assert f"note: run {record.run_id} is shown as of its last refresh: " in out
    assert re.search(rf"{record.run_id} .* running ", out)
    service.proxy.faults = []
    assert f"run {record.run_id}: stopped" in service.mlops("runs", "stop")
    out = service.mlops("runs", "stop", code=ExitCode.USAGE)
    assert f"run {record.run_id} has ended: stopped" in out
    with Store(service.workspace) as store:
        stopped = store.runs.load(record.run_id)
    assert (stopped.status, stopped.exit_code) == (RunStatus.STOPPED, ExitCode.STEP)
    assert stopped.error == f"the execution was stopped; to continue where it ended: mlops runs retry {record.run_id}"


def test_ctrl_c_detaches_and_prints_how_to_resume(service):
    command = [*COMMAND, "--workspace", str(service.workspace), "run", "-u", "TOY", "--runner", "sagemaker"]
    command += ["--set", "training.behaviour=sleep", "--set-sagemaker", "steps.train.timeout_s=100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "preprocess: started" in line:
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    run_id = re.search(r"run (\S+):", "".join(lines))[1]
    assert f"use mlops runs show {run_id} to see it, mlops runs stop {run_id} to stop it" in rest
    assert f"run --resume {run_id}" in rest
    assert [one["status"] for one in json.loads(service.mlops("runs", "list", "--json"))] == ["running"]
    record = service.run(resume=run_id, timeout_s=0)
    assert record.error.startswith(
        "the execution is Executing after 0 s, the limit of --timeout; it continues at the service"
    )
    assert (record.status, record.exit_code) == (RunStatus.RUNNING, ExitCode.STEP)
    service.mlops("runs", "stop", run_id, "--no-wait")


@pytest.mark.slow_suite
def test_results_that_cannot_be_fetched_are_fetched_later(service):
    service.proxy.faults = [Fault("GET", "evaluation/files", "403")]
    record = service.run()
    assert record.status is RunStatus.RUNNING
    assert "its results cannot be fetched now: " in record.error
    assert "nothing is lost: mlops runs show" in record.error
    service.proxy.faults = [Fault("GET", "evaluation.json", "cut", times=1)]
    shown = service.mlops("runs", "show", record.run_id)
    assert "pass  acc >= q_acc" in shown
    assert "PendingManualApproval" in shown
    assert service.proxy.faults[0].times == 0
    assert "accepted" in (service.workspace / "runs" / record.run_id / "report.html").read_text()


def test_lost_response_of_a_start_does_not_start_twice(service):
    before = len(_executions(service))
    service.proxy.faults = [Fault("POST", "SageMaker.StartPipelineExecution", "cut", times=1)]
    record = service.run(is_detached=True)
    assert service.proxy.faults[0].times == 0
    assert service.proxy.seen[-1].target == "SageMaker.StartPipelineExecution"
    assert record.remote.execution in {one["PipelineExecutionArn"] for one in _executions(service)}
    assert len(_executions(service)) == before + 1


def _executions(service):
    try:
        page = service.client("sagemaker").list_pipeline_executions(PipelineName="TOY", MaxResults=100)
    except Exception:  # noqa: BLE001  no pipeline yet
        return []
    return page["PipelineExecutionSummaries"]


@pytest.mark.representatives(2)
@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([("POST", "SageMaker.CreatePipeline", "400", "ExpiredTokenException")], "the credentials have expired: "),
        ([("POST", "SageMaker.DescribePipeline", "400", "AccessDeniedException")], "mlops sagemaker policy prints"),
        ([("PUT", "words.csv", "403", "")], "access denied: mlops sagemaker policy prints"),
        ([("GET", ".mlops-dataset.json", "404", "NoSuchBucket")], "bucket 'nothing-there-yet' does not exist"),
        ([("POST", "SageMaker.StartPipelineExecution", "500", "")], "injected by the proxy"),
    ],
    ids=lambda value: value[0][1] if isinstance(value, list) else "",
)
def test_refusal_of_the_service_is_one_line_and_starts_nothing(service, faults, message):
    service.client("sagemaker")
    before = len(_executions(service))
    service.proxy.faults = [Fault(method, text, kind, code=code) for method, text, kind, code in faults]
    service.client("s3").create_bucket(Bucket="nothing-there-yet")
    service.client("s3").delete_object(Bucket="nothing-there-yet", Key="train/datasets/words/.mlops-dataset.json")
    service.client("s3").delete_object(Bucket="nothing-there-yet", Key="train/datasets/words/words.csv")
    record = service.run(pipeline_name="refused", settings_overrides=('account.bucket="nothing-there-yet"',))
    assert (record.status, record.remote) == (RunStatus.FAILED, None)
    assert message in record.error
    assert "\n" not in record.error
    assert len(_executions(service)) == before


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ExpiredTokenException", "the credentials have expired: "),
        ("UnrecognizedClientException", "the credentials are not accepted: "),
        ("InvalidClientTokenId", "the credentials are not accepted: "),
    ],
)
def test_refused_credentials_leave_no_run_behind(service, code, message):
    service.proxy.faults = [Fault("*", "", "400", code=code)]
    with pytest.raises(RunnerError, match=message) as caught:
        service.run()
    assert "\n" not in str(caught.value)
    assert json.loads(service.mlops("runs", "list", "--json")) == []
    assert [one.target for one in service.proxy.seen] == ["SageMaker.DescribePipeline"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pipeline_name": "two--parts!"}, "'two--parts!' is not a valid pipeline name"),
        ({"settings_overrides": ('account.bucket="Upper_Case"',)}, "not a valid bucket name"),
        ({"settings_overrides": ('account.role="Admin"',)}, "not the ARN of a role"),
        ({"settings_overrides": ('steps.train.instance_type="ml.m5.hug"',)}, "did you mean 'ml.m5"),
        ({"settings_overrides": ('steps.train.instance_type="m5.large"',)}, "steps.train.instance_type"),
        ({"settings_overrides": ("steps.trian.spot=true",)}, "unknown step; did you mean 'train'?"),
        ({"max_cost": 0.001}, "more than --max-cost 0.001"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(next(iter(value.values()))),
)
def test_invalid_options_are_refused_before_anything_is_sent(service, options, message):
    with pytest.raises((UsageError, ConfigError, DefinitionError)) as caught:
        service.run(**options)
    assert message in str(caught.value)
    assert service.proxy.seen == []
    assert json.loads(service.mlops("runs", "list", "--json")) == []


def test_missing_name_is_refused(service):
    with (
        variables(ARTIFACT_BUCKET=""),
        pytest.raises(UsageError, match="no bucket: pass --bucket, set account.bucket"),
    ):
        service.run()


def test_definition_larger_than_100_kib_is_uploaded_to_s3(service, tmp_path):
    settings = tmp_path / "sagemaker.yaml"
    lines = "\n".join(f"      VARIABLE_{number:0200d}: {'x' * 250}" for number in range(90))
    steps = [f"  {name}:\n    environment:\n{lines}\n" for name in ("preprocess", "train", "evaluate")]
    settings.write_text("steps:\n" + "".join(steps))
    record = service.run(settings=settings, is_detached=True, pipeline_name="long")
    assert record.remote
    (put,) = [one for one in service.proxy.seen if one.method == "PUT" and "long/definitions/" in one.path]
    assert put.status == 200


def test_selection_of_steps_is_refused(service):
    with pytest.raises(UsageError, match="--from, --only, --force and --keep-going are not supported"):
        api.run("TOY", runner="sagemaker", workspace=service.workspace, only=["train"])


def test_commands_for_a_local_run_do_not_call_the_service(service):
    record = api.run("TOY", workspace=service.workspace)
    service.proxy.seen.clear()
    out = service.mlops("runs", "stop", record.run_id, code=ExitCode.USAGE)
    assert f"run {record.run_id} was carried out by this machine" in out
    service.mlops("runs", "show")
    service.mlops("runs", "list")
    assert service.proxy.seen == []


def test_local_commands_do_not_import_boto3_or_obstore(service):
    api.run("TOY", workspace=service.workspace)
    code = (
        "import sys; from mlops_core.cli import _exit_code;"
        "assert _exit_code(['--workspace', sys.argv[1], *sys.argv[2:]]) == 0;"
        "print(sorted({'boto3', 'botocore', 'obstore', 'sagemaker'} & set(sys.modules)), file=sys.stderr)"
    )
    for words in (
        ["runs", "list"],
        ["runs", "show"],
        ["runs", "logs"],
        ["sagemaker", "policy", "-u", "TOY", "--role", ROLE],
    ):
        command = [sys.executable, "-c", code, str(service.workspace), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == "[]\n", words


def test_missing_obstore_is_reported_with_the_command_to_install_it(service):
    code = "import sys; sys.modules['obstore'] = None; from mlops_core.cli import main; main()"
    command = [sys.executable, "-c", code, "--workspace", str(service.workspace)]
    command += ["run", "-u", "TOY", "--runner", "sagemaker"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.STEP
    assert "obstore cannot be imported" in done.stderr
    assert "pip install 'mlops-usecases[store]'" in done.stderr
