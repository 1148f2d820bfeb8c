"""What goes wrong while a server runs: processes that end, overload, slow and hostile peers, full disks, signals."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest


def wait_for(condition, limit_s=60):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def memory_kib(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))


def load(server, count, *, clients, body=b"x"):
    """Send `count` requests from `clients` threads, each with one connection; return how often each status came."""
    counts, left, lock = Counter(), iter(range(count)), threading.Lock()

    def client():
        with contextlib.closing(server.connection(60)) as connection:
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                connection.request("POST", "/invocations", body, {"Content-Type": "application/octet-stream"})
                response = connection.getresponse()
                response.read()
                with lock:
                    counts[response.status] += 1

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def test_a_killed_worker_fails_at_most_its_own_request_and_is_replaced(start):
    server = start("--workers", "2", "--max-waiting", "32")
    wait_for(lambda: server.metric("workers_ready") == 2)
    with ThreadPoolExecutor(1) as pool:
        counts = pool.submit(load, server, 300, clients=8, body=b"sleep 0.01")
        time.sleep(0.4)
        os.kill(server.workers()[0], signal.SIGKILL)
        killed = time.monotonic()
        wait_for(lambda: server.metric("workers_ready") == 2 and server.metric("workers_replaced") == 1)
        back_s = time.monotonic() - killed
        result = counts.result()
    assert result[500] <= 1
    assert result[200] == 300 - result[500]
    assert back_s < 30  # two seconds on a quiet machine
    assert server.get("/ping")[0] == 200


def test_two_ended_workers_within_a_minute_end_the_server_with_a_reason(start):
    server = start("--workers", "1")
    status, _, body = server.send(b"end")
    assert status == 500
    assert json.loads(body)["error"].startswith("the worker process ended while it computed this request")
    wait_for(lambda: server.metric("workers_ready") == 1)
    assert server.send()[0] == 200
    with contextlib.suppress(OSError):
        server.send(b"end")
    assert server.process.wait(60) == 4
    server.stop()
    assert server.wait_for_note("2 worker processes ended within 60 s, the last one was ended by SIGKILL")


def test_a_killed_front_takes_its_workers_along_and_starts_again(start, tmp_path):
    server = start("--workers", "2", env={"TMPDIR": str(tmp_path)})
    workers, before = server.workers(), set(folders(tmp_path))
    assert before
    server.process.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    port = server.port
    again = start("--workers", "1", "--port", port, env={"TMPDIR": str(tmp_path)})
    assert again.port == port
    assert again.send()[0] == 200
    assert not {path for path in before if path.exists() and not is_locked(path)}
    assert again.stop() == 0


def folders(tmp_path):
    for place in (Path("/dev/shm"), tmp_path):
        yield from place.glob(f"mlops-serve-{os.getuid()}-*")


def is_locked(path):
    import fcntl

    with contextlib.suppress(OSError), (path / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_model_that_cannot_be_loaded_ends_the_server_with_its_exit_code(start):
    server = start("--workers", "2", settings="unloadable", is_ready=False)
    assert server.process.wait(60) == 5
    server.stop()
    assert server.wait_for_note("the model is damaged; make it again")
    dying = start("--workers", "1", settings="dying", is_ready=False)
    assert dying.process.wait(60) == 4
    dying.stop()
    assert dying.wait_for_note("was ended by SIGKILL while it loaded the model")


def test_a_request_that_takes_too_long_gets_504_and_its_worker_is_replaced(start):
    server = start("--workers", "1", "--timeout", "3")
    status, _, body = server.send(b"sleep 60")
    assert status == 504
    assert json.loads(body)["error"].startswith("the model did not answer in time")
    wait_for(lambda: server.metric("workers_ready") == 1)
    assert server.send()[0] == 200
    assert server.send(b"sleep 60")[0] == 504  # a time-out does not count as a crash
    wait_for(lambda: server.metric("workers_ready") == 1)
    assert server.process.poll() is None


def test_a_full_queue_answers_503_with_a_time_and_ping_answers_meanwhile(start, tmp_path):
    server = start("--workers", "1", "--max-waiting", "1")
    released = tmp_path / "released"
    with ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(server.send, b"wait for " + os.fsencode(released)) for _ in range(6)]
        try:
            wait_for(lambda: sum(each.done() for each in sent) == 4, limit_s=60)
            assert server.get("/ping")[0] == 200
            assert sum(each.done() for each in sent) == 4
        finally:
            released.touch()
        answers = [each.result() for each in sent]
    counts = Counter(status for status, _, _ in answers)
    assert counts == {200: 2, 503: 4}
    refused = next((headers, body) for status, headers, body in answers if status == 503)
    assert refused[0]["retry-after"] == "1"
    assert "send the request again" in json.loads(refused[1])["error"]


def overload(start, count):
    server = start("--workers", "2", "--max-waiting", "8", "--no-request-log")
    load(server, 200, clients=4)
    before = memory_kib(server.process.pid)
    counts = load(server, count, clients=40, body=b"sleep 0.002")
    assert set(counts) <= {200, 503}
    assert counts[200] > 0
    assert counts[503] > 0
    assert sum(counts.values()) == count
    assert memory_kib(server.process.pid) - before < 8 * 1024
    assert server.send()[0] == 200
    assert server.process.poll() is None


def test_overload_is_refused_and_does_not_grow(start):
    overload(start, 600)


@pytest.mark.slow_suite
def test_ten_thousand_requests_at_four_times_the_capacity(start):
    overload(start, 10_000)


def test_sigterm_finishes_what_has_begun_and_refuses_new_connections(start, tmp_path):
    server = start("--workers", "1")
    released, begun = tmp_path / "released", tmp_path / "released.begun"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.send, b"wait for " + os.fsencode(released))
        try:
            wait_for(begun.exists)
            server.process.terminate()
            wait_for(lambda: not accepts(server.port), limit_s=20)  # at most 25 s are given to what has begun
        finally:
            released.touch()
        assert running.result()[0] == 200
    assert server.process.wait(60) == 0
    workers = subprocess.run(["pgrep", "-P", str(server.process.pid)], check=False, capture_output=True, text=True)
    assert workers.stdout == ""


def accepts(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def test_ctrl_c_ends_the_server_and_its_workers(start):
    server = start("--workers", "1")
    assert server.stop(signal.SIGINT) == 130


def test_a_body_that_stops_is_given_up_and_a_slow_header_too(monkeypatch):
    """The limits themselves are long, so that the parts are tested with shorter ones."""
    import asyncio

    from mlops_core.serving.front.bodies import BodyFolder, BodyLimits
    from mlops_core.serving.refusals import RefusedRequestError

    class Stalled:
        headers = {"content-length": "10"}

        async def stream(self):
            yield b"abc"
            await asyncio.sleep(60)

    folder = BodyFolder(room_bytes=1)
    path = folder.new_file(".bin")
    try:
        with pytest.raises(RefusedRequestError, match=r"not complete after 0\.1 s") as error:
            asyncio.run(folder.receive(Stalled(), path, BodyLimits(max_bytes=100, timeout_s=0.1)))
        assert error.value.status == 408
    finally:
        folder.close()
    assert not folder.path.exists()


HEAD = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\n"
HOSTILE = {
    "huge declared length": HEAD + b"Content-Length: 99999999999999\r\n\r\n",
    "length with a sign": HEAD + b"Content-Length: -5\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhallo!",
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length that is no number": HEAD + b"Content-Length: many\r\n\r\n",
    "chunk size overflow": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffffffffff\r\nx",
    "chunk size that is no number": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
    "unknown transfer encoding": HEAD + b"Transfer-Encoding: bzip2\r\n\r\nxx",
    "no length": HEAD + b"\r\n",
    "empty body": HEAD + b"Content-Length: 0\r\n\r\n",
    "compressed body": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
    "header that is not UTF-8": HEAD + b"Accept: \xff\xfe\xfd\r\nContent-Length: 1\r\n\r\nx",
    "type that is not UTF-8": HEAD.replace(b"application/octet-stream", b"\xc3\x28") + b"Content-Length: 1\r\n\r\nx",
    "NUL in a header": HEAD + b"X-Request-Id: a\0b\r\nContent-Length: 1\r\n\r\nx",
    "header with a line feed": HEAD + b"X-A: b\n c\r\nContent-Length\x0b: 1\r\n\r\nx",
    "huge header": HEAD + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": HEAD + b"X-A: a\r\n" * 20_000 + b"\r\n",
    "no host": b"POST /invocations HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n",
    "path out of the root": b"POST /invocations/../../etc/passwd HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    "unusable content": HEAD + b"Content-Length: 8\r\n\r\nunusable",
}


def raw_answer(port, request):
    """Return what the server answers until it closes the connection or says nothing more."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        with contextlib.suppress(OSError):
            peer.sendall(request)
        answer = b""
        with contextlib.suppress(OSError):
            while chunk := peer.recv(65536):
                answer += chunk
                peer.settimeout(0.2)
        return answer


