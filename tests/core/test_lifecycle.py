"""The life of a run: whatever happens while its steps are carried out, the record says it, and only once."""

import errno
import json
import os
import shutil
import sqlite3
from dataclasses import dataclass, replace

import pytest

from mlops_core.api import prepare_run
from mlops_core.errors import (
    DatasetError,
    ExitCode,
    GateRejectedError,
    RunnerError,
    StepError,
    StoreError,
    UsageError,
)
from mlops_core.evaluation.evaluation_file import write_evaluation
from mlops_core.evaluation.metrics import Direction, MetricReport
from mlops_core.evaluation.proportions import proportion
from mlops_core.runners.environment import MACHINE_FACTS
from mlops_core.runners.lifecycle import Decision, Result, Run
from mlops_core.runners.lifecycle.judgement import check_agreement, evaluate_gate
from mlops_core.runners.lifecycle.new_records import new_record
from mlops_core.runners.lifecycle.registration import keep_code, register_model
from mlops_core.runners.lifecycle.results import write_run_report
from mlops_core.workspace.database import workspace_error
from mlops_core.workspace.records import DatasetRecord, RunStatus, StepRecord, StepStatus
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

DATASET = DatasetRecord(name="words", path="/data", digest="d" * 64, files=3, size_bytes=9, is_generated=True)


@dataclass
class Fetched:
    record: DatasetRecord = DATASET
    was_there: bool = True


class Recorder:
    """Keeps every event."""

    def __init__(self):
        self.events = []

    def run_started(self, record):
        self.events.append(("run_started", record.status))

    def step_started(self, name):
        self.events.append(("step_started", name))

    def step_progress(self, name, label, done, total):
        self.events.append(("step_progress", name, label, done, total))

    def step_ended(self, record):
        self.events.append(("step_ended", record.name, record.status))

    def note(self, text):
        self.events.append(("note", text))


@pytest.fixture
def store(workspace):
    with Store(workspace) as opened:
        yield opened


@pytest.fixture
def request_(toy):
    return prepare_run("TOY")


@pytest.fixture
def observer():
    return Recorder()


@pytest.fixture
def run(store, request_, observer):
    return Run(store, request_, observer=observer, runner="local")


def evaluation(tmp_path, hits, *, count=10, **notes):
    """Write an evaluation of `hits` in `count`; the gate of TOY accepts half of them."""
    folder = tmp_path / f"evaluation-{hits}"
    folder.mkdir(exist_ok=True)
    report = MetricReport(values={"acc": proportion(hits, count)}, notes={"test_set": "t", **notes})
    write_evaluation(folder, report, prepare_run("TOY").pipeline.metrics)
    return folder


def raising(error):
    def execute(*_):
        raise error

    return execute


# --- How a run ends ---------------------------------------------------------------------------------------


def test_accepted_model_is_registered_and_the_record_is_saved(run, store, observer, tmp_path):
    run.record = replace(run.record, dataset=DATASET)
    record = run.carry_out(lambda: Result(evaluation=evaluation(tmp_path, 8), model="m" * 64))
    assert (record.status, record.exit_code, record.error) == (RunStatus.ACCEPTED, 0, "")
    assert record.verdict.accepted
    assert record.model_version == 1
    assert record.alias_note == "best: version 1 is the first"
    assert record.duration_s > 0
    assert store.runs.load(record.run_id) == record
    assert json.loads((run.folder / "evaluation.json").read_text())["classification_metrics"]["acc"]["value"] == 0.8
    assert (run.folder / "config.yaml").read_text() == record.config
    version = Registry(store).version("TOY")
    assert (version.run_id, version.artifact, version.metrics) == (record.run_id, "m" * 64, {"acc": 0.8})
    assert (version.compared_by, version.direction, version.test_set) == ("acc", Direction.HIGHER, "t")
    assert (version.dataset, version.dataset_digest, version.is_generated_data) == ("words", "d" * 64, True)
    assert (version.config, version.plugin) == (record.config, record.plugin)
    assert observer.events == [("run_started", RunStatus.RUNNING)]


def test_record_of_many_steps_has_one_line_per_step_and_older_layouts_are_read(run, store):
    steps = tuple(
        StepRecord(name=f"step-{number}", status=StepStatus.DONE, key="k" * 64, because='of "a"\n', inputs={"x": "d"})
        for number in range(300)
    )
    record = replace(run.record, steps=steps, status=RunStatus.ACCEPTED)
    store.runs.save(record)
    path = store.runs.folder(record.run_id) / "run.json"
    assert json.loads(path.read_text()) == json.loads(json.dumps(record.to_json()))
    assert sum('"name": "step-' in line for line in path.read_text().splitlines()) == 300
    assert store.runs.load(record.run_id) == record
    for indent in (1, None):
        path.write_text(json.dumps(record.to_json(), indent=indent))
        assert store.runs.load(record.run_id) == record


