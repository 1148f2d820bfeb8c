"""The container of a step as a real process with its own root and the arguments of a compiled definition."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from mlops_sagemaker.emulator.functions import resolve

from mlops_core.datasets.digests import tree_manifest

SCRIPT = Path(__file__).parents[3] / "entrypoints" / "run_step.py"
DEFAULTS = {"ExecutionRole": "r", "ArtifactBucket": "b", "StepImage": "i"}


class Parameters:
    def __init__(self, definition, values):
        self.values = {item["Name"]: item.get("DefaultValue") for item in definition.data["Parameters"]}
        self.values |= {**DEFAULTS, **values}

    def parameters(self):
        return self.values


@pytest.fixture
def container(tmp_path):
    """Return a function that runs the container of a step and returns the completed process."""

    def start(definition, name, *, root, code=0, change=lambda arguments: arguments, entry=None, **values):
        step = next(step for step in definition.data["Steps"] if step["Name"] == name)
        arguments = step["Arguments"]
        command = arguments.get("AppSpecification") or arguments["AlgorithmSpecification"]
        texts = change(resolve(command["ContainerArguments"], Parameters(definition, values)))
        program = entry or [sys.executable, *command["ContainerEntrypoint"][1:]]
        done = subprocess.run(
            [*program, *texts],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "MLOPS_CONTAINER_ROOT": str(root)},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return start


def words(folder):
    folder.mkdir(parents=True)
    (folder / "words.csv").write_text("\n".join(f"{'x' * n},{'long' if n > 6 else 'short'}" for n in range(1, 13)))


def copy_tree(source, target):
    target.mkdir(parents=True)
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


def pack(source, target):
    target.parent.mkdir(parents=True)
    with tarfile.open(target, "w:gz") as archive:
        for path in source.iterdir():
            archive.add(path, path.name)


@pytest.fixture
def chain(container, tmp_path):
    """Return a function that runs three steps, moves files like the service, and returns the roots."""

    def run(definition, *, code=0, **values):
        roots = {name: tmp_path / name for name in ("preprocess", "train", "evaluate")}
        words(roots["preprocess"] / "processing" / "input" / "dataset")
        container(definition, "preprocess", root=roots["preprocess"], **values)
        features = roots["preprocess"] / "processing" / "output" / "features"
        copy_tree(features, roots["train"] / "input" / "data" / "features")
        container(definition, "train", root=roots["train"], **values)
        copy_tree(features, roots["evaluate"] / "processing" / "input" / "features")
        pack(roots["train"] / "model", roots["evaluate"] / "processing" / "input" / "model" / "model.tar.gz")
        container(definition, "evaluate", root=roots["evaluate"], code=code, **values)
        return roots

    return run


def test_chain_of_containers_writes_the_same_files_as_a_local_run(chain, compiled, tmp_path, workspace):
    import mlops_core

    roots = chain(compiled())
    data = tmp_path / "local"
    words(data)
    record = mlops_core.run("TOY", overrides=[f"dataset.path={data}"], workspace=workspace)
    local = {f"{step.name}.{output}": digest for step in record.steps for output, digest in step.outputs.items()}
    output = roots["evaluate"] / "processing" / "output"
    executed = {
        "preprocess.features": roots["preprocess"] / "processing" / "output" / "features",
        "train.model": roots["train"] / "model",
        "evaluate.predictions": output / "predictions",
        "evaluate.evaluation": output / "evaluation",
    }
    assert {name: tree_manifest(folder).digest for name, folder in executed.items()} == local
    verdict = json.loads((output / "gate" / "evaluation.json").read_text())["verdict"]
    assert verdict == record.verdict.to_json()
    assert (roots["evaluate"] / "output" / "message").read_text() == "accepted: every clause of the gate is met"
    assert not (roots["evaluate"] / "output" / "failure").exists()
    assert not (roots["evaluate"] / "mlops").exists()


def test_evaluation_of_a_rejected_model_succeeds_and_writes_the_verdict(chain, compiled):
    roots = chain(compiled("training.bias=100"), q_acc=0.9)
    gate = json.loads((roots["evaluate"] / "processing" / "output" / "gate" / "evaluation.json").read_text())
    assert gate["verdict"]["accepted"] is False
    assert gate["classification_metrics"]["acc"]["usable"] == 1
    assert (roots["evaluate"] / "output" / "message").read_text() == "Execution failed due to acc < 0.9"


def test_threshold_out_of_range_rejects_with_the_message_of_a_local_run(chain, compiled):
    roots = chain(compiled(), q_acc=2.0)
    message = (roots["evaluate"] / "output" / "message").read_text()
    assert "Execution failed: parameter q_acc: 2.0 is not a number from 0 to 1" in message


@pytest.mark.parametrize("count", [1, 3])
def test_merged_output_does_not_depend_on_the_number_of_shards(container, compiled, tmp_path, count):
    definition = compiled(f"features.scale={count}")
    parts = tmp_path / "s3"
    hosts = [f"algo-{index + 1}" for index in range(count)]
    for host in hosts:
        root = tmp_path / host
        words(root / "processing" / "input" / "dataset")
        (root / "config").mkdir()
        (root / "config" / "resourceconfig.json").write_text(
            json.dumps({"current_host": host, "hosts": list(reversed(hosts))})
        )
        container(definition, "preprocess", root=root)
        features = root / "processing" / "output" / "features"
        for path in features.rglob("*.txt"):
            target = parts / path.relative_to(features)
            target.parent.mkdir(parents=True, exist_ok=True)
            assert not target.exists()
            target.write_bytes(path.read_bytes())
    if count > 1:
        root = tmp_path / "merge"
        words(root / "processing" / "input" / "dataset")
        (root / "processing" / "input").joinpath("features.parts").symlink_to(parts)
        container(definition, "preprocess-merge", root=root)
        parts = root / "processing" / "output" / "features"
    assert sorted(path.name for path in parts.iterdir()) == [f"{number:03d}.txt" for number in range(12)]


def test_failing_step_writes_its_reason_and_no_output(container, compiled, tmp_path):
    features = tmp_path / "input" / "data" / "features"
    features.mkdir(parents=True)
    definition = compiled("training.behaviour=raise")
    done = container(definition, "train", root=tmp_path, code=4)
    for name in ("failure", "message"):
        assert (tmp_path / "output" / name).read_text().startswith("step 'train' failed: ZeroDivisionError")
    assert "Traceback" in done.stdout
    assert not list((tmp_path / "model").glob("*"))


def test_timeout_of_a_step_is_enforced_in_the_container(container, compiled, tmp_path):
    (tmp_path / "input" / "data" / "features").mkdir(parents=True)
    definition = compiled("training.behaviour=sleep")  # times out after 3 s, no retries
    container(definition, "train", root=tmp_path, code=4)
    assert "timed out after 3 s" in (tmp_path / "output" / "failure").read_text()


def test_output_of_a_step_is_the_log_of_the_container(container, compiled, tmp_path):
    (tmp_path / "input" / "data" / "features").mkdir(parents=True)
    assert "behaviour normal" in container(compiled(), "train", root=tmp_path).stdout


def test_run_step_script_accepts_the_arguments_of_a_definition(container, compiled, tmp_path):
    (tmp_path / "input" / "data" / "features").mkdir(parents=True)
    container(compiled(), "train", root=tmp_path, entry=[sys.executable, str(SCRIPT)])
    assert (tmp_path / "model" / "model.txt").read_text() == "6.0"
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, "usage: run_step.py REQUEST.json" in done.stderr) == (1, True)


@pytest.mark.representatives(3)
@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda texts: [*texts, "--sed=1"], 4, "unknown argument '--sed=1'"),
        (lambda texts: texts[:-1], 4, "the request in the command's arguments is damaged"),
        (lambda texts: [text for text in texts if "gate-parameter" not in text], 4, "no value of the parameter q_acc"),
        (lambda texts: [f"--code={'0' * 64}", *texts[2:]], 4, "this image contains other code"),
        (lambda texts: [text.replace("q_acc=0.5", "q_acc=high") for text in texts], 2, "'high' is not a number"),
        (
            lambda texts: [text.replace("mlops-container/2", "mlops-container/9") for text in texts],
            4,
            "this image reads",
        ),
        (lambda texts: texts, 4, "input 'features' is not at"),
    ],
    ids=["flag", "piece", "parameter", "code", "value", "format", "input"],
)
def test_invalid_command_fails_with_a_one_line_message(container, compiled, tmp_path, change, code, message):
    done = container(compiled(), "evaluate", root=tmp_path, code=code, change=change)
    assert message in done.stderr.splitlines()[-1]
    assert message in (tmp_path / "output" / "failure").read_text()


def test_damaged_archive_is_reported(container, compiled, tmp_path):
    (tmp_path / "processing" / "input" / "features").mkdir(parents=True)
    model = tmp_path / "processing" / "input" / "model"
    model.mkdir()
    container(compiled(), "evaluate", root=tmp_path, code=4)
    assert "input 'model' should hold one tar.gz" in (tmp_path / "output" / "failure").read_text()
    (model / "model.tar.gz").write_bytes(b"not an archive")
    container(compiled(), "evaluate", root=tmp_path, code=4)
    assert "model.tar.gz cannot be unpacked" in (tmp_path / "output" / "failure").read_text()


def test_missing_resource_configuration_is_reported(container, compiled, tmp_path):
    words(tmp_path / "processing" / "input" / "dataset")
    container(compiled("features.scale=2"), "preprocess", root=tmp_path, code=4)
    assert "resourceconfig.json does not identify this instance" in (tmp_path / "output" / "failure").read_text()


def test_a_step_that_puts_a_pipe_in_place_of_its_progress_fails_by_name(container, compiled, tmp_path):
    definition = compiled("training.behaviour=pipe_as_progress")
    words(tmp_path / "preprocess" / "processing" / "input" / "dataset")
    container(definition, "preprocess", root=tmp_path / "preprocess")
    features = tmp_path / "preprocess" / "processing" / "output" / "features"
    copy_tree(features, tmp_path / "train" / "input" / "data" / "features")
    container(definition, "train", root=tmp_path / "train", code=4)
    message = (tmp_path / "train" / "output" / "failure").read_text()
    assert message == (
        "step 'train' failed: its file progress.jsonl is not what StepContext.progress writes: it is not a regular file"
    )