def test_hostile_requests_get_a_status_of_400_to_499_and_leave_the_server_as_it_was(server):
    raw_answer(server.port, HOSTILE["unusable content"])
    before = [memory_kib(pid) for pid in (server.process.pid, *server.workers())]
    statuses = {}
    for name, request in HOSTILE.items():
        answer = raw_answer(server.port, request)
        status = answer.split(b" ", 2)[1] if answer.startswith(b"HTTP/1.1 ") else b""
        statuses[name] = status.decode()
    wrong = {name: status for name, status in statuses.items() if not status.startswith("4")}
    assert wrong == {}
    after = [memory_kib(pid) for pid in (server.process.pid, *server.workers())]
    assert max(after) - max(before) < 4 * 1024
    assert server.metric("workers_replaced") == 0
    assert server.send()[0] == 200


def test_a_hundred_slow_senders_do_not_keep_others_out(server):
    peers = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(100)]
    try:
        for peer in peers:
            peer.sendall(HEAD + b"Content-Length: 1000\r\n\r\nx" if peer.fileno() % 2 else HEAD)
        time.sleep(0.3)
        begun = time.monotonic()
        assert server.send()[0] == 200
        assert server.get("/ping")[0] == 200
        assert time.monotonic() - begun < 8  # the limits of slow senders are 10 and 30 s
    finally:
        for peer in peers:
            peer.close()
    assert server.send()[0] == 200


