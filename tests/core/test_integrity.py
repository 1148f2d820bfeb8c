"""Core notices what a plugin replaces in it, and a verdict is confirmed without the plugin."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pydantic
import pytest

from mlops_core import (
    Comparison,
    Direction,
    Gate,
    Metric,
    MetricReport,
    Operator,
    PluginError,
    Unit,
    proportion,
)
from mlops_core.datasets.licences import Licences
from mlops_core.evaluation.evaluation_file import write_evaluation
from mlops_core.gates import clauses, judging
from mlops_core.gates.confirmation import confirm_accepted
from mlops_core.gates.parsing import parse_condition
from mlops_core.integrity import CoreWatch

ACCURACY = Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
GATE = Gate(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold="q_acc"))
REPORT = MetricReport(values={"acc": proportion(80, 100)})


class AlwaysEqual:
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0

    def __call__(self, *arguments, **named):
        return True


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda: setattr(Gate, "evaluate", AlwaysEqual()), "mlops_core.gates.gate.Gate.evaluate"),
        (lambda: setattr(Gate, "__getattr__", lambda self, name: 1), "mlops_core.gates.gate.Gate.__getattr__"),
        (lambda: setattr(judging, "max", min), "mlops_core.gates.judging.max"),
        (lambda: setattr(clauses, "_COMPARE", {}), "mlops_core.gates.clauses._COMPARE"),
        (
            lambda: clauses._COMPARE.update({Operator.AT_LEAST: AlwaysEqual()}),
            "mlops_core.gates.clauses._COMPARE",
        ),
        (clauses._COMPARE.clear, "mlops_core.gates.clauses._COMPARE"),
        (
            lambda: setattr(Operator.holds, "__code__", (lambda self, value, threshold: True).__code__),
            "mlops_core.gates.clauses.Operator.holds",
        ),
        (lambda: setattr(Metric.fault, "__defaults__", (1,)), "mlops_core.evaluation.metrics.Metric.fault"),
    ],
)
def test_a_change_of_core_is_named_and_undone(change, name):
    watch = CoreWatch()
    assert watch.changes() == ()
    change()
    try:
        assert watch.changes() == (name,)
    finally:
        watch.restore()
    assert watch.changes() == ()


def test_a_notebook_that_replaces_input_for_each_cell_has_not_changed_core(monkeypatch):
    watch = CoreWatch()
    with monkeypatch.context() as patch:
        patch.setattr("builtins.input", lambda prompt="": "")
        assert watch.changes() == ()
        patch.setattr("builtins.max", min)
        assert watch.changes() == ("builtins.max",)


def confirmed(tmp_path, verdict, *, threshold):
    write_evaluation(tmp_path, REPORT, [ACCURACY])
    confirm_accepted(verdict, GATE, metrics=[ACCURACY], parameters={"q_acc": threshold}, evaluation=tmp_path)


def test_a_true_verdict_is_confirmed(tmp_path):
    confirmed(tmp_path, GATE.evaluate(REPORT, metrics=[ACCURACY], parameters={"q_acc": 0.7}), threshold=0.7)


@pytest.mark.parametrize("licence", ["MIT", "CC-BY-NC-3.0"])
def test_a_clause_about_a_licence_is_confirmed_with_the_recorded_licences(tmp_path, licence):
    gate = Gate(parse_condition("acc >= q_acc and dataset_licence in (MIT, Apache-2.0)"))
    arguments = {"metrics": [ACCURACY], "parameters": {"q_acc": 0.7}}
    verdict = gate.evaluate(REPORT, **arguments, licences=Licences(dataset_name="words", dataset="MIT"))
    write_evaluation(tmp_path, REPORT, [ACCURACY])
    recorded = Licences(dataset_name="words", dataset=licence)
    if licence == "MIT":
        confirm_accepted(verdict, gate, **arguments, evaluation=tmp_path, licences=recorded)
        return
    with pytest.raises(PluginError, match="is recorded as met, but"):
        confirm_accepted(verdict, gate, **arguments, evaluation=tmp_path, licences=recorded)


def test_a_verdict_under_another_threshold_than_the_recorded_one_is_refused(tmp_path):
    verdict = GATE.evaluate(REPORT, metrics=[ACCURACY], parameters={"q_acc": 0.8})
    with pytest.raises(PluginError, match=r"threshold of acc is recorded as 0\.8; gate and parameters say 1"):
        confirmed(tmp_path, verdict, threshold=1.0)


def test_a_verdict_on_another_value_than_the_evaluation_is_refused(tmp_path):
    better = MetricReport(values={"acc": proportion(90, 100)})
    verdict = GATE.evaluate(better, metrics=[ACCURACY], parameters={"q_acc": 0.7})
    with pytest.raises(PluginError, match=r"acc is recorded as 0\.9, evaluation\.json has 0\.8"):
        confirmed(tmp_path, verdict, threshold=0.7)


def test_a_verdict_with_clauses_of_its_own_is_refused(tmp_path):
    verdict = GATE.evaluate(REPORT, metrics=[ACCURACY], parameters={"q_acc": 0.7})
    with pytest.raises(PluginError, match="it has 0 clauses, the gate 1"):
        confirmed(tmp_path, replace(verdict, clauses=()), threshold=0.7)


def test_libraries_may_be_in_a_folder_of_any_name(toy, tmp_path):
    packages = Path(pydantic.__file__).parents[1]
    (tmp_path / "dist-packages").symlink_to(packages)
    code = (
        "import sys\n"
        "sys.path[:] = [sys.argv[1], *(path for path in sys.path if path != sys.argv[2])]\n"
        "from mlops_core.use_cases.manager import load_use_case\n"
        "import pydantic\n"
        "assert pydantic.__file__.startswith(sys.argv[1]), pydantic.__file__\n"
        "print(load_use_case('TOY').config_model().__name__)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "dist-packages"), str(packages)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "Config\n"