def test_rejected_model_is_not_registered(run, store, tmp_path):
    record = run.carry_out(lambda: Result(evaluation=evaluation(tmp_path, 4), model="m" * 64))
    assert (record.status, record.exit_code) == (RunStatus.REJECTED, ExitCode.REJECTED)
    assert record.error == record.verdict.message == "Execution failed due to acc < 0.5"
    assert record.model_version is None
    assert Registry(store).versions() == ()
    assert (run.folder / "evaluation.json").is_file()
    assert store.runs.load(record.run_id).status is RunStatus.REJECTED


def test_selected_steps_without_an_evaluation_end_as_partial(run, store):
    record = run.carry_out(lambda: None)
    assert (record.status, record.exit_code, record.verdict) == (RunStatus.PARTIAL, 0, None)
    assert Registry(store).versions() == ()


@pytest.mark.parametrize(
    ("error", "code"),
    [(StepError("step 'train' failed"), 4), (DatasetError("incomplete"), 5), (RunnerError("no connection"), 4)],
)
def test_error_of_a_step_becomes_the_status_of_the_run(run, store, error, code):
    record = run.carry_out(raising(error))
    assert (record.status, record.exit_code, record.error) == (RunStatus.FAILED, code, str(error))
    assert store.runs.load(record.run_id).error == str(error)


def test_gate_of_an_engine_rejects_like_the_gate_itself(run):
    record = run.carry_out(raising(GateRejectedError("acc is too low")))
    assert (record.status, record.exit_code, record.error) == (RunStatus.REJECTED, 3, "acc is too low")


def test_full_disk_is_an_error_of_the_workspace(run, store):
    record = run.carry_out(raising(OSError(28, "No space left on device")))
    assert (record.status, record.exit_code) == (RunStatus.FAILED, ExitCode.STEP)
    assert record.error.startswith(f"workspace {store.home}: [Errno 28] No space left on device; make room")


def test_interrupted_run_is_recorded_as_stopped_before_the_interrupt_goes_on(run, store):
    with pytest.raises(KeyboardInterrupt):
        run.carry_out(raising(KeyboardInterrupt()))
    record = store.runs.load(run.run_id)
    assert (record.status, record.exit_code, record.error) == (RunStatus.STOPPED, 130, "interrupted")


def test_defect_is_recorded_and_raised(run, store):
    with pytest.raises(ZeroDivisionError):
        run.carry_out(raising(ZeroDivisionError("division by zero")))
    record = store.runs.load(run.run_id)
    assert (record.status, record.exit_code) == (RunStatus.FAILED, ExitCode.DEFECT)
    assert record.error == "ZeroDivisionError: division by zero"


def test_run_of_another_process_is_left_alone(run, store):
    with store.runs.lock(run.run_id), pytest.raises(UsageError, match="is being carried out by another process"):
        run.carry_out(lambda: None)
    assert store.runs.newest() == ()


def test_workspace_that_cannot_be_written_is_named(run, store):
    (store.home / "runs").rmdir()
    (store.home / "runs").write_text("in the way")
    with pytest.raises(StoreError, match=f"^workspace {store.home}: "):
        run.carry_out(lambda: None)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (OSError(errno.EROFS, "Read-only file system"), "it can be read, but not written"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links"), "set MLOPS_HOME"),
    ],
)
def test_only_a_full_disk_is_called_a_full_disk(store, error, advice):
    message = str(workspace_error(store.home, error))
    assert error.strerror in message
    assert advice in message
    assert ("make room" in message) is (error.errno == errno.ENOSPC)


def test_a_workspace_that_was_removed_meanwhile_is_said_to_be_gone(store):
    shutil.rmtree(store.home)
    assert "has disappeared" in str(workspace_error(store.home, sqlite3.OperationalError("disk I/O error: vnode")))
    assert "has disappeared" in str(workspace_error(store.home, FileNotFoundError(errno.ENOENT, "No such file", "x")))


@pytest.mark.parametrize("error", [RunnerError("endpoint.log cannot be read"), FileNotFoundError(errno.ENOENT, "gone")])
def test_an_error_in_a_workspace_that_was_removed_meanwhile_says_why(store, error):
    def fail(harm):
        with Store(store.home):
            harm()
            raise error

    with pytest.raises(type(error)):
        fail(lambda: None)
    with pytest.raises(StoreError, match=f"workspace {store.home} has disappeared") as found:
        fail(lambda: shutil.rmtree(store.home))
    assert found.value.__cause__ is error


def test_run_that_can_no_longer_be_saved_still_says_how_it_ended(run, store, tmp_path):
    def execute():
        store.close()
        raise StepError("step 'train' failed")

    record = run.carry_out(execute)
    assert (record.status, record.exit_code, record.error) == (RunStatus.FAILED, 4, "step 'train' failed")


