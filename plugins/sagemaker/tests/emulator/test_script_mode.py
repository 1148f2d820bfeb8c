"""Script mode of the framework images: arguments and entry points as the training toolkit builds them."""

import json
import tarfile
import threading

import pytest
from mlops_sagemaker.emulator.faults import StepFault
from mlops_sagemaker.emulator.jobs.common import JobPlace, make_hosts
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers, can_mount
from mlops_sagemaker.emulator.jobs.script_mode import script_command, script_environment, to_arguments
from mlops_sagemaker.emulator.jobs.training import run_training
from mlops_sagemaker.emulator.objects import FolderObjects
from mlops_sagemaker.service.uris import S3Uri

PRINT_PYTHON = "import json, os, sys; print(json.dumps({'args': sys.argv[1:], 'cwd': os.getcwd().split('/')[-1]}))\n"
PRINT_SHELL = '#!/bin/sh\nfor each in "$@"; do printf \'[%s]\' "$each"; done; echo\n'


@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        ({"flag": True, "off": False}, ["--flag", "True", "--off", "False"]),
        ({"b": 1, "a": 2, "B": 3}, ["-B", "3", "-a", "2", "-b", "1"]),
        ({"sizes": {"w": 2, "h": True}}, ["--sizes", "h=True,w=2"]),
        ({"layers": [1, "x"]}, ["--layers", "[1, 'x']"]),
        ({"nothing": None, "empty": ""}, ["--empty", "", "--nothing", ""]),
        ({"rate": 0.1, "text": "a b"}, ["--rate", "0.1", "--text", "a b"]),
        ({"sagemaker_program": "x.py", "sagemaker_other": 1, "_tuning_objective_metric": "loss"}, []),
        ({"z": 1, "sagemaker_mpi": 2, "aa": 3}, ["--aa", "3", "-z", "1"]),
    ],
)
def test_arguments_are_those_of_the_training_toolkit(values, arguments):
    assert to_arguments(values) == arguments


class World:
    def __init__(self, root, *, has_mounts=False):
        self.objects = FolderObjects(root / "s3")
        self.root = root
        self.place = JobPlace(
            objects=self.objects,
            containers=ProcessContainers(has_mounts=has_mounts),
            work=root / "work",
            logs=root / "logs",
            execution_id="e1",
            arn_prefix="arn:aws:sagemaker:us-east-1:123456789012",
            stopped=threading.Event(),
            environment={},
            announce=lambda _: None,
        )

    def host(self):
        return make_hosts(self.place, name="job", cluster={"InstanceCount": 1, "InstanceType": "ml.m5.large"})[0]

    def pack(self, files):
        """Upload an archive with texts by path."""
        folder = self.root / "source"
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        archive = self.root / "source.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, arcname=path.name)
        self.objects.upload(archive, S3Uri.parse("s3://b/source.tar.gz"))

    def output(self, program, **values):
        """Return what a training job with these hyperparameters prints."""
        encoded = {name: json.dumps(value) for name, value in values.items()}
        source = {"sagemaker_program": json.dumps(program), "sagemaker_submit_directory": '"s3://b/source.tar.gz"'}
        request = {
            "AlgorithmSpecification": {"TrainingImage": "image:1", "TrainingInputMode": "File"},
            "HyperParameters": {**encoded, **source},
            "OutputDataConfig": {"S3OutputPath": "s3://b/models"},
            "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        }
        run_training("Train", request, self.place)
        (log,) = self.place.logs.glob("*.log")
        return log.read_text().splitlines()[-1]


@pytest.fixture(params=["mount", "rewrite"])
def world(request, tmp_path):
    if request.param == "mount" and not can_mount():
        pytest.skip("this system does not allow mount namespaces")
    return World(tmp_path, has_mounts=request.param == "mount")


@pytest.fixture
def plain(tmp_path):
    return World(tmp_path)


def test_python_program_runs_in_the_code_folder(world):
    world.pack({"train.py": PRINT_PYTHON})
    assert json.loads(world.output("train.py", b=True, epochs=3)) == {
        "args": ["-b", "True", "--epochs", "3"],
        "cwd": "code",
    }


def test_shell_script_is_run_by_the_shell_of_its_first_line(world):
    world.pack({"train.sh": PRINT_SHELL})
    assert world.output("train.sh", text="a b $HOME 'c'", epochs=3) == "[--epochs][3][--text][a b $HOME 'c']"


def test_script_in_a_subfolder_and_without_a_first_line_is_run(plain):
    plain.pack({"bin/go": "echo $1 $2\n"})
    assert plain.output("bin/go", epochs=3) == "--epochs 3"


def test_package_with_a_setup_file_is_run_as_a_module(plain):
    plain.pack({"setup.py": "", "model/__init__.py": "", "model/__main__.py": PRINT_PYTHON})
    assert json.loads(plain.output("model", x=1))["args"] == ["-x", "1"]


def test_shell_script_beside_a_setup_file_is_run_as_a_script(plain):
    plain.pack({"setup.py": "", "train.sh": PRINT_SHELL})
    assert plain.output("train.sh", x=1) == "[-x][1]"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("../train.py", "not a valid entry point"),
        ("/opt/ml/code/train.py", "not a valid entry point"),
        ("-c", "not a valid entry point"),
        ("train.py; rm -rf x", "not a valid entry point"),
        ("a/../train.py", "not a valid entry point"),
        ("missing.py", "has no file 'missing.py'"),
        ("missing.sh", "has no file 'missing.sh'"),
    ],
)
def test_entry_point_outside_of_the_source_is_refused(plain, program, words):
    plain.pack({"train.py": PRINT_PYTHON})
    with pytest.raises(StepFault, match=words):
        plain.output(program)


