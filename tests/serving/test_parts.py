"""Parts of a server that need no process: detectors, protocols, writers, models in folders."""

import asyncio
import json
import socket
import threading

import pytest

from mlops_core.errors import PluginError, StoreError, UsageError
from mlops_core.predictors import ContentType
from mlops_core.serving import ServedModel, ServeOptions, ServingProtocol, find_model
from mlops_core.serving.front.application import ModelService, RequestLimits
from mlops_core.serving.front.bodies import BodyFolder, BodyLimits
from mlops_core.serving.front.records import QueuedWriter
from mlops_core.serving.protocols import load_protocol
from mlops_core.serving.server import listening_socket
from mlops_core.serving.workers.pool import LoadedModel, WorkerReply


def call(application, method, path, body=b"", content_type="text/csv"):
    """Call an ASGI application without a server; return status and body."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "server": ("a", 80), "client": ("b", 1), "scheme": "http", "root_path": ""}
    sent = []

    async def receive():
        await asyncio.sleep(0)
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        await asyncio.sleep(0)
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


class Pool:
    """Stands for the workers: answers each request with two samples."""

    size = ready = 1
    waiting = replaced = 0
    loaded = LoadedModel(
        classes=("a", "b"), content_types=(ContentType(media_type="text/csv", suffix=".csv"),), load_s=0.1
    )

    def check_capacity(self):
        pass

    async def submit(self, request, *, deadline):
        assert request["observed"] == "scores"
        await asyncio.sleep(0)
        header = {"status": 200, "samples": 2, "model_s": 0.01, "features": [[0.5, 0.5], [1.0, None]]}
        return WorkerReply(header=header, body=b"{}", waited_s=0.0)


class Detector:
    """Counts samples; fails when it has seen too many."""

    def __init__(self):
        self.seen = []

    def observe(self, features):
        self.seen += features
        if len(self.seen) > 4:
            raise RuntimeError("a defect of the detector")
        return {"statistic": len(self.seen)}

    def state(self):
        return {"statistic": float(len(self.seen)), "threshold": 3.0}


@pytest.fixture
def folder():
    opened = BodyFolder(room_bytes=1)
    yield opened
    opened.close()


def test_a_detector_sees_the_features_and_its_answer_is_logged(folder, tmp_path, caplog):
    lines, detector = [], Detector()
    log = QueuedWriter(lines.extend, name="log", limit=10, at_once=3)
    model = ServedModel(use_case="ANY", folder=tmp_path, label="version 1")
    limits = RequestLimits(body=BodyLimits(max_bytes=100))
    service = ModelService(
        model, Pool(), folder=folder, limits=limits, protocol=ServingProtocol(), log=log, detector=detector
    )
    application = service.application()
    for _ in range(3):
        assert call(application, "POST", "/invocations", b"x") == (200, "{}")
        if len(detector.seen) == 2:
            assert "mlops_serving_drift_statistic 2.0\n" in call(application, "GET", "/metrics")[1]
    log.close()
    assert [line.get("drift") for line in lines] == [{"statistic": 2}, {"statistic": 4}, {}]
    assert detector.seen[:2] == [[0.5, 0.5], [1.0, None]]
    assert "the drift detector failed" in caplog.text
    assert "drift" not in call(application, "GET", "/metrics")[1]
    assert [path.name for path in folder.path.iterdir()] == ["lock"]


def test_a_writer_that_is_behind_drops_lines_and_counts_them(capsys):
    go_on, written = threading.Event(), []

    def write(items):
        (item,) = items
        go_on.wait(10)
        if item == "bad":
            raise OSError(28, "No space left on device")
        written.append(item)

    writer = QueuedWriter(write, name="log", limit=2)
    results = [writer.put(item) for item in ("a", "bad", "c", "d", "e", "f")]
    go_on.set()
    writer.close()
    assert results.count(False) == writer.dropped - 1 >= 2
    assert written[0] == "a"
    assert capsys.readouterr().err.count("mlops: warning: log:") == 1


def test_protocols_are_found_by_name_and_checked(monkeypatch, tmp_path):
    assert load_protocol("default").documents(None) == {}
    assert load_protocol("sagemaker").can_capture
    with pytest.raises(UsageError, match="did you mean 'sagemaker'"):
        load_protocol("sagemakr")
    for number, value in enumerate(("json:dumps", "no_such_module:X")):
        info = tmp_path / f"bad{number}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: bad{number}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[mlops.serving]\nbad{number} = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match="expected an instance of mlops_core.serving.ServingProtocol"):
        load_protocol("bad0")
    with pytest.raises(PluginError, match="cannot be imported: ModuleNotFoundError"):
        load_protocol("bad1")


def test_a_folder_says_which_model_it_holds(toy, tmp_path):
    plain = find_model(toy, f"{tmp_path}/")
    assert (plain.use_case, plain.folder, dict(plain.facts)) == ("TOY", tmp_path, {})
    described = tmp_path / "mlops-model.json"
    described.write_text(json.dumps({"use_case": "TOY", "version": 7}))
    assert str(find_model(toy, f"{tmp_path}/")) == "TOY version 7"
    described.write_text(json.dumps({"use_case": "OTHER", "version": 7}))
    with pytest.raises(UsageError, match="a model of the use case OTHER, not of TOY; serve it with --usecase OTHER"):
        find_model(toy, f"{tmp_path}/")
    for damaged in ("[]", "{", "\0"):
        described.write_text(damaged)
        with pytest.raises(StoreError, match=r"mlops-model\.json"):
            find_model(toy, f"{tmp_path}/")


def test_an_unknown_type_of_answers_is_refused():
    with pytest.raises(UsageError, match="answers cannot be 'image/png'"):
        ServeOptions(default_accept="image/png")


def test_the_listening_socket_names_its_protocol_so_that_small_answers_do_not_wait():
    """Asyncio turns Nagle's algorithm off for sockets of TCP by name only; else each answer takes 40 ms longer."""
    with listening_socket("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP
