"""`mlops plugin`, `mlops gate` and `mlops matrix` as their users meet them."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
SPECIMEN = Path(__file__).parents[1] / "zoo" / "specimen"


@pytest.fixture
def mlops(toy, workspace, call):
    def told(*arguments, code=0):
        found, out, err = call("--workspace", workspace, *arguments)
        assert found == code, out + err
        return out if not err.startswith("mlops: error") else err

    return told


def test_a_broken_rule_is_shown_with_finding_and_remedy_and_ends_with_code_6(mlops):
    out = mlops("plugin", "check", "toy", "--only", "distribution_requires_core", code=6)
    assert "use case 'TOY' (mlops-toy 0.1.0); its default configuration" in out
    assert "FAILED   distribution_requires_core: The metadata of the distribution requires mlops-usecases." in out
    assert "found: mlops-toy requires nothing, not mlops-usecases" in out
    assert "fix: add" in out
    assert "1 checks: 1 failed" in out


def test_a_distribution_is_all_its_use_cases_and_json_says_everything(mlops):
    found = json.loads(mlops("plugin", "check", "mlops-toy", "--only", "hooks_are_marked", "--json"))
    assert [(one["use_case"], one["is_good"], one["checks"][0]["status"]) for one in found] == [("TOY", True, "passed")]


def test_a_folder_need_not_be_installed(mlops):
    out = mlops("plugin", "check", SPECIMEN, "--only", "steps_succeed")
    assert "SPECIMEN" in out
    assert "1 checks: 1 passed" in out


def test_what_a_check_has_made_can_be_kept_and_is_never_written_over(mlops, tmp_path):
    mlops("plugin", "check", "TOY", "--only", "steps_succeed", "--keep", tmp_path / "kept")
    assert list((tmp_path / "kept" / "TOY").glob("execution-1/artifacts/train.model/*"))
    err = mlops("plugin", "check", "TOY", "--only", "steps_succeed", "--keep", tmp_path / "kept", code=2)
    assert "exists; name a new folder" in err


def test_a_model_that_is_not_better_than_a_constant_is_said_with_green_checks(mlops):
    only = ("plugin", "check", "TOY", "--only", "gate_rejects_a_constant_predictor", "--param", "q_acc=0.9")
    assert "warning" not in mlops(*only)
    useless = ("--set", "training.bias=100")
    out = mlops(*only, *useless)
    assert "warning: the model is not better than a constant answer: accuracy" in out
    assert "1 checks: 1 passed" in out
    (found,) = json.loads(mlops(*only, *useless, "--json"))
    assert found["is_good"]
    assert found["warnings"][0].startswith("the model is not better than a constant answer")


def test_a_capability_can_be_left_out(mlops):
    out = mlops("plugin", "check", "TOY", "--only", "killed_runs_can_be_resumed", "--without", "is_resumable")
    assert "skipped  killed_runs_can_be_resumed: declared: is_resumable = False" in out


def test_the_checks_are_listed_with_what_to_do(mlops):
    found = json.loads(mlops("plugin", "checks", "--json"))
    assert len(found) >= 60
    assert all(one["rule"] and one["fix"] for one in found)
    assert "gate_rejects_a_constant_predictor" in mlops("plugin", "checks")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["plugin", "check", "TOI"],
            2,
            "'TOI' is not an installed use case, distribution or folder; did you mean 'TOY'?",
        ),
        (
            ["plugin", "check", "TOY", "--only", "steps_suceed"],
            2,
            "no check 'steps_suceed'; did you mean 'steps_succeed'?",
        ),
        (["plugin", "check", "TOY", "--without", "is_fast"], 2, "--without is_fast: no such capability"),
        (["plugin", "check", "."], 6, "has no pyproject.toml; expected the folder of a plugin's distribution"),
        (["plugin", "new", "3D"], 2, "'3D' is not a valid name of a use case"),
        (["plugin", "new", "TOY"], 2, "use case 'TOY' (mlops-toy 0.1.0) is already installed"),
        (["plugin", "new", "X", "--kind", "video"], 2, "'video' is not one of"),
        (["matrix", "--runner", "locl"], 2, "no runner 'locl'; did you mean 'local'?"),
        (["gate", "selftest", "-u", "TOY", "--run", "latest"], 2, "no run 'latest'"),
    ],
)
def test_a_wrong_call_is_one_line(mlops, arguments, code, message):
    err = mlops(*arguments, code=code)
    assert err.startswith("mlops: error: ")
    assert message in err
    assert "Traceback" not in err


def test_a_gate_that_a_constant_predictor_passes_fails_its_selftest(mlops):
    found = json.loads(mlops("gate", "selftest", "-u", "TOY", "--json", code=6))
    statuses = {one["canary"]: one["status"] for one in found["canaries"]}
    assert found["gate"] == "acc >= q_acc"
    assert statuses["gate_rejects_a_constant_predictor"] == "failed"
    assert statuses["gate_accepts_a_perfect_oracle"] == "passed"
    assert len(statuses) == 11


def test_a_gate_that_is_strict_enough_passes_its_selftest(mlops):
    out = mlops("gate", "selftest", "-u", "TOY", "--param", "q_acc=0.9")
    assert out.count("pass ") == 11


def test_the_selftest_can_use_the_predictions_of_a_run(mlops):
    mlops("run", "-u", "TOY", "--param", "q_acc=0.9")
    out = mlops("gate", "selftest", "-u", "TOY", "--run", "latest")
    assert out.count("pass ") == 11


def test_the_matrix_is_a_table_and_a_page(mlops, workspace):
    out = mlops("matrix", "-u", "TOY", "--runner", "local")
    assert "TOY       local   accepted  acc=1    -" in out
    page = (workspace / "matrix.html").read_text(encoding="utf-8")
    assert re.search(r'<span class="badge good">.*?accepted</span>', page)
    assert "http" not in page.replace("https://", "http", 0).split("<body>")[1]


def test_a_use_case_that_cannot_be_loaded_is_a_broken_row_and_no_end(mlops, tmp_path, monkeypatch):
    info = tmp_path / "site" / "mlops_broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlops-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mlops.usecases]\nBROKEN = package_that_is_not_there\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], str(info.parent)]))
    monkeypatch.syspath_prepend(str(info.parent))
    found = json.loads(mlops("matrix", "-u", "BROKEN", "-u", "TOY", "--runner", "local", "--json", code=6))
    assert [(cell["use_case"], cell["status"]) for cell in found] == [("BROKEN", "broken"), ("TOY", "accepted")]
    assert "package_that_is_not_there" in found[0]["message"]
