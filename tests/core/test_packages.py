"""Distributions that steps declare and that are not installed: the run is refused, doctor reports them."""

import pytest

import mlops_core
from mlops_core import PluginError, Step
from mlops_core.scaffolding import write_plugin
from mlops_core.steps.packages import missing_packages, require_packages
from mlops_core.testing.use_cases.subjects import subjects
from mlops_core.workspace.maintenance.diagnosis import examine


def step(name, *packages):
    return Step(name=name, run="m:f", outputs=("o",), packages=packages)


def test_one_of_several_alternatives_suffices():
    assert missing_packages(step("s", "pytest", "pytest-gpu", "pluggy")) == ()
    assert missing_packages(step("s", "no-such-package", "no-such-package-cpu")) == (
        "no-such-package",
        "no-such-package-cpu",
    )
    assert missing_packages(step("s", "pytestify", "pytest")) == ("pytestify",)


def test_all_that_is_missing_is_named_with_its_steps():
    with pytest.raises(PluginError) as refused:
        require_packages([step("a", "no-such-a", "pytest"), step("b", "no-such-a", "no-such-b"), step("c")])
    assert str(refused.value) == (
        "steps 'a', 'b' need no-such-a, which is not installed; step 'b' needs no-such-b, which is not installed; "
        "pip install no-such-a no-such-b"
    )


@pytest.fixture
def lacking(tmp_path):
    """A plugin whose last step needs a distribution that is not installed."""
    folder = write_plugin("LACKING", kind="tabular", into=tmp_path)
    path = folder / "mlops_lacking" / "plugin.py"
    text = path.read_text()
    assert text.count('outputs=("predictions",),') == 1
    path.write_text(
        text.replace(
            'outputs=("predictions",),', 'outputs=("predictions",),\n            packages=("no-such-package",),'
        )
    )
    with subjects(str(folder)):
        yield "LACKING"


def test_a_run_is_refused_before_anything_runs(lacking, tmp_path):
    with pytest.raises(PluginError, match="step 'evaluate' needs no-such-package, which is not installed; pip install"):
        mlops_core.run(lacking, workspace=tmp_path / "w")
    assert list((tmp_path / "w" / "runs").iterdir()) == []
    assert list((tmp_path / "w" / "datasets").iterdir()) == []


def test_a_step_that_is_not_selected_needs_nothing(lacking, tmp_path):
    record = mlops_core.run(lacking, workspace=tmp_path / "w", only=["split"])
    assert record.error == ""


def test_doctor_reports_it(lacking, tmp_path):
    (check,) = (check for check in examine(tmp_path / "w") if check.subject == f"plugin {lacking}")
    assert (check.is_good, check.fix) == (False, "pip install no-such-package")
    assert check.detail == "step 'evaluate' needs no-such-package, which is not installed"