def test_resumed_run_keeps_its_id_and_adds_its_duration(store, request_, observer):
    first = Run(store, request_, observer=observer, runner="local").carry_out(raising(StepError("x")))
    earlier = replace(first, duration_s=100.0)
    run = Run(store, replace(request_, resumed=earlier), observer=observer, runner="local")
    record = run.carry_out(lambda: None)
    assert (record.run_id, record.created) == (first.run_id, first.created)
    assert 100 < record.duration_s < 200
    assert record.status is RunStatus.PARTIAL
    assert [summary.run_id for summary in store.runs.newest()] == [first.run_id]


# --- Data set, verdict, registration ----------------------------------------------------------------------


@pytest.mark.parametrize(("was_there", "status"), [(True, StepStatus.REUSED), (False, StepStatus.DONE)])
def test_fetched_data_set_is_part_of_the_record(run, store, observer, was_there, status):
    run.begin()

    def fetch(progress):
        progress("words", 1, 3)
        return Fetched(was_there=was_there)

    assert run.fetch(fetch).record is DATASET
    assert run.record.dataset == DATASET
    assert store.runs.load(run.run_id).dataset == DATASET
    assert observer.events[1:] == [
        ("step_started", "fetch"),
        ("step_progress", "fetch", "words", 1, 3),
        ("step_ended", "fetch", status),
    ]


def test_fetching_ends_with_its_duration_and_the_digest_of_the_data_set(run, observer, monkeypatch):
    ended = []
    monkeypatch.setattr(observer, "step_ended", ended.append)
    run.begin()
    run.fetch(lambda _: Fetched(was_there=False))
    (step,) = ended
    assert step.outputs == {"dataset": DATASET.digest}
    assert 0 <= step.duration_s < 60


def test_code_is_kept_once_and_nothing_is_left_of_the_work(store, request_):
    installed = request_.use_case.installed
    digest = keep_code(store, installed)
    assert (store.artifacts.path(digest) / "code" / "mlops_toy" / "plugin.py").is_file()
    assert keep_code(store, installed) == digest
    assert list(store.work.iterdir()) == []


def test_code_that_cannot_be_read_is_not_kept(store, request_, monkeypatch):
    monkeypatch.setattr("mlops_core.use_cases.model_code.find_plugin_code", raising(OSError("unreadable")))
    assert keep_code(store, request_.use_case.installed) == ""
    assert list(store.work.iterdir()) == []


def test_data_set_that_cannot_be_fetched_fails_the_step(run, observer):
    def fetch(_progress):
        raise DatasetError("data set 'words' is incomplete")

    with pytest.raises(DatasetError):
        run.fetch(fetch)
    assert observer.events == [("step_started", "fetch"), ("step_ended", "fetch", StepStatus.FAILED)]
    assert run.record.dataset is None


def test_evaluation_is_copied_where_the_user_wants_it(store, request_, observer, tmp_path):
    target = tmp_path / "artifacts" / "here"
    run = Run(store, replace(request_, artifacts_dir=target), observer=observer, runner="local")
    run.carry_out(lambda: Result(evaluation=evaluation(tmp_path, 4), model="m" * 64))
    assert (target / "evaluation.json").is_file()
    assert ("note", f"the evaluation was copied to {target}") in observer.events
    assert not list(tmp_path.glob("artifacts/*.json"))


def test_model_is_registered_only_when_the_engine_registered_it_too(run, store, tmp_path):
    record = run.carry_out(
        lambda: Result(
            evaluation=evaluation(tmp_path, 8),
            model="m" * 64,
            check_registration=raising(RunnerError("not registered")),
        )
    )
    assert (record.status, record.error) == (RunStatus.FAILED, "not registered")
    assert Registry(store).versions() == ()
    assert record.verdict.accepted


@pytest.mark.parametrize(
    ("hits", "decision", "error"),
    [
        (8, Decision(is_accepted=True), ""),
        (8, Decision(is_accepted=False, advice="look"), "the engine's condition came out False, the gate itself True"),
        (4, Decision(is_accepted=True), "the engine's condition came out True, the gate itself False"),
        (4, Decision(is_accepted=False), "Execution failed due to acc < 0.5"),
        (4, Decision(is_accepted=False, message="Execution failed due to acc"), "Execution failed due to acc < 0.5"),
        (4, Decision(is_accepted=False, message="too bad"), "the engine rejected the model with 'too bad', the gate"),
    ],
)
def test_decision_of_an_engine_must_agree_with_the_gate(run, store, tmp_path, hits, decision, error):
    record = run.carry_out(lambda: Result(evaluation=evaluation(tmp_path, hits), model="m" * 64, decision=decision))
    assert record.error.startswith(error)
    assert bool(record.error) is bool(error)
    is_agreed = not error or error.startswith("Execution")
    assert record.status is ((RunStatus.REJECTED if error else RunStatus.ACCEPTED) if is_agreed else RunStatus.FAILED)
    assert len(Registry(store).versions()) == (0 if error else 1)


def test_disagreement_ends_with_the_advice_of_the_engine(request_, tmp_path):
    _, verdict = evaluate_gate(request_.pipeline, evaluation(tmp_path, 8), {"q_acc": 0.5})
    check_agreement(verdict, Decision(is_accepted=True, message="ignored when accepted"))
    with pytest.raises(RunnerError, match="they must agree; nothing was registered$"):
        check_agreement(verdict, Decision(is_accepted=False))
    with pytest.raises(RunnerError, match="they must agree; look at the account$"):
        check_agreement(verdict, Decision(is_accepted=False, advice="look at the account"))


def test_gate_uses_the_numeric_parameters_of_the_run(request_, tmp_path):
    folder = evaluation(tmp_path, 8)
    report, verdict = evaluate_gate(request_.pipeline, folder, {"q_acc": 0.9, "title": "no number"})
    assert report.values["acc"].value == 0.8
    assert not verdict.accepted
    assert verdict.clauses[0].threshold == 0.9
    assert evaluate_gate(request_.pipeline, folder, {"q_acc": 0.8})[1].accepted
    with pytest.raises(StepError):
        evaluate_gate(request_.pipeline, tmp_path, {"q_acc": 0.5})


@pytest.mark.parametrize("hits", [None, 4])
def test_model_without_an_accepting_verdict_can_never_be_registered(store, request_, tmp_path, hits):
    record = new_record(request_, runner="local")
    report = MetricReport(values={})
    if hits is not None:
        report, verdict = evaluate_gate(request_.pipeline, evaluation(tmp_path, hits), request_.parameters)
        record = replace(record, verdict=verdict)
    with pytest.raises(AssertionError):
        register_model(store, record, pipeline=request_.pipeline, artifact="m", report=report, compute=None)
    assert Registry(store).versions() == ()


def test_model_of_an_unknown_data_set_is_registered_without_it(store, request_, tmp_path):
    report, verdict = evaluate_gate(request_.pipeline, evaluation(tmp_path, 8), request_.parameters)
    record = replace(new_record(request_, runner="local"), verdict=verdict)
    report = replace(report, notes={})
    record = register_model(store, record, pipeline=request_.pipeline, artifact="m", report=report, compute=None)
    version = Registry(store).version("TOY", record.model_version)
    assert (version.dataset, version.dataset_digest, version.is_generated_data, version.test_set) == ("", "", False, "")


# --- The record and the report --------------------------------------------------------------------


def test_new_record_holds_everything_that_explains_the_run(request_):
    record = new_record(replace(request_, seed=7), runner="somewhere")
    assert (record.use_case, record.plugin, record.runner) == ("TOY", "mlops-toy 0.1.0", "somewhere")
    assert (record.status, record.seed, record.parameters) == (RunStatus.RUNNING, 7, {"q_acc": 0.5})
    assert record.config == request_.config.to_yaml()
    assert record.pipeline == request_.pipeline.to_json()
    assert [step.name for step in record.steps] == ["preprocess", "train", "evaluate"]
    assert all(step.status is StepStatus.PENDING for step in record.steps)
    assert record.environment.keys() - set(MACHINE_FACTS) == {"mlops-usecases"}
    assert {"python", "platform", "cores", "library settings"} <= record.environment.keys()
    assert record.environment["platform"] == "-".join(os.uname()[index] for index in (0, 2, 4))
    assert record.created.endswith("+00:00")
    assert new_record(request_, runner="local").run_id != record.run_id
    day, time, suffix = record.run_id.split("-")
    assert (len(day), len(time), len(suffix)) == (8, 6, 6)


def test_environment_names_the_packages_of_the_steps(request_):
    steps = tuple(replace(step, packages=("pytest", "no-such-package")) for step in request_.pipeline.steps)
    record = new_record(replace(request_, pipeline=replace(request_.pipeline, steps=steps)), runner="local")
    assert record.environment["pytest"] == pytest.__version__
    assert record.environment["no-such-package"] == "not installed"


def test_report_that_cannot_be_written_is_noted(run, store):
    notes = []
    write_run_report(store, "no-such-run", note=notes.append)
    assert len(notes) == 1
    assert notes[0].startswith("the report of run no-such-run was not written: no run 'no-such-run'")
    run.carry_out(lambda: None)
    write_run_report(store, run.run_id, note=notes.append)
    assert len(notes) == 1
    assert (run.folder / "report.html").is_file()
