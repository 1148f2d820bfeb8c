"""Runs in a workspace on loopback: from the start to the verdict, and failures on the way."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("azure.identity", reason="azure-identity is not installed")
pytest.importorskip("obstore", reason="the extra 'store' is not installed")
pytest.importorskip("cryptography", reason="the extra 'emulator' is not installed")

from azureml_tests.faulty_endpoint import Fault
from engine_tests.remote_runs import COMMAND, RemoteRuns
from mlops_azureml.options import AzureMlOptions
from mlops_azureml.tracking import execution as tracking
from mlops_azureml.values.addresses import JobId

from mlops_core import api
from mlops_core.errors import ConfigError, DefinitionError, ExitCode, RunnerError, UsageError
from mlops_core.workspace.records import RunStatus, StepStatus
from mlops_core.workspace.store import Store

pytestmark = pytest.mark.slow


class Service(RemoteRuns):
    """The endpoint, and a workspace on this machine."""

    runner = "azureml"
    options = AzureMlOptions

    def __init__(self, endpoint, workspace):
        super().__init__(workspace)
        self.endpoint = endpoint

    def models(self, name="toy"):
        return self.endpoint.state.versions("models", name)

    def follow(self, record):
        with Store(self.workspace) as store:
            run = tracking.open_run(store, record, observer=self.observer)
            return run.follow(timeout_s=120)


@pytest.fixture
def service(endpoint, workspace, toy, environ):
    environ.setenv("MLOPS_STEP_IMAGE", "registry.azurecr.io/mlops:1")
    return Service(endpoint, workspace)


def fixed_job(service, record, status):
    """Let the endpoint describe the job of a run as one with this status."""
    path = JobId.parse(record.remote.execution)
    own = f"{service.endpoint.names.workspace_id}/jobs/{path.name}"
    job = {"name": path.name, "properties": {"status": status}, "systemData": {"createdAt": "2026-01-01T00:00:00Z"}}
    service.endpoint.answers[own] = lambda _: job


def submitted(service, **options):
    """Return the record of a run whose job is submitted and cancelled at once; nothing follows it."""
    record = service.run(is_detached=True, **options)
    assert record.status is RunStatus.RUNNING
    service.endpoint._executions.cancel(JobId.parse(record.remote.execution).name)
    return record


def test_accepted_run_equals_a_local_run_through_faults(service, tmp_path):
    local = api.run("TOY", workspace=service.workspace)
    before = len(service.models())
    service.endpoint.faults = [
        Fault("GET", "/jobs/", "500", times=1, after=1),
        Fault("GET", "/children", "429", times=1, retry_after="1"),
        Fault("GET", "/children", "drop", times=4, after=1),  # more than a request is repeated
        Fault("PUT", "words.csv", "503", times=1),
        Fault("PUT", "/jobs/", "drop", times=1, is_done=True),  # the job exists, and the answer is lost
    ]
    record = service.run(artifacts_dir=tmp_path / "ml")
    assert [fault.times for fault in service.endpoint.faults] == [0] * 5
    assert (record.status, record.exit_code, record.error) == (RunStatus.ACCEPTED, 0, "")
    assert {step.name: step.status for step in record.steps} == dict.fromkeys(
        ("preprocess", "train", "evaluate"), StepStatus.DONE
    )
    assert record.verdict == local.verdict
    assert record.step("evaluate").outputs == local.step("evaluate").outputs
    assert service.observer.steps[0] == ("fetch", "started")
    assert any(note.startswith("estimate: about") for note in service.observer.notes)
    assert "Azure answers again" in service.observer.notes
    # The evaluation is in all three places, and the data set is a data asset with its digest.
    wanted = (service.workspace / "runs" / local.run_id / "evaluation.json").read_bytes()
    assert (tmp_path / "ml" / "evaluation.json").read_bytes() == wanted
    folder = service.endpoint.blobs.container_folder("workspaceblobstore")
    assert (folder / "evaluation/build/evaluation.json").read_bytes() == wanted
    data = service.endpoint.state.version("data", "words", record.dataset.digest[:12])
    assert data["properties"]["dataUri"].endswith(f"datasets/words/{record.dataset.digest}/")
    assert data["properties"]["tags"]["digest"] == record.dataset.digest
    # The model is registered once, with its metrics and origin, and marked.
    assert len(service.models()) == before + 1
    version = list(service.models())[-1]
    model = service.models()[version]
    tags = model["properties"]["tags"]
    assert (tags["acc"], tags["use_case"], tags["build_id"]) == ("1.0", "TOY", "local")
    assert record.remote.model_package == model["id"]
    assert record.remote.approval == ("best" if tags["best_model"] == "true" else "registered")
    assert sum(each["properties"]["tags"]["best_model"] == "true" for each in service.models().values()) == 1
    listed = service.mlops("runs", "list")
    assert re.search(rf"{record.run_id} +TOY +azureml +accepted .* package {version}\n", listed)
    assert "behaviour normal" in service.mlops("runs", "logs", record.run_id, "--step", "train")
    assert (service.workspace / "runs" / record.run_id / "report.html").stat().st_size > 1000
    # The same again: nothing is sent, every step is reused, and the mark stays where it is.
    service.endpoint.seen.clear()
    again = service.run()
    assert {step.status for step in again.steps} == {StepStatus.REUSED}
    assert again.verdict == local.verdict
    assert service.endpoint.count("PUT", "datasets/") == 0


def test_rejected_model_is_not_registered_and_the_exit_code_is_3(service):
    before = dict(service.models())
    record = service.run("training.bias=100", parameters={"q_acc": "0.9"})
    assert (record.status, record.exit_code) == (RunStatus.REJECTED, ExitCode.REJECTED)
    assert record.error == "Execution failed due to acc < 0.9"
    assert record.verdict.accepted is False
    assert service.models() == before
    out = service.mlops("runs", "retry", code=ExitCode.USAGE)
    assert "was rejected; there is nothing to retry" in out


def test_failed_step_shows_the_end_of_its_log_and_is_retried_as_a_new_job(service):
    record = service.run("training.behaviour=raise")
    assert (record.status, record.exit_code) == (RunStatus.FAILED, ExitCode.STEP)
    assert record.error.startswith("step 'train' failed: ZeroDivisionError: division by zero")
    assert record.step("train").error.startswith("ZeroDivisionError: division by zero")
    (log,) = [note for note in service.observer.notes if note.startswith("the end of the log of step 'train'")]
    assert "ZeroDivisionError: division by zero" in log
    assert Path(record.error.rpartition("log: ")[2]).read_text().count("ZeroDivisionError") >= 1
    assert ("evaluate", "skipped") in service.observer.steps
    out = service.mlops("runs", "retry", record.run_id, code=ExitCode.STEP)
    assert "preprocess: reused" in out
    assert "train: failed" in out
    with Store(service.workspace) as store:
        retried = store.runs.load(record.run_id)
    assert re.fullmatch(rf"{re.escape(record.remote.execution)}-[0-9a-f]{{8}}", retried.remote.execution)


@pytest.mark.slow_suite
def test_search_is_followed_trial_by_trial_and_ends_like_a_local_one(service, monkeypatch):
    folder = str(Path(__file__).parents[3] / "tests" / "tuning" / "tuned_toy")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)
    overrides = ["tuning.trials=3", "training.behaviour=fail_above"]
    local = api.run("TUNED", workspace=service.workspace, overrides=overrides)
    record = service.run(*overrides, usecase="TUNED")
    assert (record.status, record.error) == (RunStatus.ACCEPTED, "")
    assert record.verdict == local.verdict
    assert record.step("evaluate").outputs == local.step("evaluate").outputs
    names = [f"train.trial-{index}" for index in range(3)]
    assert [record.step(name).status for name in names] == [local.step(name).status for name in names]
    assert record.step("train.trial-2").because == "acc 0.916667"
    assert "a threshold of 7.01979211345 cannot be trained" in record.step("train.trial-1").error
    assert record.step("train").warning == ""


@pytest.mark.slow_suite
def test_model_is_registered_by_this_machine_where_the_job_does_not(service):
    before = set(service.models("by-driver"))
    options = ('workspace.registration="driver"', 'workspace.model_name="by-driver"', 'workspace.build_id="42"')
    record = service.run(settings_overrides=options)
    assert (record.status, record.error) == (RunStatus.ACCEPTED, "")
    (version,) = set(service.models("by-driver")) - before
    model = service.models("by-driver")[version]["properties"]
    assert model["tags"]["build_id"] == "42"
    assert model["tags"]["best_model"] == "true"
    assert model["modelUri"].endswith(f"azureml/{record.run_id}_gate/accepted/")
    rejected = service.run("training.bias=100", parameters={"q_acc": "0.9"}, settings_overrides=options)
    assert rejected.status is RunStatus.REJECTED
    assert len(service.models("by-driver")) == len(before) + 1


@pytest.mark.slow_suite
def test_ctrl_c_detaches_and_the_job_can_be_followed_and_stopped(service):
    command = [*COMMAND, "--workspace", str(service.workspace), "run", "-u", "TOY", "--runner", "azureml"]
    command += ["--set", "training.behaviour=sleep", "--set-azureml", "steps.train.timeout_s=100"]
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
    assert [one["status"] for one in json.loads(service.mlops("runs", "list", "--json"))] == ["running"]
    service.endpoint.faults = [Fault("*", "/jobs/", "drop")]
    assert f"note: run {run_id} is shown as of its last refresh: " in service.mlops("runs", "list")
    service.endpoint.faults = []
    record = service.run(resume=run_id, timeout_s=0)
    assert "the limit of --timeout; it continues at the service" in record.error
    assert f"run {run_id}: stopped" in service.mlops("runs", "stop", run_id)
    assert f"run {run_id} has ended: stopped" in service.mlops("runs", "stop", run_id, code=ExitCode.USAGE)


def test_job_that_does_not_respond_is_followed_further_up_to_a_limit(service, monkeypatch):
    record = submitted(service)
    with Store(service.workspace) as store:
        run = tracking.open_run(store, record, observer=service.observer)
        fixed_job(service, record, "NotResponding")
        assert run.refresh().is_final is False
        assert service.observer.notes[-1].startswith("the job is NotResponding; a job can leave this state again")
        monkeypatch.setattr(tracking, "_DOUBTFUL_LIMIT_S", 0.0)
        with pytest.raises(RunnerError, match="the job has been NotResponding for 0 minutes; it is not followed"):
            run.refresh()
        fixed_job(service, record, "Running")
        assert run.refresh().status == "Running"
        assert service.observer.notes[-1] == "the job responds again: Running"


def test_job_that_was_deleted_ends_the_run_in_one_line(service):
    record = submitted(service)
    before = dict(service.models())
    with service.endpoint.state.lock:
        del service.endpoint.state.jobs[JobId.parse(record.remote.execution).name]
    ended = service.follow(record)
    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, ExitCode.STEP)
    name = JobId.parse(record.remote.execution).name
    assert ended.error == f"job {name} does not exist in the workspace any more: it was deleted; start a new run"
    assert service.models() == before


def test_cancelled_job_is_a_stopped_run(service):
    record = submitted(service)
    ended = service.follow(record)
    assert ended.status is RunStatus.STOPPED
    assert f"mlops runs retry {record.run_id}" in ended.error


def test_gate_that_failed_behind_an_accepting_verdict_is_a_failure_of_the_runner(service):
    record = service.run(is_detached=True)
    name = JobId.parse(record.remote.execution).name
    ended = service.endpoint.wait_for(name)
    assert ended == "Completed"
    with service.endpoint.state.lock:
        service.endpoint.state.runs[f"{name}_gate"].status = "Failed"
        service.endpoint.state.runs[name].status = "Failed"
    ended = service.follow(record)
    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, ExitCode.STEP)
    assert "the engine's condition came out False, the gate itself True: they must agree" in ended.error


@pytest.mark.representatives(3)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (("PUT", "/jobs/", "403", "AuthorizationFailed"), "access denied: injected by the test"),
        (("PUT", "/components/", "400", "ValidationError"), "ValidationError: injected by the test"),
        (("PUT", "words.csv", "403", "AuthorizationPermissionMismatch"), "'Storage Blob Data Contributor' on account"),
        (("GET", ".mlops-sources", "404", "ContainerNotFound"), "of datastore 'workspaceblobstore' does not exist"),
        (("PUT", "/data/", "503", ""), "gave up after 3 attempts"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_refusal_of_the_workspace_is_one_line_and_starts_nothing(service, fault, message):
    jobs, models = set(service.endpoint.state.jobs), dict(service.models())
    for path in service.endpoint.blobs.container_folder("workspaceblobstore").glob("datasets/words/*/words.csv"):
        path.unlink()  # it has to be sent again
    for path in service.endpoint.blobs.container_folder("workspaceblobstore").rglob(".mlops-*"):
        if path.is_file():
            path.unlink()
    with service.endpoint.state.lock:
        service.endpoint.state.assets.get("data", {}).clear()
    method, text, status, code = fault
    service.endpoint.faults = [Fault(method, text, status, code=code)]
    record = service.run()
    assert (record.status, record.remote) == (RunStatus.FAILED, None)
    assert message in record.error
    assert "\n" not in record.error
    assert set(service.endpoint.state.jobs) == jobs
    assert service.models() == models


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SUBSCRIPTION_ID", "00000000-0000-4000-8000-00000000000f", "check SUBSCRIPTION_ID"),
        ("WORKSPACE_NAME", "other", "no workspace 'other' in resource group 'mlops-local'"),
        (
            "PIPELINE_CPU_COMPUTE_NAME",
            "cpu-clusta",
            "compute 'cpu-clusta' does not exist .* did you mean 'cpu-cluster'",
        ),
        ("DATA_STORE_NAME", "nothing", "datastore 'nothing' does not exist .* it has workspaceblobstore"),
        ("AZURE_CLIENT_SECRET", "wrong", "Azure refuses the sign-in: Authentication failed: AADSTS7000215"),
        ("AZURE_CLIENT_ID", "", "(cannot sign in|not signed in) to Azure: "),
        ("AZURE_AUTHORITY_HOST", "http://127.0.0.1:9", "cannot sign in to Azure: .* check the variables AZURE_"),
        ("REQUESTS_CA_BUNDLE", "/nothing.pem", "/nothing.pem; check the address and REQUESTS_CA_BUNDLE"),
        ("MLOPS_STEP_IMAGE", "", "environment 'mlops-toy' does not exist in workspace 'mlops-local'"),
    ],
)
def test_wrong_name_or_identity_leaves_no_run_behind(service, environ, variable, value, message):
    environ.setenv(variable, value)
    jobs = set(service.endpoint.state.jobs)
    with pytest.raises(RunnerError, match=message) as caught:
        service.run()
    assert "\n" not in str(caught.value)
    assert json.loads(service.mlops("runs", "list", "--json")) == []
    assert service.endpoint.count("PUT") == 0
    assert set(service.endpoint.state.jobs) == jobs


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("azureml://datastores/nothing/paths/x/", RunnerError, "datastore 'nothing' does not exist"),
        ("azureml://datastores/workspaceblobstore/paths/../x/", UsageError, "has no '.', '..', '[?]' or '#'"),
        ("/folder/of/this/machine", UsageError, "is a path on this machine, which the service does not read"),
    ],
)
def test_mounted_data_in_no_place_of_the_workspace_leave_no_run_behind(service, environ, address, error, message):
    environ.setenv("INPUT_IMAGE_DATA_PATH", address)
    environ.setenv("INPUT_LABEL_DATA_PATH", address)
    with pytest.raises(error, match=message):
        service.run()
    assert json.loads(service.mlops("runs", "list", "--json")) == []
    assert service.endpoint.count("PUT") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings_overrides": ('workspace.datastore="Upper-Case"',)}, "workspace.datastore"),
        ({"settings_overrides": ('steps.trian.compute="gpu-cluster"',)}, "unknown step; did you mean 'train'?"),
        ({"max_cost": 0.001}, "more than --max-cost 0.001"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(next(iter(value.values()))),
)
def test_invalid_options_are_refused_before_anything_is_sent(service, options, message):
    with pytest.raises((UsageError, ConfigError, DefinitionError)) as caught:
        service.run(**options)
    assert message in str(caught.value)
    assert service.endpoint.seen == []


def test_missing_name_is_refused_with_where_to_set_it(service, environ):
    environ.delenv("SUBSCRIPTION_ID")
    with pytest.raises(UsageError, match=r"no subscription: pass --subscription, .* the variable SUBSCRIPTION_ID"):
        service.run()


def test_data_asset_with_another_content_is_refused(service):
    record = submitted(service)
    version = record.dataset.digest[:12]
    with service.endpoint.state.lock:
        asset = service.endpoint.state.version("data", "words", version)
        asset["properties"]["tags"]["digest"] = "f" * 64
    jobs = set(service.endpoint.state.jobs)
    refused = service.run()
    assert refused.status is RunStatus.FAILED
    assert f"data asset words:{version} of workspace 'mlops-local' has another content" in refused.error
    assert set(service.endpoint.state.jobs) == jobs
    with service.endpoint.state.lock:
        asset["properties"]["tags"]["digest"] = record.dataset.digest


def test_data_that_are_in_the_datastore_are_not_fetched(service, environ):
    environ.setenv("INPUT_IMAGE_DATA_PATH", "azureml://datastores/workspaceblobstore/paths/raw/images")
    environ.setenv("INPUT_LABEL_DATA_PATH", "azureml://datastores/workspaceblobstore/paths/raw/labels")
    record = submitted(service)
    assert record.dataset.path.startswith("azureml://datastores/workspaceblobstore/paths/raw/images")
    assert record.dataset.digest == ""
    assert not (service.workspace / "datasets" / "words").exists()
    assert service.endpoint.count("PUT", "datasets/") == 0
    job = service.endpoint.state.jobs[JobId.parse(record.remote.execution).name]
    assert set(job["inputs"]) >= {"input_image_data_path", "input_label_data_path"}


def test_selection_of_steps_is_refused(service):
    with pytest.raises(UsageError, match="--from, --only, --force and --keep-going are not supported"):
        api.run("TOY", runner="azureml", workspace=service.workspace, only=["train"])


def test_doctor_names_each_finding_with_a_fix(service, environ):
    out = service.mlops("doctor", "-u", "TOY", "--runner", "azureml")
    for text in (
        "signed in at https://localhost",
        "mlops-local exists",
        "container workspaceblobstore",
        "cpu-cluster: ",
    ):
        assert text in out
    assert "image registry.azurecr.io/mlops:1" in out
    assert "all 10 actions are allowed" in out
    with service.endpoint.state.lock:
        scale = service.endpoint.state.computes["gpu-cluster"]["properties"]["scaleSettings"]
    environ.setenv("PIPELINE_CPU_COMPUTE_NAME", "gpu-cluster")
    scale["minNodeCount"] = 2
    environ.delenv("MLOPS_STEP_IMAGE")
    service.endpoint.answers[f"{service.endpoint.names.workspace_id}/providers/Microsoft.Authorization/permissions"] = (
        lambda _: {"value": [{"actions": ["Microsoft.MachineLearningServices/workspaces/*/read"], "notActions": []}]}
    )
    try:
        out = service.mlops("doctor", "-u", "TOY", "--runner", "azureml", code=ExitCode.STEP)
    finally:
        scale["minNodeCount"] = 0
    flat = " ".join(out.split())
    assert "warning: 2 nodes cost money all the time" in flat
    assert "environment 'mlops-toy' does not exist in workspace 'mlops-local'" in flat
    assert "not allowed: Microsoft.MachineLearningServices/workspaces/read" in flat
    assert "AzureML Data Scientist" in flat
    environ.setenv("DATA_STORE_NAME", "nothing")
    environ.setenv("PIPELINE_CPU_COMPUTE_NAME", "nothing")
    flat = " ".join(service.mlops("doctor", "-u", "TOY", "--runner", "azureml", code=ExitCode.STEP).split())
    assert "datastore 'nothing' does not exist" in flat
    assert "az ml compute create --type amlcompute" in flat
