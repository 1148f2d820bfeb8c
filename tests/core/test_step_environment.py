"""A step declares environment variables; the user's values have precedence, and no other step sees them."""

import os

import pytest

from mlops_core import Step
from mlops_core.errors import ExitCode, PipelineError
from mlops_core.runners.local.processes import StepProcesses
from mlops_core.steps.context import StepRequest
from mlops_core.steps.keys import step_key
from mlops_core.steps.source_code import CodeIndex

CODE = """
import os

def write(context):
    names = ("SOME_NUM_THREADS", "OTHER_NUM_THREADS")
    text = " ".join(os.environ.get(name, "-") for name in names)
    (context.output("out") / "seen.txt").write_text(text)
"""


@pytest.fixture
def seen(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "shown_variables.py").write_text(CODE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))

    def execute(processes, name, environment):
        folder = tmp_path / name
        for part in ("out", "scratch"):
            (folder / part).mkdir(parents=True)
        request = StepRequest(
            use_case="X",
            step=Step(name=name, run="shown_variables:write", outputs=("out",), environment=environment),
            config={},
            parameters={},
            seed=0,
            inputs={},
            outputs={"out": folder / "out"},
            scratch=folder / "scratch",
            progress_file=folder / "progress.jsonl",
        )
        outcome = processes.run(request, folder=folder, log=folder / "log", on_progress=lambda *_: None)
        assert outcome.exit_code is ExitCode.OK, outcome.error
        return (folder / "out" / "seen.txt").read_text()

    return execute


def test_a_step_sees_the_variables_that_it_declares_and_the_users_values_first(seen, monkeypatch):
    monkeypatch.setenv("OTHER_NUM_THREADS", "7")
    declared = {"SOME_NUM_THREADS": "4", "OTHER_NUM_THREADS": "4"}
    with StepProcesses() as processes:
        assert seen(processes, "one", declared) == "4 7"
        assert seen(processes, "two", {}) == "- 7"
    monkeypatch.delenv("OTHER_NUM_THREADS")
    assert "SOME_NUM_THREADS" not in os.environ


def step(**declared):
    return Step(name="s", run="mlops_toy.steps:train", outputs=("o",), **declared)


def test_declared_variables_belong_to_the_key(toy):
    keys = [
        step_key(one, config={}, parameters={}, inputs={}, seed=0, code=CodeIndex())
        for one in (step(), step(environment={"A_NUM_THREADS": "1"}))
    ]
    changes = keys[1].changes_since(keys[0].components)
    assert [(change.component, change.old, change.new) for change in changes] == [
        ("environment A_NUM_THREADS", "", "1")
    ]


def test_declared_variables_pass_through_json_and_a_step_without_any_is_written_as_before():
    declared = step(environment={"A_NUM_THREADS": "1"})
    assert Step.from_json(declared.to_json()) == declared
    assert "environment" not in step().to_json()


@pytest.mark.parametrize("environment", [{"lower": "1"}, {"A=B": "1"}, {"": "1"}, {"A": 1}, {"A": "\0"}])
def test_variables_that_no_system_takes_are_refused(environment):
    with pytest.raises(
        PipelineError, match="step 's': environment .* is not valid; expected a name of capital letters"
    ):
        step(environment=environment)
