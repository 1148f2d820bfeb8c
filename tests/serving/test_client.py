"""The client, `mlops predict --endpoint`, and that answers are the same on every way."""

import json
import math
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mlops_core import DatasetError, UsageError
from mlops_core.cli import _exit_code
from mlops_core.errors import RunnerError
from mlops_core.serving import Client

from .conftest import COMMAND, PLUGINS, Server


def mlops(*arguments, **environ):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": PLUGINS, **environ},
    )


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """A workspace with a registered model of ECHO."""
    workspace = tmp_path_factory.mktemp("registered") / "workspace"
    done = mlops("--workspace", workspace, "run", "--usecase", "ECHO")
    assert done.returncode == 0, done.stderr
    return workspace


@pytest.fixture
def files(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.bin").write_bytes(bytes(range(number, 256)))
    (tmp_path / "table.csv").write_text("1,2\n3,4\n")
    return sorted(tmp_path.glob("*.*"))


def test_predict_serve_and_the_container_give_the_same_bytes(registered, files, tmp_path):
    local = mlops("--workspace", registered, "predict", "-u", "ECHO", "--json", *files)
    assert local.returncode == 0, local.stderr
    exported = tmp_path / "exported"
    assert mlops("--workspace", registered, "models", "export", "-u", "ECHO", "1", exported).returncode == 0
    by_version = [*COMMAND, "--workspace", str(registered), "serve", "-u", "ECHO", "--port", "0", "--model", "best"]
    by_folder = [*COMMAND, "serve", "-u", "ECHO", "--port", "0", "--model", str(exported), "--workers", "1"]
    for command in (by_version, by_folder):
        server = Server(command=command)
        try:
            server.wait_until_ready()
            remote = mlops("predict", "--endpoint", f"http://127.0.0.1:{server.port}", "--json", *files)
            assert (remote.returncode, remote.stdout) == (0, local.stdout)
            assert json.loads(server.get("/")[2])["version"] == 1
        finally:
            server.stop()
    assert len(json.loads(local.stdout)) == 6


def test_client_is_a_predictor(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"a")
    with Client(f"http://127.0.0.1:{server.port}/invocations") as client:
        assert client.is_ready()
        assert client.classes == ()
        (answer,) = client.predict([tmp_path / "a.bin"])
        assert client.classes == ("a", "b, c", 'd"e')
    assert answer.path == str(tmp_path / "a.bin")
    assert (
        dict(zip(client.classes, answer.scores, strict=True))
        == json.loads(server.send(b"a")[2])["predictions"][0]["scores"]
    )


def test_faults_name_the_file_and_what_to_do(server, tmp_path):
    (tmp_path / "bad.bin").write_bytes(b"unusable")
    (tmp_path / "clip.wav").write_bytes(b"x")
    (tmp_path / "empty.bin").touch()
    with Client(f"http://127.0.0.1:{server.port}") as client:
        with pytest.raises(DatasetError, match=r"bad\.bin cannot be decoded: .*bad\.bin has no samples"):
            list(client.predict([tmp_path / "bad.bin"]))
        with pytest.raises(DatasetError, match=r"empty\.bin is empty"):
            list(client.predict([tmp_path / "empty.bin"]))
        with pytest.raises(UsageError, match=r"clip\.wav: .* 415: .*send one of application/octet-stream"):
            list(client.predict([tmp_path / "clip.wav"]))
        with pytest.raises(DatasetError, match="cannot be read"):
            list(client.predict([tmp_path / "none.bin"]))
        os.mkfifo(tmp_path / "pipe.bin")
        with pytest.raises(DatasetError, match=r"pipe\.bin cannot be read: it is not a regular file"):
            list(client.predict([tmp_path / "pipe.bin"]))
    with pytest.raises(UsageError, match="expected an address"):
        Client("127.0.0.1:8080")
    with Client("http://127.0.0.1:9") as client:
        assert not client.is_ready()
        with pytest.raises(RunnerError, match="cannot be reached: .*mlops serve"):
            list(client.predict([tmp_path / "bad.bin"]))


class Busy(BaseHTTPRequestHandler):
    """Is busy once, then answers something else than a server of mlops."""

    protocol_version = "HTTP/1.1"
    requests = 0
    answers = [b"{}", b'{"predictions": [{"scores": [null]}]}', b"<html>"]

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        busy = type(self).requests % 2 == 0
        type(self).requests += 1
        body = b"{}" if busy else self.answers[type(self).requests // 2 % 3]
        self.send_response(503 if busy else 200)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_busy_server_is_asked_again_and_a_foreign_one_is_refused(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"a")
    foreign = HTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=foreign.serve_forever, args=(0.01,))
    thread.start()
    try:
        with Client(f"http://127.0.0.1:{foreign.server_port}") as client:
            (answer,) = client.predict([tmp_path / "a.bin"])
            assert math.isnan(answer.scores[0])
            for _ in range(2):
                with pytest.raises(RunnerError, match="not as a server of mlops does"):
                    list(client.predict([tmp_path / "a.bin"]))
        assert Busy.requests == 6
    finally:
        foreign.shutdown()
        foreign.server_close()
        thread.join()


def test_wrong_calls_are_one_line_that_says_what_to_do(server, registered, tmp_path, monkeypatch, capsys):
    for folder in PLUGINS.split(os.pathsep):
        monkeypatch.syspath_prepend(folder)
    serve = ["--workspace", registered, "serve", "-u", "ECHO"]
    calls = {
        ("--workspace", tmp_path / "new", "serve", "-u", "ECHO"): "no registered model of 'ECHO'",
        (*serve, "--model", "production"): "no version or alias 'production'",
        (*serve, "--port", server.port): "is in use on 127.0.0.1; stop what listens there, or choose another port",
        (*serve, "--host", "192.0.2.1"): "is not an address of this machine",
        (*serve, "--model", tmp_path / "gone"): "does not exist; name the folder of a model",
        (*serve, "--protocol", "sagemakr"): "did you mean 'sagemaker'?",
        (*serve, "--capture", tmp_path): "captures no requests",
        ("predict", "--endpoint", "nowhere", __file__): "expected an address such as",
        ("predict", "--endpoint", "http://127.0.0.1:1", "--model", "1", __file__): "leave one out",
    }
    for arguments, part in calls.items():
        assert _exit_code([*map(str, arguments)]) == 2, arguments
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("mlops: error: ")
        assert part in line


def test_help_and_predict_do_not_import_the_web_server():
    code = (
        "import sys\nfrom mlops_core.cli import _exit_code\n_exit_code(['--help'])\n_exit_code(['serve', '--help'])\n"
        "assert not {'starlette', 'uvicorn', 'anyio', 'httptools'} & set(sys.modules), sys.modules.keys()\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_without_the_extra_the_error_names_it(model_folder):
    code = "import sys; sys.modules['uvicorn'] = None; from mlops_core.cli import main; main()"
    done = Server(command=[sys.executable, "-c", code, "serve", "-u", "ECHO", "--model", f"{model_folder()}/"])
    assert done.process.wait(90) == 2
    done.stop()
    assert done.notes == [
        "mlops: error: mlops serve needs the packages of the extra 'serve'; pip install 'mlops-usecases[serve]'"
    ]


@pytest.mark.slow_suite
def test_a_model_of_an_earlier_plugin_is_served_with_the_code_kept_with_it(registered, files, tmp_path):
    local = mlops("--workspace", registered, "predict", "-u", "ECHO", "--json", files[0])
    first, *others = PLUGINS.split(os.pathsep)
    later = shutil.copytree(first, tmp_path / "later")
    metadata = later / "mlops_echo-0.1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 0.1.0", "Version: 0.2.0"))
    plugin = later / "mlops_echo" / "plugin.py"
    plugin.write_text(plugin.read_text().replace("hashlib.sha256(content)", "hashlib.sha256(b'other' + content)"))
    environ = {"PYTHONPATH": os.pathsep.join([str(later), *others])}
    server = Server("--workers", "1", env={**environ, "MLOPS_HOME": str(registered)})
    try:
        server.wait_until_ready()
        remote = mlops("predict", "--endpoint", f"http://127.0.0.1:{server.port}", "--json", files[0])
        assert (remote.returncode, remote.stdout) == (0, local.stdout)
    finally:
        server.stop()
    assert server.wait_for_note("its answers come from the code that was kept with it")
