"""The command line as a user meets it: output, exit codes, one line for each error."""

import json
import math
import subprocess
import sys

import pytest

from mlops_core.cli.output import print_json

MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


@pytest.fixture
def mlops(toy, workspace, call):
    def told(*arguments, code=0, **environ):
        found, out, err = call("--workspace", workspace, *arguments, **environ)
        assert found == code, err
        return out + err if code else out

    return told


def test_help_and_list_import_nothing_heavy(toy):
    code = (
        "import sys; from mlops_core.cli import _exit_code; _exit_code([{!r}]);"
        "heavy = {{'numpy', 'tensorflow', 'pydantic', 'boto3', 'yaml', 'rich', 'mlops_toy'}};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for word in ("--help", "list"):
        done = subprocess.run([sys.executable, "-c", code.format(word)], capture_output=True, text=True, check=True)
        assert done.stderr == "[]\n"


def test_a_run_from_the_environment_and_what_it_left(mlops):
    out = mlops("run", USECASE_NAME="toy")
    assert "generated data" in out
    assert "pass  acc >= q_acc" in out
    assert "accepted in" in out
    runs = json.loads(mlops("runs", "list", "--json"))
    assert [run["status"] for run in runs] == ["accepted"]
    record = json.loads(mlops("runs", "show", "latest", "--json"))
    assert record["verdict"]["accepted"] is True
    assert "behaviour normal" in mlops("runs", "logs", "--step", "train")
    models = json.loads(mlops("models", "list", "--json"))
    assert (models[0]["version"], models[0]["status"], models[0]["metrics"]) == (
        1,
        "PendingManualApproval",
        {"acc": 1.0},
    )
    shown = json.loads(mlops("models", "show", "-u", "toy", "--json"))
    assert shown["dataset_digest"] == record["dataset"]["digest"]
    assert shown["is_generated_data"] is True


def test_a_plan_says_what_would_run_and_why(mlops):
    assert "is not in the workspace" in mlops("plan", "-u", "TOY")
    mlops("run", "-u", "TOY")
    planned = {item["step"]: item for item in json.loads(mlops("plan", "-u", "TOY", "--json"))}
    assert {item["action"] for item in planned.values()} == {"reuse"}
    planned = {
        item["step"]: item for item in json.loads(mlops("plan", "-u", "TOY", "--set", "training.bias=1", "--json"))
    }
    assert planned["preprocess"]["action"] == "reuse"
    assert (planned["train"]["action"], planned["train"]["reason"]) == (
        "run",
        "changed: config training.bias: 0.0 -> 1.0",
    )
    assert planned["evaluate"]["action"] == "maybe"


def test_fetch_does_only_that(mlops, workspace):
    assert "words: fetched, generated data, 1 file" in mlops("fetch", "-u", "TOY")
    assert "already complete" in mlops("fetch", "-u", "TOY")
    assert json.loads(mlops("runs", "list", "--json")) == []


def test_describe_shows_steps_parameters_metrics_gate_and_data(mlops):
    data = json.loads(mlops("describe", "-u", "TOY", "--json"))
    assert [step["name"] for step in data["steps"]] == ["train", "preprocess", "evaluate"]
    text = mlops("describe", "-u", "TOY")
    for word in ("q_acc", "classification_metrics.acc", "acc >= q_acc", "generated"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "-u", "TOYY"], 2, "no use case 'TOYY'; did you mean 'TOY'?"),
        (["run"], 2, "no use case: give --usecase NAME or set USECASE_NAME"),
        (["runn"], 2, "no command 'runn'; did you mean 'run'?"),
        (["run", "-u", "TOY", "--set", "training.bais=1"], 2, "training.bais: unknown key; did you mean 'bias'?"),
        (["run", "-u", "TOY", "--param", "q_acc=2"], 2, "parameter q_acc: 2.0 is not a number from 0 to 1"),
        (["run", "-u", "TOY", "--param", "q_acc"], 2, "is not NAME=VALUE"),
        (
            ["run", "-u", "TOY", "--set", "training.bias=100", "--param", "q_acc=1"],
            3,
            "Execution failed due to acc < 1",
        ),
        (["run", "-u", "TOY", "--set", "training.behaviour=raise"], 4, "step 'train' failed: ZeroDivisionError"),
        (["run", "-u", "TOY", "--set", "dataset.path=/nowhere"], 5, "dataset.path: no folder /nowhere"),
        (["run", "-u", "TOY", "--set", "dataset.path=s3://b/x"], 5, "s3://b/x is an address; expected a folder or an"),
        (["run", "-u", "TOY", "--set", "dataset.path=https://m:pw@h/x"], 5, "https://<redacted>@h/x is an address"),
        (["run", "-u", "TOY", "--set", "dataset.path=file:///a/b"], 5, "write the path alone: /a/b"),
        (["runs", "show", "x"], 2, "no run 'x'"),
        (["models", "show", "-u", "TOY"], 2, "no registered model of 'TOY'"),
    ],
)
def test_an_error_is_one_line_and_has_its_exit_code(mlops, arguments, code, message):
    err = mlops(*arguments, code=code)
    assert "Traceback" not in err
    assert "mlops: error: " in err
    assert message in err.splitlines()[-1] + err.splitlines()[-2 if len(err.splitlines()) > 1 else -1]


