"""The matrix: every use case on every runner, and outputs that differ between two of them are named."""

import pytest

from mlops_core.testing.matrix.cells import exit_code, run_matrix
from mlops_core.testing.runners.installed import LOCAL, RunnerUnderTest, installed_runners
from mlops_core.use_cases.discovery import find_use_case

OTHER_SEED = """
from dataclasses import replace
from mlops_core.runners import RunnerPlugin
from mlops_core.runners.local.runner import LocalRunner

class OtherSeed(LocalRunner):
    def run(self, request):
        return super().run(replace(request, seed=request.seed + 1))

class OtherPlugin(RunnerPlugin):
    name = "other"
    runs_on_this_machine = True

    def create_runner(self, store, *, observer, jobs=None, options=None):
        return OtherSeed(store, observer=observer, jobs=jobs)

PLUGIN = OtherPlugin()
"""


@pytest.fixture
def matrix(toy, contract_processes):
    def made(*runners):
        told = []
        cells = run_matrix([find_use_case("TOY")], runners=runners, processes=contract_processes, on_cell=told.append)
        assert tuple(told) == cells
        return cells

    return made


@pytest.mark.slow
def test_a_use_case_has_equal_outputs_on_every_installed_runner(matrix):
    cells = matrix(*installed_runners())
    assert [cell.runner for cell in cells] == ["local", "azureml-local", "sagemaker-local"]
    assert [(cell.status, cell.is_same, cell.message) for cell in cells] == [
        ("accepted", None, ""),
        ("accepted", True, ""),
        ("accepted", True, ""),
    ]
    assert cells[0].metrics == cells[1].metrics == cells[2].metrics
    assert exit_code(cells) == 0


def test_a_runner_with_other_outputs_is_detected(matrix, tmp_path, monkeypatch):
    (tmp_path / "other_runner.py").write_text(OTHER_SEED)
    (tmp_path / "other-1.dist-info").mkdir()
    (tmp_path / "other-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (tmp_path / "other-1.dist-info" / "entry_points.txt").write_text("[mlops.runners]\nother = other_runner:PLUGIN\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert RunnerUnderTest(name="other") in installed_runners()
    cells = matrix(LOCAL, RunnerUnderTest(name="other"))
    assert [cell.is_same for cell in cells] == [None, False]
    assert "has other content" in cells[1].message
    assert exit_code(cells) == 6


def test_a_runner_that_cannot_be_loaded_is_a_failed_cell_without_comparison(matrix):
    cells = matrix(RunnerUnderTest(name="absent"), LOCAL)
    assert [(cell.status, cell.is_same) for cell in cells] == [("failed", None), ("accepted", None)]
    assert "no runner 'absent'" in cells[0].message
    assert exit_code(cells) == 4
