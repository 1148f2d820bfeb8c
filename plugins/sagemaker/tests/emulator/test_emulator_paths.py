"""Names in a definition that become paths on this machine: none of them leads out of its folder."""

import json
import os

import pytest
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.execution import PipelineExecution, Surroundings
from mlops_sagemaker.emulator.faults import StepFault
from mlops_sagemaker.emulator.history import FolderHistory
from mlops_sagemaker.emulator.jobs.common import Host, exit_message
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers
from mlops_sagemaker.emulator.jobs.registration import FolderRegistrar
from mlops_sagemaker.emulator.jobs.tree import Tree
from mlops_sagemaker.emulator.objects import FolderObjects, download_prefix
from mlops_sagemaker.emulator.paths import is_inside, leaves_tree, require_entity, require_relative
from mlops_sagemaker.service.uris import S3Uri

OUT = "/opt/ml/processing/output"
TRAVERSING = [
    *("/opt/ml/processing/../..", "/opt/ml/../../etc", "/opt/ml/processing/../../../../../../tmp/x", "/opt/ml/.."),
    *("/etc", "/", "", ".", "..", "../x", "opt/ml/x", "/opt/mlx", "/opt/ml\0/x", "//opt/ml/x", "/opt/ml/./x/../.."),
]


@pytest.mark.parametrize("path", [*TRAVERSING, None, 1, ["/opt/ml"]])
def test_path_that_leaves_the_container_is_refused(tmp_path, path):
    assert not is_inside(path)
    with pytest.raises(StepFault, match="is not a path below /opt/ml"):
        Tree(tmp_path / "tree").folder(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/opt/ml", "/opt/ml/", OUT, "/opt/ml//x", "/opt/ml/..x/y..", "/opt/ml/a b/ü"])
def test_path_in_the_container_is_below_its_tree(tmp_path, path):
    assert Tree(tmp_path).folder(path).resolve().is_relative_to(tmp_path / "opt" / "ml")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", "", ".", "a/./b", "a\0", None, 3])
def test_name_that_is_not_a_relative_path_is_refused(name):
    with pytest.raises(StepFault, match="is not a relative path"):
        require_relative(name, what="item")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "-a", "a-", "a.b", "x" * 64, None, "a\n"])
def test_name_that_is_not_an_entity_is_refused(name):
    with pytest.raises(StepFault, match="ModelName"):
        require_entity(name, what="ModelName")


@pytest.mark.parametrize("key", ["../x", "a/../../x", "..", "a/..", "./a", "/a", "a//b", "a/", "", "a\0b"])
def test_key_that_leaves_its_bucket_is_neither_read_nor_written(tmp_path, key):
    objects = FolderObjects(tmp_path / "s3")
    (tmp_path / "x").write_text("outside")
    (tmp_path / "s3" / "b").mkdir(parents=True)
    with pytest.raises(StepFault):
        objects.read(S3Uri("b", key))
    with pytest.raises(StepFault):
        objects.upload(tmp_path / "x", S3Uri("b", key))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x"]


@pytest.mark.parametrize("bucket", ["..", ".", "", "a/../../..", "a\0"])
def test_bucket_that_is_not_a_folder_name_is_refused(tmp_path, bucket):
    (tmp_path / "x").write_text("outside")
    objects = FolderObjects(tmp_path / "s3")
    for use in (lambda: list(objects.keys(S3Uri(bucket, ""))), lambda: objects.read(S3Uri(bucket, "x"))):
        with pytest.raises(StepFault, match="is not a valid bucket name"):
            use()


@pytest.mark.parametrize("prefix", ["../", "../../", "a/../../", "/", "./"])
def test_prefix_that_leaves_its_bucket_lists_nothing(tmp_path, prefix):
    (tmp_path / "s3" / "b").mkdir(parents=True)
    (tmp_path / "s3" / "other").mkdir()
    (tmp_path / "s3" / "other" / "secret").write_text("x")
    assert list(FolderObjects(tmp_path / "s3").keys(S3Uri("b", prefix))) == []


class Listing:
    """Objects whose keys are those of an S3 endpoint, which can be anything."""

    def __init__(self, keys, text=""):
        self._keys, self._text = keys, text

    def keys(self, prefix):
        return iter(self._keys)

    def read(self, uri):
        return self._text.encode()

    def download(self, uri, path):
        path.write_text("x")


@pytest.mark.parametrize("key", ["in/../../x", "in/a/../../../x", "in/..", "in/./x"])
def test_object_whose_key_leaves_the_folder_is_not_downloaded(tmp_path, key):
    with pytest.raises(StepFault, match="is not a relative path"):
        download_prefix(Listing([key]), S3Uri("b", "in/"), tmp_path / "target")
    assert not list(tmp_path.rglob("x"))


def run(tmp_path, step, *, objects=None):
    """Execute a definition with one step and return its failure reason."""
    definition = parse_definition({"Version": "2020-12-01", "Steps": [step]})
    history = FolderHistory(tmp_path / "executions")
    execution = PipelineExecution(
        definition,
        arn="arn:aws:sagemaker:us-east-1:123456789012:pipeline/p/execution/e",
        pipeline="p",
        values={},
        surroundings=Surroundings(
            objects=objects or FolderObjects(tmp_path / "s3"),
            containers=ProcessContainers(has_mounts=False),
            registrar=FolderRegistrar(tmp_path / "packages"),
            history=history,
            folder=history.execution_folder("e"),
        ),
    )
    return execution.carry_out().steps[0].failure


