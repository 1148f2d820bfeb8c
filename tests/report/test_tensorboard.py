"""Logs for TensorBoard, read back by a decoder of their own and, where it is named, by TensorBoard itself."""

import os
import struct
import subprocess
import zlib

import pytest
import yaml
from click.testing import CliRunner

import mlops_core
from mlops_core.cli import cli
from mlops_core.errors import StoreError
from mlops_core.evaluation.confusion import ConfusionMatrix
from mlops_core.evaluation.evaluation_file import read_evaluation
from mlops_core.report.tensorboard.confusion_picture import confusion_picture
from mlops_core.report.tensorboard.encoding import crc32c, float_field, varint
from mlops_core.report.tensorboard.events import scalar_event, session_start_event, text_event
from mlops_core.workspace.store import Store

READER = os.environ.get("MLOPS_TEST_TENSORBOARD_PYTHON")


def unmask(value):
    value = (value - 0xA282EAD8) & 0xFFFFFFFF
    return (value >> 17 | value << 15) & 0xFFFFFFFF


def records(data):
    while data:
        (length,) = struct.unpack_from("<Q", data)
        (length_crc,) = struct.unpack_from("<I", data, 8)
        content = data[12 : 12 + length]
        (crc,) = struct.unpack_from("<I", data, 12 + length)
        assert (unmask(length_crc), unmask(crc)) == (crc32c(data[:8]), crc32c(content))
        yield content
        data = data[16 + length :]


def fields(message):
    """Yield number and value of each field; nested messages stay bytes."""

    def read_varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    position = 0
    while position < len(message):
        tag = read_varint()
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            yield number, read_varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or read_varint()
        raw = message[position : position + size]
        position += size
        yield number, struct.unpack("<d" if kind == 1 else "<f", raw)[0] if kind in (1, 5) else raw


def scalars(path):
    """Return (tag, step) -> value of an event file."""
    found = {}
    for event in map(dict, map(fields, records(path.read_bytes()))):
        if 5 in event:
            value = dict(fields(dict(fields(event[5]))[1]))
            if 2 in value:
                found[value[1].decode(), event.get(2, 0)] = value[2]
    return found


@pytest.fixture
def trained(workspace, toy):
    record = mlops_core.run("TOY", workspace=workspace, overrides=["training.behaviour=history"])
    return workspace / "runs" / record.run_id / "tensorboard", record


def write_logs(workspace, *arguments):
    return CliRunner().invoke(cli, ["--workspace", str(workspace), "runs", "tensorboard", *arguments])


def test_check_sums_are_those_of_the_reference():
    # RFC 3720, appendix B.4
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_numbers_are_encoded_as_protocol_buffers():
    assert varint(0) == b"\0"
    assert varint(-1) == b"\xff" * 9 + b"\x01"
    assert dict(fields(float_field(2, 1e300)))[2] == float("inf")


def test_run_writes_curves_metrics_and_hyperparameters(trained):
    folder, record = trained
    (training,) = folder.glob("training/*tfevents*")
    (validation,) = folder.glob("validation/*tfevents*")
    (whole,) = folder.glob("*tfevents*")
    assert scalars(training) == {("loss", 1): 1.0, ("loss", 2): 0.5, ("loss", 3): pytest.approx(1 / 3, rel=1e-6)}
    assert scalars(validation)["loss", 2] == 1.0
    measured = scalars(whole)
    accuracy = read_evaluation(folder.parent, declared(record)).values["acc"].value
    assert measured["metrics/acc", 0] == pytest.approx(accuracy, rel=1e-6)
    values = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert values["training.behaviour"] == "history"
    assert values["seed"] == record.seed
    assert values["param.q_acc"] == record.parameters["q_acc"]


def declared(record):
    return [mlops_core.Metric.from_json(metric) for metric in record.pipeline["metrics"]]


def test_times_lie_within_the_training(trained):
    folder, record = trained
    (training,) = folder.glob("training/*tfevents*")
    times = [dict(fields(event))[1] for event in records(training.read_bytes())]
    assert times == sorted(times)
    assert times[-1] - times[1] <= record.step("train").duration_s


