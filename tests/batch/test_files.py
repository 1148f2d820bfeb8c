"""``mlops predict --output``: the file does not depend on workers or interruptions, and what is refused is named."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlops_core.cli import cli
from mlops_core.serving.batch.journal import Journal


def wait_for_lines(count, process, output="out.jsonl"):
    journal = Path(f"{output}.partial") / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("nothing was written")


def test_files_of_folders_are_answered_in_order_and_faults_are_named(predict, folder):
    out = predict("in", "--workers", 2, code=5)
    assert "in/unusable.bin cannot be decoded: unusable.bin has no samples" in out
    assert "2 hidden or tool files skipped: .hidden (1), Thumbs.db (1)" in out
    documents = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    expected = [str(path.relative_to(folder.parent)) for path in sorted(folder.glob("?/*.bin"))]
    assert [each["path"] for each in documents] == [*expected, "in/rows.csv", "in/rows.csv", "in/rows.csv"]
    assert [each.get("sample") for each in documents[-3:]] == ["row 1", "row 2", "row 3"]
    assert not Path("out.jsonl.partial").exists()


@pytest.mark.slow_suite
def test_csv_holds_the_same_numbers_and_names_each_file(predict, folder):
    (folder / "unusable.bin").unlink()
    summary = json.loads(predict("in", "--json", output="out.csv"))
    assert (summary["files"], summary["samples"], summary["faults"]) == (25, 27, [])
    predict("in", "--workers", 1)
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    documents = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert len(rows) == len(documents)
    for row, document in zip(rows, documents, strict=True):
        assert (row["path"], row["sample"]) == (document["path"], document.get("sample", ""))
        assert {name: float(row[name]) for name in document["scores"]} == document["scores"]


def test_objects_have_a_line_each_and_pictures_without_any_have_none(predict, model, folder):
    (model / "model.txt").write_text("echo finding")
    for number, path in enumerate(sorted(folder.glob("?/*.bin"))):
        path.write_bytes(b"no" * (number % 3))
    predict("in", "--workers", 2, code=5)
    (folder / "2" / "23.bin").write_bytes(b"whole")
    out = predict("in", "--workers", 2, code=6, output="out.csv")
    assert "in/2/23.bin: some answers of the model are objects with boxes, and some are not; write .jsonl" in out
    documents = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    expected = [
        [each["path"], each.get("sample", ""), one["label"], one["score"], *one["box"]]
        for each in documents
        for one in each["objects"]
        if each["path"] != "in/2/23.bin"
    ]
    heading, *rows = csv.reader(Path("out.csv").read_text().splitlines())
    assert heading == ["path", "sample", "label", "score", "left", "top", "right", "bottom"]
    assert [[*row[:3], *map(float, row[3:])] for row in rows] == expected
    assert len(expected) > 10


def test_a_csv_file_that_is_continued_has_one_heading(predict, command, model, folder, held):
    (model / "model.txt").write_text("echo finding")
    (released,) = held("2/23.bin", pause_s=0.1, suffix=b"o")
    (folder / "0" / "00.bin").write_bytes(b"unusable")
    released.touch()
    predict("in", code=5, output="whole.csv")
    released.unlink()
    process = subprocess.Popen(
        command("in", "--workers", 1, output="out.csv"), env=os.environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    wait_for_lines(2, process, output="out.csv")
    process.kill()
    process.communicate()
    released.touch()
    predict("in", "--resume", code=5, output="out.csv")
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert Path("out.csv").read_text().count("path,sample,label") == 1


def test_a_call_that_was_killed_and_resumed_gives_the_same_bytes(predict, command, folder, held):
    order = [path.relative_to(folder) for path in sorted(folder.glob("?/*.bin"))]
    markers = held(order[8], order[16], order[23], pause_s=0.2)
    for marker in markers:
        marker.touch()
    predict("in", "--workers", 3, code=5)
    expected = Path("out.jsonl").read_bytes()
    Path("out.jsonl").unlink()
    journal = Path("out.jsonl.partial") / "journal.jsonl"
    for marker in markers:
        marker.unlink()
    for ending, marker in zip((signal.SIGKILL, signal.SIGINT, signal.SIGKILL), markers, strict=True):
        finished = journal.read_bytes().count(b"\n") if journal.exists() else 0
        process = subprocess.Popen(
            command("in", "--workers", 1, "--resume"), stderr=subprocess.PIPE, env=os.environ, stdout=subprocess.PIPE
        )
        wait_for_lines(finished + 1, process)
        process.send_signal(ending)
        process.communicate(timeout=30)
        assert process.returncode in (-signal.SIGKILL, 130)
        marker.touch()
    partial = Path("out.jsonl.partial")
    with (partial / "lines").open("ab") as lines, (partial / "journal.jsonl").open("ab") as journal:
        lines.write(b'{"path": "torn')
        journal.write(b'{"end": 1')
    finished = (partial / "journal.jsonl").read_bytes().count(b"\n")
    for path in sorted(folder.glob("?/*.bin"))[:finished]:
        os.utime(path)  # only their times differ; the content is compared
    out = predict("in", "--workers", 2, "--resume", code=5)
    assert f"{finished} of them by an earlier call" in out
    assert "unusable.bin has no samples" in out
    assert Path("out.jsonl").read_bytes() == expected


@pytest.fixture
def interrupted(command, folder, held):
    """A call that was killed after some files."""
    (released,) = held("2/23.bin", pause_s=0.1)
    process = subprocess.Popen(
        command("in", "--workers", 1), env=os.environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    wait_for_lines(2, process)
    process.kill()
    process.communicate()
    released.touch()
    return folder


def test_resuming_is_refused_by_name_where_something_differs(predict, interrupted, model):
    assert "out.jsonl.partial is left of an interrupted call: continue it with --resume" in predict("in", code=2)
    (model / "model.txt").write_text("echo changed")
    assert "--resume: the digest of the model is" in predict("in", "--resume", code=2)
    (model / "model.txt").write_text("echo")
    (interrupted / "0" / "000.bin").write_bytes(b"new")
    assert "in/0/000.bin is not among the files" in predict("in", "--resume", code=5)
    (interrupted / "0" / "000.bin").unlink()
    last = interrupted / "unusable.bin"
    last.rename("kept")
    assert "in/unusable.bin is gone, or not named, since" in predict("in", "--resume", code=5)
    Path("kept").rename(last)
    first = interrupted / "0" / "00.bin"
    content = first.read_bytes()
    first.write_bytes(content.replace(b"sleep", b"SLEEP"))
    os.utime(first, ns=(1, 1))
    assert "in/0/00.bin was changed since it was predicted" in predict("in", "--resume", code=5)
    first.write_bytes(content)
    for path in interrupted.glob("?/*.bin"):
        assert path.exists()
    out = predict("in", "--resume", code=5)
    assert "answers for 26 files" in out


def test_odd_names_and_what_is_no_file_are_named_and_stop_nothing(predict, folder):
    odd = os.fsdecode(b"\xff\x1b[31mred.bin")
    for name in (odd, 'b \n"odd.bin'):
        (folder / name).write_bytes(b"x")
    (folder / "broken.bin").symlink_to("/nowhere")
    os.mkfifo(folder / "pipe.bin")
    (folder / "linked.bin").symlink_to("pipe.bin")
    out = predict("in", "in/pipe.bin", "in/linked.bin", "/dev/null", "--workers", 4, code=5)
    for fault in (
        "in/broken.bin cannot be read: No such file or directory",
        "in/pipe.bin is a pipe, socket or device",
        "in/linked.bin is a pipe, socket or device",
        "/dev/null is a pipe, socket or device",
        "5 of 29 files have no answer",
    ):
        assert fault in out
    assert "\x1b" not in out
    documents = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert {each["path"] for each in documents} > {"in/\\xff\x1b[31mred.bin", 'in/b \n"odd.bin'}
    assert len(documents) == 29


def test_a_file_that_ends_its_worker_is_named_after_one_retry_and_costs_no_other(predict, folder):
    (folder / "unusable.bin").write_bytes(b"end")
    out = predict("in", "--workers", 2, code=4)
    assert "in/unusable.bin ended its worker process 2 times" in out
    assert len(Path("out.jsonl").read_bytes().splitlines()) == 27


@pytest.mark.slow_suite
def test_a_worker_that_somebody_kills_costs_nothing(command, folder):
    for path in folder.glob("?/*.bin"):
        path.write_bytes(b"sleep 0.1 " + path.name.encode())
    (folder / "unusable.bin").unlink()
    process = subprocess.Popen(command("in", "--workers", 2), env=os.environ, stderr=subprocess.PIPE)
    wait_for_lines(1, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 0, errors
    assert len(Path("out.jsonl").read_bytes().splitlines()) == 27


@pytest.mark.representatives(3)
@pytest.mark.parametrize(
    ("arguments", "output", "code", "message"),
    [
        (("empty",), "out.jsonl", 5, "no files in empty; name files, or folders that hold some"),
        (("nowhere",), "out.jsonl", 5, "no file or folder nowhere"),
        (("in",), "in/out.jsonl", 2, "--output in/out.jsonl is in in, whose files are predicted"),
        (("in",), "out.txt", 2, "--output out.txt: unknown suffix; expected one of .jsonl, .csv"),
        (("in",), "nowhere/out.csv", 2, "the folder nowhere does not exist; create it first"),
        (("in",), "there.jsonl", 2, "--output there.jsonl exists and is complete; name another file"),
        (("in", "--resume"), "there.jsonl", 2, "--output there.jsonl exists and is complete; name another file"),
        (("in", "--top", 2), "out.jsonl", 2, "--top cannot be combined with --output"),
        (
            ("in", "--endpoint", "http://127.0.0.1:1"),
            "out.jsonl",
            2,
            "leave --endpoint out to predict with a model",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name_and_lose_nothing(predict, folder, arguments, output, code, message):
    Path("empty").mkdir()
    Path("there.jsonl").write_text("kept")
    assert message in predict(*arguments, output=output, code=code)
    assert Path("there.jsonl").read_text() == "kept"
    assert not Path("out.jsonl").exists()


@pytest.mark.slow_suite
def test_two_processes_never_write_one_output(predict, command, folder):
    for path in folder.glob("?/*.bin"):
        path.write_bytes(b"sleep 0.2 " + path.name.encode())
    process = subprocess.Popen(command("in", "--workers", 1), env=os.environ, stderr=subprocess.PIPE)
    wait_for_lines(1, process)
    assert "another process is writing out.jsonl" in predict("in", "--resume", code=2)
    process.kill()
    process.communicate()


def test_options_of_output_need_it_and_folders_do(model, folder):
    from click.testing import CliRunner

    from mlops_core.cli import cli

    for arguments, message in (
        (("in/0/00.bin", "--resume"), "--resume needs --output FILE"),
        (("in/0/00.bin", "--workers", "2"), "--workers needs --output FILE"),
    ):
        result = CliRunner().invoke(cli, ["predict", "-u", "ECHO", *arguments])
        assert message in str(result.exception)
    result = CliRunner().invoke(cli, ["predict", "-u", "ECHO", "in"])
    assert "in is a folder; name its files, or add --output FILE.jsonl" in str(result.exception)


def test_a_call_that_was_killed_once_its_output_was_complete_is_resumed_with_its_faults(predict, folder, monkeypatch):
    """The last file ended its workers; the folder of the call is still there."""
    (folder / "zz.bin").write_bytes(b"end")
    arguments = ["predict", "-u", "ECHO", "--model", "./model", "in", "--workers", "1", "--output", "out.jsonl"]
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "discard", lambda _: None)
        first = CliRunner().invoke(cli, arguments)
    assert Path("out.jsonl.partial").exists()
    expected = Path("out.jsonl").read_bytes()
    assert "2 of 27 files have no answer" in str(first.exception)
    out = predict("in", "--resume", code=4)
    assert "in/zz.bin ended its worker process 2 times" in out
    assert Path("out.jsonl").read_bytes() == expected
    assert not Path("out.jsonl.partial").exists()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}"])
def test_a_damaged_header_is_refused_by_name(predict, folder, content):
    partial = Path("out.jsonl.partial")
    partial.mkdir()
    (partial / "header.json").write_bytes(content)
    out = predict("in", "--resume", code=4)
    assert "out.jsonl.partial/header.json is damaged, so that the interrupted call cannot be continued; remove" in out
    assert (partial / "header.json").read_bytes() == content
