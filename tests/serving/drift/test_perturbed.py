"""Simulated drift of sample files that are changed on purpose: the declaration of a plugin, streams, refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlops_core import Perturbation
from mlops_core.errors import ExitCode
from mlops_core.evaluation.reference_statistics import ReferenceStatistics, write_reference
from mlops_core.serving.drift.replay.pools import SamplePool, reference_places
from mlops_core.serving.drift.scaling import reference_arrays

from .conftest import make_reference

PLUGINS = os.pathsep.join(str(Path(__file__).parents[2] / each) for each in ("serving/echo", "toy"))
QUICK = ("--days", 1, "--requests-per-hour", 5, "--windows", "10", "--runs", 8)


@pytest.fixture
def rows(normal):
    return np.round(normal(160, 2), 3)


@pytest.fixture
def simulate(tmp_path, rows):
    """Return a function that calls ``mlops drift simulate`` with a model of some settings."""

    def call(*arguments, settings="describing perturbing"):
        model = tmp_path / "model"
        model.mkdir(exist_ok=True)
        (model / "model.txt").write_text(settings)
        names = tuple(f"row {number}" for number in range(len(rows)))
        vectors = tuple(map(tuple, rows.tolist()))
        features = ("first", "second")
        write_reference(
            model, ReferenceStatistics(features=features, vectors=vectors, samples=names, source="description")
        )
        return subprocess.run(
            [sys.executable, "-c", "from mlops_core.cli import main; main()", "drift", "simulate", "-u", "ECHO",
             "--model", str(model), *map(str, (*QUICK, *arguments))],
            capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": PLUGINS, "MLOPS_HOME": str(tmp_path / "home")},
        )  # fmt: skip

    return call


def write_rows(path, rows):
    path.write_text("".join(f"{first},{second}\n" for first, second in rows.tolist()))
    return path


def test_changed_files_of_test_samples_are_found_sooner_the_larger_the_change_is(simulate, tmp_path, rows):
    folder = tmp_path / "samples"
    folder.mkdir()
    write_rows(folder / "a.csv", rows[:100])
    write_rows(folder / "b.csv", rows[100:])
    (folder / "notes.csv").write_text("unusable")
    done = simulate("--samples", folder, "--json", "--most", 150)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    table = {row["change"]: row for row in found["rows"]}
    assert set(table) == {"none", "shift 0.5 V", "shift 3 V"} | {name for name in table if name.startswith("new class")}
    assert table["shift 3 V"]["alarms"] == 8
    assert table["shift 3 V"]["median"] < table["shift 0.5 V"]["samples"] / 8
    assert table["none"]["samples"] > table["shift 3 V"]["samples"]
    assert (found["samples"], found["in_reference"]) == (150, 150)
    assert "1 files are left out, since they cannot be described" in done.stderr
    assert "notes.csv has no samples" in done.stderr


def test_without_samples_vectors_are_changed_and_the_output_says_so(simulate):
    done = simulate()
    assert done.returncode == 0, done.stderr
    assert (
        "has no run in a workspace, which would name its data set; vectors of the reference are changed" in done.stderr
    )
    assert "changed: the vectors of the reference, not sample files" in done.stdout
    assert "all features by 1 sd" in done.stdout


@pytest.mark.parametrize(
    ("settings", "arguments", "expected"),
    [
        ("describing", ("--samples", "a.csv"), (ExitCode.USAGE, "ECHO declares no changes of samples")),
        (
            "describing perturbing",
            ("--samples", "few.csv"),
            (ExitCode.DATASET, "5 usable samples in 1 files; expected"),
        ),
        (
            "describing perturbing losing",
            ("--samples", "a.csv"),
            (ExitCode.PLUGIN, "perturbation 'loss 1' of "),
        ),
        ("describing perturbing", ("--samples", "a.csv", "--vectors"), (ExitCode.USAGE, "exclude each other")),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(simulate, tmp_path, rows, settings, arguments, expected):
    code, message = expected
    write_rows(tmp_path / "a.csv", rows)
    write_rows(tmp_path / "few.csv", rows[:5])
    paths = [tmp_path / each if each.endswith(".csv") else each for each in arguments]
    done = simulate(*paths, settings=settings)
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert message in last
    assert last.startswith("mlops: error: ")


def test_a_sample_is_recognised_by_its_vector_and_not_compared_with_itself():
    source = np.random.default_rng(3)
    values = source.normal(size=(60, 3))
    reference = reference_arrays(make_reference(values, groups=[str(index // 3) for index in range(60)]))
    vectors = np.concatenate([values[[6, 40]] * (1 + 1e-7), source.normal(size=(4, 3))])
    assert reference_places(vectors, reference).tolist() == [6, 40, -1, -1, -1, -1]
    pool = SamplePool(vectors, reference)
    assert pool.in_reference == 2
    stream, is_used = pool.stream(source, 6, np.ones(60, bool), every=1)
    assert sorted(stream.tolist()) == list(range(6))
    assert np.nonzero(is_used)[0].tolist() == [6, 7, 8, 39, 40, 41]
    is_free = np.ones(60, bool)
    is_free[6:9] = False
    assert 0 not in pool.stream(source, 5, is_free, every=1)[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strengths": ()}, "expected distinct numbers"),
        ({"strengths": (1, 1)}, "expected distinct numbers"),
        ({"strengths": (float("nan"),)}, "expected finite numbers"),
        ({"name": " "}, "has no name"),
        ({"suffix": "wav"}, "not a suffix"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Perturbation(**{"name": "gain", "strengths": (1,), "write": print, **changes})