def test_an_unusable_workspace_is_named(toy, tmp_path):
    (tmp_path / "file").touch()
    done = subprocess.run(
        [*MLOPS, "--workspace", str(tmp_path / "file" / "x"), "runs", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "set MLOPS_HOME to another folder" in done.stderr


def test_a_container_executes_the_same_step(toy, tmp_path):
    """`entrypoints/run_step.py` does with a request what a local worker does."""
    from pathlib import Path

    from mlops_core.steps.context import StepRequest
    from mlops_core.use_cases.manager import load_use_case

    use_case = load_use_case("TOY")
    step = use_case.pipeline(use_case.load_config().model).step("preprocess")
    for name in ("in", "out", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "words.csv").write_text("xx,short\n")
    request = StepRequest(
        use_case="TOY",
        step=step,
        config={"features": {"scale": 1}},
        parameters={},
        seed=0,
        inputs={"dataset": tmp_path / "in"},
        outputs={"features": tmp_path / "out"},
        scratch=tmp_path / "scratch",
    )
    (tmp_path / "request.json").write_text(json.dumps(request.to_json()))
    script = Path(__file__).parents[2] / "entrypoints" / "run_step.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "request.json")], check=True)
    assert (tmp_path / "out" / "000.txt").read_text() == "2 short"
    result = json.loads((tmp_path / "result.json").read_text())
    assert result.pop("observed")["opened"] > 0
    assert result == {"exit_code": 0, "error": "", "warnings": []}


def test_why_explains_a_step_with_old_and_new_values(ran, mlops):
    mlops("run", "-u", "TOY", "--set", "training.bias=0.5")
    assert "changed: config training.bias: 0.0 -> 0.5" in mlops("why", "latest", "train")
    assert "reused" in mlops("why", "latest", "preprocess")
    assert "did you mean 'train'" in mlops("why", "latest", "trian", code=2)


def test_a_plan_knows_what_changed_besides_inputs_that_are_still_to_come(ran, mlops):
    arguments = ("--force", "preprocess", "--set", "training.bias=1", "--json")
    planned = {item["step"]: item for item in json.loads(mlops("plan", "-u", "TOY", *arguments))}
    assert planned["preprocess"]["replaces"]
    assert planned["train"]["action"] == "run"
    assert planned["train"]["reason"].startswith("changed: config training.bias: 0.0 -> 1.0; and preprocess.features")
    assert planned["evaluate"]["action"] == "maybe"


def test_a_failed_run_prints_the_command_that_resumes_it(mlops):
    err = mlops("run", "-u", "TOY", "--set", "training.behaviour=raise", code=4)
    hint = next(line for line in err.splitlines() if line.startswith("to resume: mlops "))
    run_id = hint.rsplit(" ", 1)[1]
    mlops("run", "--resume", run_id, code=4)
    shown = json.loads(mlops("runs", "show", run_id, "--json"))
    assert {step["name"]: step["status"] for step in shown["steps"]}["preprocess"] == "reused"


def test_models_are_approved_aliased_rolled_back_and_exported(ran, mlops, tmp_path):
    mlops("run", "-u", "TOY", "--set", "training.bias=0.1")
    mlops("models", "approve", "-u", "TOY", "1", "--why", "checked")
    mlops("models", "alias", "-u", "TOY", "production", "1", "--why", "first")
    mlops("models", "alias", "-u", "TOY", "production", "2", "--why", "second")
    mlops("models", "rollback", "-u", "TOY", "production", "--why", "worse")
    models = {item["version"]: item for item in json.loads(mlops("models", "list", "--json"))}
    assert models[1]["status"] == "Approved"
    assert models[1]["aliases"] == ["best", "production"]
    history = json.loads(mlops("models", "history", "-u", "TOY", "--json"))
    assert [entry["why"] for entry in history if entry["subject"] == "alias production"] == ["first", "second", "worse"]
    mlops("models", "export", "-u", "TOY", "production", str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "mlops-model.json").read_text())["version"] == 1


def test_predict_prints_classes_with_scores_from_the_registered_artifact_alone(ran, mlops, tmp_path):
    names = [tmp_path / "aa", tmp_path / "aaaaaaaaa"]
    for name in names:
        name.touch()
    answers = json.loads(mlops("predict", "-u", "TOY", "--model", "best", "--json", *map(str, names)))
    assert [answer["scores"] for answer in answers] == [{"long": 0.0, "short": 1.0}, {"long": 1.0, "short": 0.0}]
    assert "no file" in mlops("predict", "-u", "TOY", str(tmp_path / "none"), code=5)


def test_a_file_that_cannot_be_used_does_not_keep_the_others_from_an_answer(ran, mlops, tmp_path):
    names = [tmp_path / name for name in ("aa", "b.bad", "aaaaaaaaa", "c.bad")]
    for name in names:
        name.touch()
    told = mlops("predict", "-u", "TOY", *map(str, names), code=5)
    for word in ("short", "long", "b.bad: no word", "c.bad: no word", "2 of 4 files cannot be used"):
        assert word in told
    assert told.count("no word") == 2


def test_a_run_says_how_its_model_stands_now_and_a_rejected_one_gets_no_alias(mlops):
    assert "version 1, PendingManualApproval" in mlops("run", "-u", "TOY")
    refusal = mlops("models", "reject", "1", "-u", "TOY", "--why", "no", code=2)
    assert "cannot be rejected while it is 'best'" in refusal
    moved = mlops("models", "reject", "1", "-u", "TOY", "--why", "no", "--move-aliases")
    assert "alias best: 1 -> nothing" in moved
    assert "every version of model 'TOY' was rejected" in mlops("predict", "-u", "TOY", __file__, code=2)
    assert "version 1, Rejected" in mlops("run", "-u", "TOY")
    assert "version 1, Rejected" in mlops("runs", "show", "latest")
    told = mlops("models", "alias", "production", "1", "-u", "TOY", "--why", "x", code=2)
    assert "version 1 was rejected; approve it before" in told


def test_best_follows_an_approval_and_not_a_run_of_a_model_that_nobody_approved(mlops):
    mlops("run", "-u", "TOY", "--set", "training.bias=-6", "--param", "q_acc=0.1")
    mlops("models", "approve", "1", "-u", "TOY", "--why", "checked")
    assert "best: stays at version 1, which is approved" in mlops("run", "-u", "TOY")
    assert "best: moved from version 1 to 2" in mlops("models", "approve", "2", "-u", "TOY", "--why", "checked")


@pytest.mark.parametrize(
    "words",
    [
        ("models", "list"),
        ("models", "history"),
        ("runs", "list"),
        ("deployments", "list"),
        ("drift", "alarms"),
        ("drift", "proposals"),
        ("gc", "--dry-run"),
    ],
    ids=" ".join,
)
def test_a_list_of_a_use_case_that_does_not_exist_is_refused(ran, mlops, words):
    assert "TOYS" in mlops(*words, "-u", "TOYS", code=2)
    assert json.loads(mlops(*words, "-u", "toy", "--json")) is not None


def test_a_run_of_another_use_case_is_not_resumed(ran, mlops):
    assert "belongs to the use case TOY, not to AED" in mlops("run", "--resume", "latest", "-u", "AED", code=2)


def test_the_ledger_at_a_moment_takes_offsets_and_nothing_else(ran, mlops):
    later = mlops("models", "history", "-u", "TOY", "--at", "2999-01-01T00:00+02:00")
    for text in ("this time is not over", "best: version 1 since 20", "PendingManualApproval since 20", "pass  acc >="):
        assert text in later
    earlier = mlops("models", "history", "-u", "TOY", "--at", "2001-01-01")
    assert "nothing yet: the first entry is of 20" in earlier
    assert "version 1" not in earlier
    state = json.loads(mlops("models", "history", "-u", "toy", "--at", "2999-01-01", "--json"))
    assert [(alias["alias"], alias["version"], alias["verdict"]["accepted"]) for alias in state["aliases"]] == [
        ("best", 1, True)
    ]
    assert "expected a time in ISO 8601" in mlops("models", "history", "-u", "TOY", "--at", "yesterday", code=2)


def test_what_is_wrong_is_refused_before_a_run_begins(mlops):
    assert "no data set 'nope' in the catalogue of TOY;" in mlops(
        "run", "-u", "TOY", "--set", "dataset.name=nope", code=2
    )
    assert "not in the range" in mlops("run", "-u", "TOY", "--seed", "-1", code=2)
    assert "TOY" not in mlops("runs", "list")


def test_a_listener_that_goes_does_not_stop_a_run(toy, workspace):
    command = [*MLOPS, "--workspace", str(workspace), "run", "-u", "TOY"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        running.stderr.close()
        assert "accepted in" in running.stdout.read()
    assert running.returncode == 0


def test_json_is_strict_whatever_the_numbers_and_names_are(capsys):
    print_json({"values": [math.nan, math.inf, 1.5], "name": "caf\udce9"})
    assert json.loads(capsys.readouterr().out) == {"values": [None, None, 1.5], "name": "caf\udce9"}


def test_gc_and_doctor_say_what_they_found(ran, mlops):
    assert "would remove 0 runs, 0 artifacts" in mlops("gc", "--dry-run")
    assert "every artifact was read" in mlops("doctor")


def test_a_model_is_exported_as_the_usage_says(ran, mlops, tmp_path):
    assert "[MODEL] FOLDER" in mlops("models", "export", "--help")
    for number, arguments in enumerate(([], ["best"], ["1"])):
        folder = tmp_path / f"model-{number}"
        assert f"exported to {folder}" in mlops("models", "export", "-u", "TOY", *arguments, str(folder))
        assert json.loads((folder / "mlops-model.json").read_text())["version"] == 1
        assert (folder / "model.txt").is_file()
    assert "exists" in mlops("models", "export", "-u", "TOY", str(tmp_path / "model-0"), code=2)
    assert "no version or alias '7'" in mlops("models", "export", "-u", "TOY", "7", str(tmp_path / "x"), code=2)
    assert "[MODEL] FOLDER" in mlops("models", "export", "-u", "TOY", "1", "2", "3", code=2)
    mlops("models", "export", "-u", "TOY", code=2)


def test_the_evaluation_is_copied_by_the_runner_of_this_machine(mlops, tmp_path):
    for number, options in enumerate(([], ["--runner", "local"])):
        folder = tmp_path / "out" / str(number)
        mlops("run", "-u", "TOY", "--artifacts-dir", str(folder), *options)
        assert json.loads((folder / "evaluation.json").read_text())["classification_metrics"]["acc"]["value"] == 1.0


def test_a_folder_for_the_evaluation_that_cannot_be_made_is_refused_before_anything_runs(mlops, tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "below", "~nosuch/x"):
        assert "--artifacts-dir" in mlops("run", "-u", "TOY", "--artifacts-dir", str(path), code=2)
    assert json.loads(mlops("runs", "list", "--json")) == []


def test_models_of_a_renamed_use_case_are_moved(ran, mlops):
    mlops("models", "approve", "-u", "TOY", "1", "--why", "good")
    assert mlops("models", "move", "toy", "toy_two") == "model TOY: version 1 belongs to TOY_TWO now\n"
    (moved,) = json.loads(mlops("models", "list", "--json"))
    assert (moved["use_case"], moved["version"], moved["status"]) == ("TOY_TWO", 1, "Approved")
    assert "the use case was renamed" in mlops("models", "history", "-u", "TOY_TWO")
    assert "no registered model of 'TOY'; did you mean 'TOY_TWO'?" in mlops("models", "move", "TOY", "X", code=2)


def test_predict_prints_no_header_without_an_answer(ran, mlops, tmp_path):
    (tmp_path / "a.bad").touch()
    for name, reason in (("absent", "no file"), ("a.bad", "no word")):
        for options in ((), ("--json",)):
            done = subprocess.run(
                [*MLOPS, "--workspace", "workspace", "predict", "-u", "TOY", *options, str(tmp_path / name)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 5
            assert reason in done.stderr
            assert not done.stdout.startswith(("file", "["))
