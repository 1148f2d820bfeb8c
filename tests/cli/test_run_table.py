import io
import os
import pty
import re
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from mlops_core.cli.run_table import RunTable
from mlops_core.workspace.records import StepStatus
from mlops_core.workspace.store import Store

COMMAND = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


def rendered(table, *, width, height=24, **options):
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, **options)
    console.print(table)
    return console.file.getvalue()


def table_of(count=4):
    table = RunTable()
    table.add([f"step-{number}" for number in range(count)])
    table.end("step-0", status="done", text="", duration_s=2.5)
    table.progress("step-1", "clip", 30, 120)
    table.end("step-2", status="failed", text="exit code 3; log: train.log", duration_s=1.0)
    return table


@pytest.mark.parametrize("width", [30, 59, 60, 80, 200])
def test_the_table_fits_any_width(width):
    lines = rendered(table_of(), width=width, color_system=None).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for part in ("step-0", "done 2.5 s", "step-1", "running", "step-2", "failed", "step-3", "waiting"):
        assert part in text
    assert ("━" in text) == (width >= 60)


def test_steps_that_run_or_failed_are_shown_if_the_terminal_is_too_small_for_all():
    text = rendered(table_of(300), width=80, height=20, color_system=None)
    assert len(text.splitlines()) <= 20
    assert "step-1 " in text
    assert "step-2 " in text
    assert re.search(r"and \d+ more steps", text)


def test_every_step_is_printed_in_the_end():
    table = table_of(300)
    table.is_complete = True
    assert len(rendered(table, width=80, height=20, color_system=None).splitlines()) == 300


@pytest.mark.parametrize(("system", "pattern"), [("standard", r"\x1b\[1;31m"), ("256", r"\x1b\[1;31m")])
def test_colours_are_among_the_first_eight(system, pattern):
    text = rendered(table_of(), width=80, color_system=system)
    assert re.search(pattern, text)
    if system == "standard":
        assert "38;5" not in text


def test_colours_are_left_out_where_they_are_not_wanted(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        text = rendered(table_of(), width=80)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", text)


def test_control_characters_of_names_and_messages_are_shown_not_sent():
    table = RunTable()
    table.end("a\x1b[2J", status="failed", text="b\x1b]0;title\x07", duration_s=1)
    text = rendered(table, width=80, color_system=None)
    assert "\x1b[2J" not in text
    assert "\x07" not in text


def on_a_terminal(*arguments, cwd, **environ):
    """Carry out a command on a terminal and return what it wrote."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **environ}
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=variables, close_fds=True
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait(60) == 0, written
    return written.decode()


def test_a_run_on_a_terminal_is_a_table_and_in_plain_mode_lines(toy, tmp_path):
    shown = on_a_terminal("--workspace", "ws", "run", "--usecase", toy, cwd=tmp_path)
    assert "\x1b[" in shown
    assert "waiting" in shown
    for environ, option in (({"MLOPS_PLAIN": "1"}, ()), ({}, ("--plain",)), ({"TERM": "dumb"}, ())):
        plain = on_a_terminal(*option, "--workspace", "ws", "run", "--usecase", toy, cwd=tmp_path, **environ)
        assert "\x1b" not in plain
        assert "  train: reused" in plain
        assert not re.search("[─━│┃┏]", plain)


def test_a_table_whose_words_a_terminal_cannot_hold_becomes_blocks_of_lines(toy, tmp_path):
    on_a_terminal("--workspace", "ws", "run", "--usecase", toy, cwd=tmp_path)
    narrow, wide = (
        on_a_terminal("--workspace", "ws", "models", "list", cwd=tmp_path, COLUMNS=width) for width in ("80", "200")
    )
    lines = narrow.replace("\r", "").splitlines()
    assert [line.split()[0] for line in lines][:3] == ["model", "version", "status"]
    assert re.fullmatch(r"run +\d{8}-\d{6}-[0-9a-f]{6}", lines[-1])
    assert "┃" in wide


def test_a_run_can_be_watched_from_another_process(toy, tmp_path, call):
    slow = subprocess.Popen(
        [*COMMAND, "--workspace", "ws", "run", "--usecase", toy, "--set", "training.behaviour=sleep"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = threading.Event()

    def read():
        for line in slow.stderr:
            if line.startswith("  train: started"):
                started.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(60)
    code, out, err = call("--workspace", tmp_path / "ws", "runs", "watch")
    assert (code, slow.wait(60)) == (4, 4)
    reader.join(10)
    slow.stderr.close()
    assert "  train: started\n" in err
    assert "  train: failed timed out after 3 s" in err
    assert "details: mlops runs show" in out
    with Store(tmp_path / "ws") as store:
        run = store.runs.load("latest")
        assert store.runs.progress(run.run_id) == {}
        assert run.step("train").status is StepStatus.FAILED


def test_a_run_that_has_ended_is_shown_at_once(ran, workspace, call):
    code, out, err = call("--workspace", workspace, "runs", "watch")
    assert code == 0
    assert "  train: done" in err
    assert "accepted in" in out
