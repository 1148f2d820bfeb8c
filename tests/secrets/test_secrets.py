"""Secrets in a configuration: they reach the step that needs them, and nothing that mlops writes or prints."""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

TOY, LEAKY = Path(__file__).parents[1] / "toy", Path(__file__).parent
MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
MARK = "q7Zx"
"""In every secret, and in nothing else."""
VARIABLES = {
    "MY_TOKEN": f"{MARK}-token-1",
    "SSH_PASSPHRASE": f"{MARK} phrase/2",
    "DB_URL": f"postgresql://admin:{MARK}%2Fpass3@db.example.org:5432/words",
    "PLAIN": f"{MARK}-plain-value-4",
}
CONFIG = """\
access:
  header: 'Bearer ${MY_TOKEN}'
  database: ${DB_URL}
  api_token: MARK-literal-5
  repository: https://me:MARK-git-6@example.org/words.git
  presigned: {address}/words.csv?X-Amz-Date=1&X-Amz-Signature=MARK7&X-Amz-Credential=MARK8
  several: ['${SSH_PASSPHRASE}', '${PLAIN}']
"""


class Refusal(http.server.BaseHTTPRequestHandler):
    """A store that refuses every presigned address."""

    def do_GET(self):
        self.send_error(403)

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture
def store():
    with http.server.HTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def leaky(tmp_path, workspace, store):
    """Call mlops with the use case LEAKY; no output may hold a secret."""
    (tmp_path / "user_config.yaml").write_text(CONFIG.replace("MARK", MARK).replace("{address}", store))
    environ = {**os.environ, **VARIABLES, "PYTHONPATH": f"{TOY}{os.pathsep}{LEAKY}"}

    def call(*arguments, code=0, interrupt_at=""):
        process = subprocess.Popen(
            [*MLOPS, "--verbose", "--workspace", str(workspace), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environ,
            cwd=tmp_path,
        )
        if interrupt_at:
            logs = workspace / "runs"
            while not any(interrupt_at in log.read_text(errors="replace") for log in logs.glob("*/logs/train.log")):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == code, out
        assert MARK not in out
        return out

    return call


def holders(folder):
    """Return the files that hold the mark, databases and their journals included."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]


def run(leaky, *overrides, **options):
    changes = [part for text in overrides for part in ("--set", text)]
    return leaky("run", "-u", "LEAKY", "--config", "user_config.yaml", *changes, **options)


def test_an_accepted_run_leaves_no_secret_anywhere(leaky, workspace):
    run(leaky)
    for command in (
        "runs show",
        "runs show --json",
        "runs logs",
        "runs report",
        "why latest train",
        "models show -u LEAKY",
    ):
        leaky(*command.split())
    for command in ("plan", "plan --json", "describe", "describe --json"):
        leaky(*command.split(), "-u", "LEAKY", "--config", "user_config.yaml")
    assert "unchanged since run" in leaky("plan", "-u", "LEAKY", "--config", "user_config.yaml")
    assert holders(workspace) == []


def test_a_failed_run_leaves_no_secret_and_cannot_be_resumed_without_the_literal(leaky, workspace):
    assert "ConnectionError: refused: ('${" in run(leaky, "access.mode=fail", code=4).replace("Bearer ", "")
    leaky("runs", "logs")
    message = leaky("run", "--resume", "latest", code=2)
    assert "the value of access.api_token is secret and was not saved" in message
    assert holders(workspace) == []


def test_a_stopped_run_with_references_only_is_resumed(leaky, workspace, tmp_path):
    (tmp_path / "user_config.yaml").write_text("access: {header: '${MY_TOKEN}', several: ['${SSH_PASSPHRASE}']}\n")
    run(leaky, "access.mode=wait", code=130, interrupt_at="connecting")
    assert holders(workspace) == []
    (saved,) = workspace.glob("runs/*/config.yaml")
    saved.write_text(saved.read_text().replace("mode: wait", "mode: pass"))
    leaky("run", "--resume", "latest")
    assert holders(workspace) == []


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("access={limit: '1', nothing: 2}", 2, "unknown key"),
        ("access.mode=invalid", 2, "the header Bearer ${MY_TOKEN} is wrong"),
        ("access.mode=broken", 6, "no steps for Bearer ${MY_TOKEN}"),
        ("access.api_token=[q7Zx]", 2, "--set access.api_token=<redacted>: access.api_token: <redacted>: "),
        ("access.api_token", 2, "--set 'access.api_token=<redacted>' is not KEY=VALUE"),
        ("dataset.name=remote", 5, "/words.csv: HTTP 403"),
    ],
)
def test_an_error_shows_references_instead_of_values(leaky, override, code, message):
    assert message in run(leaky, override, code=code)


def test_a_secret_in_a_key_of_another_type_is_shown_as_its_reference(leaky, tmp_path):
    (tmp_path / "user_config.yaml").write_text("access: {limit: '${MY_TOKEN}', several: {a: '${PLAIN}'}}\n")
    out = run(leaky, code=2)
    assert "access.limit: ${MY_TOKEN}: input should be a valid integer" in out
    assert "access.several" in out
