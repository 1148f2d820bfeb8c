"""No output of any command sends a control character that came from a name, a log, a reason or an error."""

import json
import os
import pty
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from mlops_core.control_characters import escape_controls, escape_line

TOY, RUDE = Path(__file__).parents[1] / "toy", Path(__file__).parent
MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
ESCAPE = "\x1b]0;owned\x07\x1b[2J"
REASON = f"because {ESCAPE}\u202e\udcff"
FORBIDDEN = {
    *"\u061c\u200e\u200f\u2028\u2029\ufeff",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
}


def is_clean(text):
    """Return whether a text holds no control character but line feed and tab."""
    return all(
        character in "\n\t" or (unicodedata.category(character) not in ("Cc", "Cs") and character not in FORBIDDEN)
        for character in text
    )


@pytest.fixture
def environ():
    return {**os.environ, "PYTHONPATH": f"{TOY}{os.pathsep}{RUDE}", "TERM": "xterm", "COLUMNS": "100"}


@pytest.fixture
def mlops(workspace, tmp_path, environ):
    """Call mlops; whatever it prints is checked."""

    def call(*arguments, code=0):
        command = [*MLOPS, "--workspace", str(workspace), *arguments]
        done = subprocess.run(command, capture_output=True, env=environ, cwd=tmp_path, check=False)
        out, errors = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == code, out + errors
        assert is_clean(out), arguments
        assert is_clean(errors), arguments
        if "logs" not in arguments:
            assert "mlops: error: forged" not in (out + errors).splitlines()
        if "--json" in arguments:
            json.loads(out)
        return out + errors

    return call


def test_commands_show_control_characters_of_plugins_data_logs_and_people(mlops, tmp_path):
    assert r"\x1b]0;owned" in mlops("run", "-u", "RUDE")
    assert r"careful: a\x1b]0;owned" in mlops("runs", "logs")
    for line in (
        "describe -u RUDE",
        "describe -u RUDE --json",
        "datasets list -u RUDE",
        "datasets list -u RUDE --json",
        "datasets show words -u RUDE",
        "datasets check -u RUDE",
        "datasets check -u RUDE --json",
        "datasets stats -u RUDE",
        "plan -u RUDE",
        "runs show",
        "runs show --json",
        "why latest train",
        "doctor",
    ):
        mlops(*line.split())
    mlops("models", "approve", "-u", "RUDE", "1", "--why", REASON)
    mlops("models", "show", "-u", "RUDE")
    mlops("models", "show", "-u", "RUDE", "--json")
    (tmp_path / f"word{ESCAPE}.txt").write_text("x")
    mlops("predict", "-u", "RUDE", f"word{ESCAPE}.txt")
    mlops("predict", "-u", "RUDE", "--json", f"word{ESCAPE}.txt")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "-u", f"X{ESCAPE}"), 2),
        (("run", "-u", "RUDE", "--set", f"rude.mode={ESCAPE}"), 2),
        (("run", "-u", "RUDE", "--set", "rude.mode=invalid"), 2),
        (("run", "-u", "RUDE", "--set", "rude.mode=broken"), 6),
        (("run", "-u", "RUDE", "--set", "rude.mode=broken", "--json"), 6),
        (("run", "-u", "RUDE", "--set", "rude.mode=fail"), 4),
        (("run", "-u", "RUDE", "--param", "q_acc=1", "--set", "training.bias=100"), 3),
        (("--verbose", "run", "-u", "RUDE", "--set", "rude.mode=broken"), 6),
        ((f"no{ESCAPE}",), 2),
        (("runs", "show", f"{ESCAPE}\u202e"), 2),
        (("run", "-u", "RUDE", "--config", f"{ESCAPE}.yaml"), 2),
    ],
)
def test_errors_show_control_characters(mlops, arguments, code):
    shown = mlops(*arguments, code=code)
    assert r"\x1b" in shown or "\\\\x1b" in shown or r"\u001b" in shown


def test_a_terminal_gets_no_control_character_of_a_text(workspace, tmp_path, environ):
    """Colours, tables and progress bars are rich's own; nothing else reaches the terminal."""
    driver, terminal = pty.openpty()
    command = [*MLOPS, "--workspace", str(workspace), "run", "-u", "RUDE"]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environ, cwd=tmp_path) as run:
        os.close(terminal)
        received = b""
        try:
            while chunk := os.read(driver, 1 << 16):
                received += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(driver)
    assert run.returncode == 0
    text = received.decode()
    assert "\x1b[" in text
    assert r"\x1b]0;owned\x07" in text
    for evil in ("\x1b]0;", "\x1b[2J", "\x07", "\x9b", "\u202e", "\x08", "\x7f", "\u2028", "\U000e0041"):
        assert evil not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("caf\u00e9 \u05d0 \U0001f600", "caf\u00e9 \u05d0 \U0001f600"),
        ("\x1b[2J\r\x00", r"\x1b[2J\r\x00"),
        ("\x7f\x9b\u202e\udc80\ufeff", r"\u007f\u009b\u202e\udc80\ufeff"),
        ("\U000e0041", r"\udb40\udc41"),
    ],
)
def test_control_characters_are_escaped_and_nothing_else(text, shown):
    assert escape_controls(text) == shown
    assert escape_line(text) == shown.replace("\t", r"\t").replace("\n", r"\n")


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0x202E, 0xD800, 0xE0041])
def test_an_escaped_json_document_is_the_same_document(code):
    document = {f"a{chr(code)}": [chr(code)]}
    text = escape_controls(json.dumps(document, ensure_ascii=False))
    assert is_clean(text)
    assert json.loads(text) == document