def test_run_without_training_curves_has_metrics_only(workspace, toy):
    record = mlops_core.run("TOY", workspace=workspace)
    folder = workspace / "runs" / record.run_id / "tensorboard"
    assert len(list(folder.rglob("*tfevents*"))) == 1


def test_logs_of_runs_are_collected_and_written_again(trained, workspace, tmp_path):
    folder, record = trained
    target = tmp_path / "logs"
    for _ in range(2):
        outcome = write_logs(workspace, record.run_id, "latest", "--to", str(target))
        assert (outcome.exit_code, outcome.stdout) == (0, f"{target / record.run_id}\n")
    names = [sorted(p.relative_to(x) for p in x.rglob("*")) for x in (folder, target / record.run_id)]
    assert names[0] == names[1]
    assert sorted(p.name for p in target.iterdir()) == [record.run_id]


def test_folder_of_something_else_is_kept(trained, workspace, tmp_path):
    _, record = trained
    mine = tmp_path / "logs" / record.run_id
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("mine")
    error = write_logs(workspace, "--to", str(tmp_path / "logs")).exception
    assert isinstance(error, StoreError)
    assert "holds no hparams.yaml, so it is kept" in str(error)
    assert (mine / "thesis.txt").read_text() == "mine"


def test_damaged_history_leaves_the_other_logs(trained, workspace):
    folder, record = trained
    with Store(workspace) as store:
        history = store.artifacts.path(record.step("train").outputs["model"]) / "history.csv"
    history.chmod(0o644)
    history.write_text("epoch,loss\n1,much\n")
    assert write_logs(workspace, "latest").exit_code == 0
    assert [path.parent.name for path in folder.rglob("*tfevents*")] == ["tensorboard"]


def test_confusion_matrix_is_a_picture():
    matrix = ConfusionMatrix(classes=("a", "b"), counts=((10, 0), (5, 5)))
    png, side = confusion_picture(matrix)
    assert side == 64
    assert struct.unpack(">II", png[16:24]) == (64, 64)
    start = png.index(b"IDAT") + 4
    pixels = zlib.decompress(png[start:])
    line = [pixels[at] for at in (1, 33)], [pixels[40 * 65 + at] for at in (1, 33)]
    assert line == ([255, 0], [128, 128])


@pytest.mark.parametrize("count", [1, 1024, 1025, 2500])
def test_picture_of_many_classes_stays_small(count):
    counts = tuple(tuple(int(row == column) for column in range(count)) for row in range(count))
    _, side = confusion_picture(ConfusionMatrix(classes=tuple(map(str, range(count))), counts=counts))
    assert side <= 1024


def test_hostile_names_are_one_record_each():
    list(records(scalar_event("a\ud800\n", 1.0, step=-1, wall_time=0.0)))
    list(records(text_event("t", "|" * 100_000, wall_time=0.0)))
    list(records(session_start_event({"k": "v" * 10, "b": True, "n": float("nan")}, name="x", wall_time=0.0)))


@pytest.mark.slow_suite
@pytest.mark.skipif(not READER, reason="MLOPS_TEST_TENSORBOARD_PYTHON names no Python with tensorboard")
def test_tensorboard_reads_every_log(trained):
    folder, _ = trained
    code = (
        "import sys\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
        "for name in sys.argv[1:]:\n"
        "    logs = EventAccumulator(name); logs.Reload(); tags = logs.Tags()\n"
        "    print([(tag, [(e.step, round(e.value, 4)) for e in logs.Scalars(tag)]) for tag in tags['scalars']])\n"
        "    print([(t, logs.SummaryMetadata(t).plugin_data.plugin_name) for t in tags['tensors']])\n"
    )
    done = subprocess.run(
        [READER, "-c", code, folder / "training", folder], capture_output=True, text=True, check=True, timeout=120
    )
    training, _, whole, tensors = done.stdout.splitlines()
    assert training == "[('loss', [(1, 1.0), (2, 0.5), (3, 0.3333)])]"
    assert "('metrics/acc', " in whole
    assert "('_hparams_/session_start_info', 'hparams')" in tensors
