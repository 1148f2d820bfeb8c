"""The checker: each seeded fault is reported with its path and a fix; sound jobs have no faults."""

import json
import subprocess
import sys

import pytest
from azureml_tests import mutations
from mlops_azureml.checking import examine_job, examine_text
from mlops_azureml.compiler.job import compile_pipeline
from mlops_azureml.settings import load_settings

from mlops_core import api


def lines(data, folder):
    return [str(fault) for fault in examine_job(data, folder=folder).faults]


def test_sound_jobs_have_no_faults(toy, tmp_path):
    assert examine_job(mutations.sound()) == examine_job({**mutations.sound(), "name": "job-1"})
    assert examine_job(mutations.sound()).faults == ()
    assert examine_job(mutations.sound()).warnings == ()
    settings = load_settings(overrides=["steps.train.compute=serverless", "workspace.identity=managed"])
    job = compile_pipeline(api.prepare_run("TOY", overrides=["features.scale=3"]), settings)
    found = examine_text(job.to_text(), folder=tmp_path)
    assert (found.faults, found.warnings) == ((), ())


@pytest.mark.parametrize("name", mutations.ALL)
def test_seeded_fault_is_reported_with_its_path_and_a_fix(name, tmp_path):
    change, expected = mutations.ALL[name]
    data = mutations.sound()
    change(data)
    found = lines(data, tmp_path)
    assert any(expected in line for line in found), found
    assert all(line.count("; ") >= 1 and "\n" not in line for line in found)


def test_all_faults_are_reported_at_once(tmp_path):
    data, expected = mutations.sound(), []
    for name in ("unknown mode", "unknown key in settings", "command reads no input", "unknown goal", "reserved input"):
        change, part = mutations.ALL[name]
        change(data)
        expected.append(part)
    found = lines(data, tmp_path)
    assert all(any(part in line for line in found) for part in expected)
    assert len(mutations.SDK_FINDS) + len(mutations.SDK_MISSES) == 24
    assert len(mutations.ALL) >= 80


def test_exponents_that_look_like_values_are_a_warning():
    data = mutations.sound()
    data["jobs"]["train"]["sampling_algorithm"] = "random"
    space = {"type": "loguniform", "min_value": 0.0001, "max_value": 0.01}
    data["jobs"]["train"]["search_space"]["trial"] = space
    (warning,) = examine_job(data).warnings
    assert "the bounds of loguniform are exponents: values from 1 to 1.01; for values from 0.0001 to 0.01" in str(
        warning
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jobs: [", "not YAML: "),
        ("type: pipeline\njobs: {}\njobs: {a: 1}\n", "the key 'jobs' occurs twice"),
        ("- a\n", "job: is a list; expected a mapping"),
        ("", "job: is empty; expected a mapping"),
    ],
)
def test_text_that_is_no_job_has_one_fault(text, expected):
    (fault,) = examine_text(text).faults
    assert expected in str(fault)


def test_check_command_lists_faults_and_exits_with_2(tmp_path):
    data = mutations.sound()
    mutations.ALL["unknown goal"][0](data)
    (tmp_path / "job.yml").write_text(json.dumps(data))
    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "azureml", "check"]
    done = subprocess.run([*command, "job.yml", "--json"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (fault,) = json.loads(done.stdout)
    assert (fault["severity"], fault["path"]) == ("fault", "jobs.train.objective.goal")