def test_distributed_training_is_refused_by_name(plain):
    plain.pack({"train.py": PRINT_PYTHON})
    with pytest.raises(StepFault, match="sagemaker_mpi_enabled: distributed training cannot be executed here"):
        plain.output("train.py", sagemaker_mpi_enabled=True)


def test_source_that_is_no_archive_is_refused(plain):
    path = plain.root / "text"
    path.write_text("no archive")
    plain.objects.upload(path, S3Uri.parse("s3://b/source.tar.gz"))
    with pytest.raises(StepFault, match="sagemaker_submit_directory: .* cannot be unpacked"):
        plain.output("train.py")


@pytest.mark.parametrize("source", ["/etc", "/opt/ml/../../etc", "relative"])
def test_source_outside_of_the_container_is_refused(plain, source):
    request = {"HyperParameters": {"sagemaker_program": "a.py", "sagemaker_submit_directory": json.dumps(source)}}
    with pytest.raises(StepFault, match="neither an s3:// URI nor below /opt/ml"):
        script_command(plain.place, plain.host(), request)


def test_source_in_a_channel_is_used(plain):
    host = plain.host()
    host.tree.folder("/opt/ml/input/data/code").joinpath("train.py").write_text("")
    source = '"/opt/ml/input/data/code"'
    request = {"HyperParameters": {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": source}}
    assert script_command(plain.place, host, request)[-2:] == ["python3", "train.py"]


def test_variables_are_those_of_the_training_toolkit(plain):
    hyperparameters = {
        "sagemaker_program": '"train.py"',
        "b": "true",
        "sizes": '{"w": 1}',
        "n": "null",
        "sagemaker_x": "1",
    }
    request = {
        "HyperParameters": hyperparameters,
        "InputDataConfig": [{"ChannelName": "train"}],
        "Environment": {"A": "b"},
    }
    variables = script_environment(plain.host(), request, name="job", arn="arn")
    expected = {
        "SM_HPS": '{"b":true,"n":null,"sizes":{"w":1}}',
        "SM_HP_B": "true",
        "SM_HP_SIZES": '{"w":1}',
        "SM_HP_N": "",
        "SM_USER_ARGS": '["-b","True","-n","","--sizes","w=1"]',
        "SM_USER_ENTRY_POINT": "train.py",
        "SM_MODULE_NAME": "train",
        "SM_FRAMEWORK_PARAMS": '{"sagemaker_x":1}',
        "SM_CHANNELS": '["train"]',
        "SM_CHANNEL_TRAIN": "/opt/ml/input/data/train",
        "SM_HOSTS": '["algo-1"]',
        "TRAINING_JOB_NAME": "job",
        "A": "b",
    }
    assert {name: variables[name] for name in expected} == expected