def test_a_caller_that_leaves_does_not_disturb_others(server):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
            peer.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 1000)
    assert server.send()[0] == 200
    assert server.metric("workers_replaced") == 0


@pytest.mark.slow_suite
def test_a_peer_that_does_not_complete_its_headers_is_disconnected(server):
    for part in (b"", b"POST /invocations HT", HEAD[:60]):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as peer:
            peer.sendall(part)
            begun = time.monotonic()
            assert peer.recv(100) == b""
            assert time.monotonic() - begun > 5


@pytest.mark.slow_suite
def test_log_lines_that_nobody_reads_stop_nothing(start):
    """The reader of standard output has stopped, so that its pipe is full."""
    server = start("--workers", "1", reads_output=False)
    assert load(server, 320, clients=4) == {200: 320}  # more lines than the pipe holds


@pytest.mark.slow_suite
def test_a_full_disk_under_capture_loses_lines_and_no_answers(start, model_folder, tmp_path):
    """A limit on the size of files stands for a full disk: a write stops in the middle of a line."""
    from .conftest import COMMAND

    folder = tmp_path / "captured"
    model = f"{model_folder()}/"
    arguments = ["serve", "-u", "ECHO", "--model", model, "--port", "0", "--workers", "1", "--protocol", "sagemaker"]
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", *COMMAND, *arguments, "--capture", str(folder)]
    server = start(command=limited)
    for _ in range(40):
        assert server.send(b"x" * 300)[0] == 200
    wait_for(lambda: server.metric('dropped_lines_total{kind="capture"}') > 0)
    assert server.stop() == 0
    lines = [line for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert 0 < len(lines) < 40
    assert all(json.loads(line)["eventVersion"] == "0" for line in lines)
    assert server.wait_for_note("capture: File too large")


@pytest.mark.slow_suite
def test_a_clock_that_jumps_changes_nothing(start):
    from .conftest import HERE, PLUGINS

    path = os.pathsep.join([str(HERE / "jumping_clock"), PLUGINS])
    server = start("--workers", "2", "--timeout", "20", env={"PYTHONPATH": path})
    assert load(server, 60, clients=6, body=b"sleep 0.005") == {200: 60}
    os.kill(server.workers()[0], signal.SIGKILL)
    wait_for(lambda: server.metric("workers_ready") == 2 and server.metric("workers_replaced") == 1)
    assert server.send()[0] == 200
    assert all(line["duration_ms"] < 20_000 for line in server.log())
    assert server.stop() == 0
