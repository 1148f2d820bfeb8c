"""A generated plugin works as it is: ruff, mypy --strict, the complete contract and a run."""

import os
import struct
import subprocess
import sys
import wave
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mlops_core
from mlops_core import read_split
from mlops_core.errors import UsageError
from mlops_core.scaffolding import KINDS, write_plugin
from mlops_core.testing import ContractSession, all_checks
from mlops_core.testing.use_cases.subjects import subjects
from mlops_core.workspace.store import Store

ROOT = Path(__file__).parents[2]


def tool(*arguments, cwd):
    environ = {**os.environ, "MYPYPATH": str(ROOT)}  # mypy cannot follow the import finder of an editable installation
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.representatives(1)
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_plugin_passes_the_complete_contract(kind, tmp_path, contract_processes):
    folder = write_plugin("bird-calls", kind=kind, into=tmp_path)
    assert folder.name == "mlops-bird-calls"
    with subjects(str(folder)) as (subject,):
        assert subject.installed.name == "BIRD_CALLS"
        assert subject.declaration.expected_failures == {}
        session = ContractSession(subject.declaration, processes=contract_processes, folder=tmp_path / "session")
        session.folder.mkdir()
        outcomes = {outcome.check: (str(outcome.status), outcome.violations) for outcome in session.outcomes()}
    without_groups = {"groups_are_those_of_the_data_set": ("skipped", ("declared: has_groups = False",))}
    search = [name for name, check in all_checks().items() if check.phase == "search"]
    undescribed = "the predictor does not describe samples (mlops_core.DescribingPredictor)"
    assert {name: outcome for name, outcome in outcomes.items() if outcome[0] != "passed"} == {
        "log_lines_show_the_metrics": ("skipped", ("no metric declares log_regex",)),
        "predictor_describes_content": ("skipped", (undescribed,)),
        **dict.fromkeys(search, ("skipped", ("the use case has no search space",))),
        **(without_groups if kind == "tabular" else {}),
    }


@pytest.mark.representatives(1)
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_plugin_passes_ruff_and_mypy(kind, tmp_path):
    folder = write_plugin(f"FRESH_{kind.upper()}", kind=kind, into=tmp_path)
    tool("ruff", "check", ".", cwd=folder)
    tool("ruff", "format", "--check", ".", cwd=folder)
    tool("mypy", "--strict", cwd=folder)


def test_a_generated_plugin_registers_a_model(tmp_path):
    folder = write_plugin("SHELL_SIZES", kind="tabular", into=tmp_path)
    with subjects(str(folder)):
        record = mlops_core.run("SHELL_SIZES", workspace=tmp_path / "w")
    assert (str(record.status), record.error, record.model_version) == ("accepted", "", 1)


def speakers(folder, *, count):
    """Write a data set for the audio kind in which each speaker says all words."""
    (folder / "audio").mkdir(parents=True)
    rows = ["sample,group,label"]
    for number in range(count * 6):
        word = ("high", "low")[number % 2]
        level = 20000 + number  # no two files are copies
        values = [level if index // (2 if word == "high" else 12) % 2 else -level for index in range(400)]
        with wave.open(str(folder / "audio" / f"s{number}.wav"), "wb") as stream:
            stream.setparams((1, 2, 8000, 0, "NONE", ""))
            stream.writeframes(struct.pack(f"<{len(values)}h", *values))
        rows.append(f"s{number},speaker-{number // 6},{word}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_generated_plugin_splits_groups_that_have_all_classes(tmp_path):
    folder = write_plugin("SPOKEN", kind="audio", into=tmp_path)
    data = speakers(tmp_path / "data", count=5)
    with subjects(str(folder)):
        for seed in range(3):
            options = {"overrides": [f"dataset.path={data}"], "workspace": tmp_path / "w", "seed": seed}
            record = mlops_core.run("SPOKEN", **options)
            assert (str(record.status), record.error) == ("accepted", "")
            split = next(step for step in record.steps if step.name == "split").outputs["split"]
            with Store(tmp_path / "w") as store:
                rows = list(read_split(store.artifacts.path(split)))
            counts = Counter((row.part, row.label) for row in rows)
            assert counts["test", "high"] == counts["test", "low"] in (3, 6)
            assert {row.group for row in rows if row.part == "test"}.isdisjoint(
                row.group for row in rows if row.part == "train"
            )


def test_data_that_cannot_be_split_is_refused_before_the_training(tmp_path):
    folder = write_plugin("ALONE", kind="audio", into=tmp_path)
    data = speakers(tmp_path / "data", count=1)
    with subjects(str(folder)):
        record = mlops_core.run("ALONE", overrides=[f"dataset.path={data}"], workspace=tmp_path / "w")
    assert record.exit_code == 5
    assert "the test part of the split is empty (6 train, 0 test)" in record.error
    assert [str(step.status) for step in record.steps if step.name == "train"] == ["skipped"]


def test_generated_plugins_share_a_workspace_without_sharing_data(tmp_path):
    folders = [write_plugin(name, kind=kind, into=tmp_path) for name, kind in (("SEA", "image"), ("LAND", "tabular"))]
    with subjects(str(folders[0])), subjects(str(folders[1])), ThreadPoolExecutor() as pool:
        runs = [pool.submit(mlops_core.run, name, workspace=tmp_path / "w") for name in ("SEA", "LAND")]
        assert [str(run.result().status) for run in runs] == ["accepted", "accepted"]
    assert len(list((tmp_path / "w" / "datasets").glob("*-generated-????????"))) == 2


def test_a_folder_that_is_not_empty_is_not_changed(tmp_path):
    (tmp_path / "mlops-mine").mkdir()
    (tmp_path / "mlops-mine" / "work.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        write_plugin("MINE", kind="image", into=tmp_path)
    assert [path.name for path in (tmp_path / "mlops-mine").iterdir()] == ["work.txt"]


def test_generated_files_have_no_placeholders(tmp_path):
    for kind in KINDS:
        folder = write_plugin(f"A_{kind}", kind=kind, into=tmp_path)
        for path in folder.rglob("*"):
            assert "package" not in path.name
            if path.is_file():
                assert "${" not in path.read_text(encoding="utf-8"), path
