"""What a step leaves where the driver reads: it is read without waiting, up to a limit, and the step fails by name."""

import json
import os
import sys
import threading

import pytest

from mlops_core import Step
from mlops_core.errors import ExitCode, StepError
from mlops_core.evaluation.evaluation_file import read_evaluation, write_evaluation
from mlops_core.predictions import read_predictions, write_predictions
from mlops_core.reading import bounded_lines, read_bytes, read_json, read_text, replace_text
from mlops_core.runners.local.processes import StepProcesses
from mlops_core.runners.local.progress_file import ProgressReader
from mlops_core.steps.context import StepRequest
from mlops_core.steps.histories import read_history

PREAMBLE = "import json, os, pathlib, sys, time\n"
FOLDER = "    folder = context.scratch.parent\n    (context.output('a') / 'f').write_text('x')\n"


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Return a function that executes the body of a step and returns its outcome and the events of its progress."""

    def run(body):
        package = tmp_path / "code"
        package.mkdir(exist_ok=True)
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        (package / "hostile_step.py").write_text(f"{PREAMBLE}def run(context):\n{FOLDER}{lines}")
        work = tmp_path / "work"
        (work / "scratch").mkdir(parents=True)
        (work / "outputs" / "a").mkdir(parents=True)
        request = StepRequest(
            use_case="TOY",
            step=Step(name="step", run="hostile_step:run", outputs=("a",)),
            config={},
            parameters={},
            seed=0,
            inputs={},
            outputs={"a": work / "outputs" / "a"},
            scratch=work / "scratch",
            progress_file=work / "progress.jsonl",
        )
        events = []
        monkeypatch.setenv("PYTHONPATH", str(package))
        monkeypatch.syspath_prepend(str(package))
        with StepProcesses() as processes:
            outcome = processes.run(
                request, folder=work, log=tmp_path / "log", on_progress=lambda *event: events.append(event)
            )
        return outcome, events

    return run


MAKERS = {
    "pipe": "os.mkfifo(path)",
    "link to a device": "os.symlink('/dev/zero', path)",
    "folder": "os.mkdir(path)",
    "sparse file": "path.touch(); os.truncate(path, 10 << 30)",
    "text": "path.write_text('nonsense\\n')",
    "deep nesting": "path.write_text('[' * 200_000 + '\\n')",
    "not UTF-8": "path.write_bytes(b'\\xff\\xfe\\n')",
    "null": "path.write_text('null\\n')",
    "list": "path.write_text('[1, 2]\\n')",
    "long number": 'path.write_text(\'{"label": "a", "done": \' + \'9\' * 5000 + \', "total": 1}\\n\')',
    "NaN": 'path.write_text(\'{"label": "a", "done": NaN, "total": 1}\\n\')',
    "texts": 'path.write_text(\'{"label": "a", "done": "1", "total": "2"}\\n\')',
    "negative": 'path.write_text(\'{"label": "a", "done": -1, "total": 2}\\n\')',
    "label": 'path.write_text(\'{"label": [1], "done": 1, "total": 2}\\n\')',
}


@pytest.mark.representatives(5)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_progress_file_that_is_none_fails_the_step_by_name(execute, kind):
    outcome, events = execute(f"path = folder / 'progress.jsonl'\n{MAKERS[kind]}\ntime.sleep(0.6)")
    assert outcome.exit_code is ExitCode.STEP
    assert outcome.error.startswith("its file progress.jsonl is not what StepContext.progress writes: ")
    assert events == []


def test_progress_that_a_step_reports_is_passed_on_without_control_characters(execute):
    outcome, events = execute("context.progress('epoch\\x1b[2J', 1, 2)\ncontext.progress('epoch', 2, 2)")
    assert (outcome.exit_code, events[-1]) == (ExitCode.OK, ("epoch", 2, 2))
    assert all("\x1b" not in label for label, _, _ in events)


@pytest.mark.representatives(3)
@pytest.mark.parametrize("kind", ["pipe", "link to a device", "sparse file", "text", "not UTF-8", "null", "list"])
def test_what_a_step_puts_in_place_of_its_report_is_replaced(execute, kind):
    outcome, _ = execute(f"path = folder / 'result.json'\n{MAKERS[kind]}")
    assert (outcome.exit_code, outcome.error) == (ExitCode.OK, "")


REPORTS = {
    **{kind: maker for kind, maker in MAKERS.items() if kind not in {"negative", "label", "long number"}},
    "wrong code": 'path.write_text(\'{"exit_code": 77, "error": "", "warnings": []}\')',
    "code of a text": 'path.write_text(\'{"exit_code": "0", "error": "", "warnings": []}\')',
    "warnings": 'path.write_text(\'{"exit_code": 0, "error": "", "warnings": 5}\')',
    "warning": 'path.write_text(\'{"exit_code": 0, "error": "", "warnings": [null]}\')',
    "error": 'path.write_text(\'{"exit_code": 0, "error": {}, "warnings": []}\')',
}


@pytest.mark.representatives(5)
@pytest.mark.parametrize("kind", REPORTS)
def test_a_report_that_is_none_fails_the_step_by_name(execute, kind):
    late = f"import atexit\ndef late():\n    path = folder / 'result.json'\n    path.unlink()\n    {REPORTS[kind]}\n"
    outcome, _ = execute(f"{late}atexit.register(late)")
    assert outcome.exit_code is ExitCode.STEP
    assert outcome.error.startswith("its process exited with 0, and result.json is not its report: ")


def test_a_report_is_shortened_and_can_be_written_as_utf_8(execute):
    report = '{"exit_code": 4, "error": "\\x1b[2Jbad\\ud800" + "x" * 10**6, "warnings": ["\\x07"] * 10**4}'
    late = (
        f"import atexit\ndef late():\n    (folder / 'result.json').write_text(json.dumps({report}))\n    os._exit(4)\n"
    )
    outcome, _ = execute(f"{late}atexit.register(late)")
    assert outcome.error.startswith("\x1b[2Jbad\\ud800x")
    assert (len(outcome.error), len(outcome.warnings), outcome.warnings[0]) == (20_000, 100, "\x07")


def test_a_step_that_ends_by_a_signal_without_a_name_fails_by_its_number(execute):
    outcome, _ = execute("import signal\nos.kill(os.getpid(), signal.SIGRTMIN + 3)")
    assert outcome.error == "its process was ended by signal 37"


def test_a_step_that_blocks_in_a_pipe_of_its_own_is_ended_by_one_cancellation(tmp_path):
    started = threading.Event()
    (tmp_path / "step_in_pipe.py").write_text(
        f"{PREAMBLE}def run(context):\n    path = context.scratch.parent / 'progress.jsonl'\n"
        "    context.progress('a', 1, 2)\n    os.mkfifo(context.scratch / 'pipe')\n    open(context.scratch / 'pipe')\n"
    )
    work = tmp_path / "work"
    (work / "scratch").mkdir(parents=True)
    request = StepRequest(
        use_case="TOY",
        step=Step(name="step", run="step_in_pipe:run", outputs=("a",)),
        config={},
        parameters={},
        seed=0,
        inputs={},
        outputs={"a": work},
        scratch=work / "scratch",
        progress_file=work / "progress.jsonl",
    )
    sys.path.insert(0, str(tmp_path))
    outcomes = []
    try:
        with pytest.MonkeyPatch.context() as patch, StepProcesses() as processes:
            patch.setenv("PYTHONPATH", str(tmp_path))
            running = threading.Thread(
                target=lambda: outcomes.append(
                    processes.run(request, folder=work, log=tmp_path / "log", on_progress=lambda *_: started.set())
                )
            )
            running.start()
            assert started.wait(30)
            processes.cancel()
            running.join(30)
    finally:
        sys.path.remove(str(tmp_path))
    assert [outcome.exit_code for outcome in outcomes] == [ExitCode.INTERRUPTED]


def place(path, kind):
    """Put something into the place of a file, as a step might."""
    exec(MAKERS[kind], {"path": path, "os": os})


BAD = ["pipe", "link to a device", "folder", "sparse file", "text", "deep nesting", "not UTF-8", "null", "list"]


@pytest.mark.parametrize("kind", BAD)
def test_files_of_a_step_are_read_without_waiting_and_up_to_a_limit(tmp_path, kind):
    for name, read in (
        ("predictions.jsonl", lambda: read_predictions(tmp_path)),
        ("evaluation.json", lambda: read_evaluation(tmp_path, ())),
        ("history.csv", lambda: [*read_history(tmp_path / "history.csv")]),
    ):
        place(tmp_path / name, kind)
        is_history = name == "history.csv" and kind in {"text", "deep nesting", "null", "list"}
        if is_history:
            continue  # any line of text is a header of a history
        with pytest.raises(StepError, match=name):
            read()


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "sparse file", "text"])
def test_core_replaces_what_is_in_the_place_of_a_file_that_it_writes(tmp_path, kind):
    for name in ("evaluation.json", "predictions.jsonl", "predictions.jsonl.partial"):
        place(tmp_path / name, kind)
    from mlops_core import MetricReport

    write_evaluation(tmp_path, MetricReport(values={}), [])
    write_predictions(tmp_path, ["no", "yes"], [])
    assert json.loads((tmp_path / "evaluation.json").read_text())["notes"] == {}
    assert read_predictions(tmp_path).classes == ("no", "yes")


@pytest.mark.parametrize(
    "row",
    [
        {"scores": [0.5, float("nan")]},
        {"scores": [0.5, float("inf")]},
        {"scores": [0.5]},
        {"scores": ["0.5", "0.5"]},
        {"scores": [True, None]},
        {"scores": {"a": 1, "b": 2}},
        {"label": "maybe"},
        {"label": 1},
        {"label": ["yes"]},
        {"sample": 5},
        {"group": None},
        {"part": "0"},
        {"model": []},
        {"unknown": 1},
        {"interval": [0, 1]},
    ],
)
def test_a_prediction_that_write_predictions_would_refuse_is_refused_when_it_is_read(tmp_path, row):
    write_predictions(tmp_path, ["no", "yes"], [])
    whole = {"sample": "a", "part": 0, "group": "g", "label": "yes", "scores": [0.5, 0.5]}
    with (tmp_path / "predictions.jsonl").open("a") as stream:
        stream.write(json.dumps(whole) + "\n" + json.dumps({**whole, **row}) + "\n")
    with pytest.raises(StepError, match=r"predictions.jsonl \(line 3\) is not a prediction"):
        read_predictions(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        {"confusion_matrices": {"m": {"classes": 5, "counts": [[1]]}}},
        {"confusion_matrices": {"m": {"classes": ["a"], "counts": [["x"]]}}},
        {"confusion_matrices": {"m": {"classes": ["a"], "counts": [[float("nan")]]}}},
        {"confusion_matrices": {"m": {"classes": ["a"], "counts": 1}}},
        {"confusion_matrices": 5, "notes": 7, "tables": 3, "groups": 1},
        {"notes": {"a": [1], "b": {}}},
        {"tables": [{"title": 1, "columns": 2, "rows": 3}]},
        {"groups": {"count": "x", "samples": [], "metrics": 3}},
    ],
)
def test_an_evaluation_with_wrong_types_has_none_of_what_is_wrong(tmp_path, data):
    (tmp_path / "evaluation.json").write_text(json.dumps(data))
    report = read_evaluation(tmp_path, ())
    assert (dict(report.confusion_matrices), dict(report.notes), report.tables, report.groups) == ({}, {}, (), None)


def test_reading_has_a_limit_and_names_what_is_not_a_regular_file(tmp_path):
    (tmp_path / "a").write_text("x" * 100)
    assert read_bytes(tmp_path / "a", limit_bytes=100) == b"x" * 100
    with pytest.raises(OSError, match="it has 100 bytes; at most 99 are read"):
        read_bytes(tmp_path / "a", limit_bytes=99)
    with pytest.raises(OSError, match="not a regular file"):
        read_text(type(tmp_path)("/dev/zero"))
    (tmp_path / "a").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "a")
    with (tmp_path / "a").open("wb") as stream:
        stream.truncate(20 << 20)
    with pytest.raises(OSError, match="a line of more than"):
        [*bounded_lines(tmp_path / "a")]


def test_an_open_descriptor_is_read_where_a_shell_passes_one(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"a: 1\n")
    os.close(writing)
    path = type(tmp_path)(f"/dev/fd/{reading}")
    assert read_bytes(path, limit_bytes=100, accepts_descriptors=True) == b"a: 1\n"
    with pytest.raises(OSError, match="not a regular file"):
        read_bytes(path, limit_bytes=100)
    os.close(reading)


def test_a_file_is_replaced_and_nothing_unfinished_is_left(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    replace_text(tmp_path / "a", "text")
    assert [(path.name, path.is_symlink()) for path in tmp_path.iterdir()] == [("a", False)]
    (tmp_path / "c").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_text(tmp_path / "c", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


def test_progress_is_read_from_where_the_last_reading_ended(tmp_path):
    events = []
    reader = ProgressReader(tmp_path / "p", lambda *event: events.append(event))
    reader.read()
    line = '{"label": "a", "done": %d, "total": 9}\n'
    with (tmp_path / "p").open("w") as stream:
        for done in range(3):
            stream.write(line % done)
            stream.flush()
            reader.read()
            reader.read()
        stream.write((line % 4) * 5000 + line % 5 + '{"label"')
        stream.flush()
        reader.read()
        stream.write(': "b", "done": 1, "total": 2}\n')
        stream.flush()
        reader.read()
    assert events == [("a", 0, 9), ("a", 1, 9), ("a", 2, 9), ("a", 5, 9), ("b", 1, 2)]


def test_a_process_that_finds_no_room_for_its_report_is_reported_as_that(execute, monkeypatch):
    disk = os.statvfs("/")
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((*disk[:4], 1, *disk[5:])))
    outcome, _ = execute("os._exit(1)")
    free = f"{disk.f_frsize:,}"
    assert outcome.error == (
        f"its process exited with 1 before it could report: its disk has {free} free bytes; make room"
    )