def processing(**changes):
    source = {"S3Uri": "s3://b/in/", "LocalPath": "/opt/ml/processing/input", **changes.pop("source", {})}
    target = {"S3Uri": "s3://b/out", "LocalPath": OUT, **changes.pop("target", {})}
    arguments = {
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1}},
        "AppSpecification": {"ImageUri": "i:1", "ContainerEntrypoint": ["python3", "-c", "pass"], **changes},
        "ProcessingInputs": [{"InputName": "in", "S3Input": source}],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": target}]},
    }
    return {"Name": "Step", "Type": "Processing", "Arguments": arguments}


UP = "/opt/ml/processing/../../../../../../../out"


@pytest.mark.parametrize(
    "changes",
    [
        {"source": {"LocalPath": UP}},
        {"target": {"LocalPath": UP}},
        {"target": {"S3Uri": "s3://b/../../../out"}},
        {"target": {"S3Uri": "s3://../out"}},
        {"source": {"S3Uri": "s3://b/../../"}},
        {"ContainerEntrypoint": ["/opt/ml/../../../../../../bin/true"]},
        {"ContainerArguments": ["/opt/ml/processing/../../../../etc/passwd"]},
    ],
)
def test_step_that_names_a_path_outside_fails_and_writes_nothing(tmp_path, changes):
    place = tmp_path / "s3" / "b" / "in"
    place.mkdir(parents=True)
    (place / "a.txt").write_text("a")
    writes = ["python3", "-c", f"import pathlib; pathlib.Path('{OUT}/out').touch()"]
    failure = run(tmp_path, processing(**{"ContainerEntrypoint": writes, **changes}))
    assert failure.startswith("ClientError: ")
    assert not list(tmp_path.rglob("out"))


def test_step_that_names_its_folders_succeeds(tmp_path):
    place = tmp_path / "s3" / "b" / "in"
    place.mkdir(parents=True)
    (place / "a.txt").write_text("a")
    assert run(tmp_path, processing()) == ""


@pytest.mark.parametrize("item", ["../../../x", "/x", "a/../../x", 5, None, ""])
def test_item_of_a_manifest_that_leaves_the_folder_is_refused(tmp_path, item):
    manifest = json.dumps([{"prefix": "s3://b/"}, item])
    step = processing(source={"S3DataType": "ManifestFile"})
    failure = run(tmp_path, step, objects=Listing(["in/manifest"], manifest))
    assert "is not a relative path" in failure


@pytest.mark.parametrize("group", ["..", "../../x", "a/b", "arn:aws:sagemaker:us-east-1:1:model-package-group/.."])
def test_group_that_is_not_a_folder_name_is_refused(tmp_path, group):
    step = {"Name": "R", "Type": "RegisterModel", "Arguments": {"ModelPackageGroupName": group}}
    assert "ModelPackageGroupName" in run(tmp_path, step)
    assert not (tmp_path / "packages").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "../../x"])
def test_model_whose_name_is_not_a_file_name_is_refused(tmp_path, name):
    step = {"Name": "M", "Type": "Model", "Arguments": {"ModelName": name, "PrimaryContainer": {"Image": "i:1"}}}
    assert "ModelName" in run(tmp_path, step)
    assert not (tmp_path / "packages").exists()


@pytest.mark.parametrize("channel", ["..", ".", "../x", "a/../../../../../x"])
def test_channel_that_is_not_a_folder_name_is_refused(tmp_path, channel):
    arguments = {
        "AlgorithmSpecification": {"TrainingImage": "i:1", "ContainerEntrypoint": ["python3", "-c", "pass"]},
        "OutputDataConfig": {"S3OutputPath": "s3://b/models"},
        "ResourceConfig": {"InstanceCount": 1},
        "InputDataConfig": [{"ChannelName": channel, "DataSource": {"S3DataSource": {"S3Uri": "s3://b/in"}}}],
    }
    failure = run(tmp_path, {"Name": "T", "Type": "Training", "Arguments": arguments})
    assert f"channel '{channel}'" in failure


@pytest.mark.parametrize("program", ["../../../x.py", "../../../../../../x.py"])
def test_program_of_script_mode_outside_of_the_container_is_refused(tmp_path, program):
    arguments = {
        "AlgorithmSpecification": {"TrainingImage": "i:1"},
        "OutputDataConfig": {"S3OutputPath": "s3://b/models"},
        "ResourceConfig": {"InstanceCount": 1},
        "HyperParameters": {"sagemaker_program": program},
    }
    failure = run(tmp_path, {"Name": "T", "Type": "Training", "Arguments": arguments})
    assert "is not a valid entry point" in failure


def test_part_of_a_command_may_contain_dots_within_the_container():
    assert not leaves_tree("/opt/ml/code/../input/x")
    assert not leaves_tree("import os; os.listdir('/opt/ml/..')")
    assert leaves_tree("/opt/ml/code/../../../x")


@pytest.fixture
def host(tmp_path):
    tree = Tree(tmp_path / "tree")
    tree.folder("/opt/ml/output")
    return Host(name="algo-1", index=0, names=("algo-1",), instance_type="ml.x", tree=tree, log=tmp_path / "log")


def test_long_message_of_a_container_is_cut(host):
    host.tree.path("/opt/ml/output/message").write_text("x" * 10_000)
    assert exit_message(host, "failure", "message") == "x" * 1024


def test_pipe_in_the_place_of_a_message_does_not_block(host):
    os.mkfifo(host.tree.path("/opt/ml/output/message"))
    assert exit_message(host, "failure", "message") == ""
