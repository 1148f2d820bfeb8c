"""One request after another: answers, formats, refusals, log lines, metrics, the page."""

import contextlib
import hashlib
import json
import re
import socket
import time

import pytest


def scores_of(content):
    digest = hashlib.sha256(content).digest()
    return [int.from_bytes(digest[8 * n : 8 * n + 7]) / 2**56 for n in range(3)]


def error_of(body):
    """Return the message of an error body, which is one line and has an id beside it."""
    document = json.loads(body)
    assert set(document) == {"error", "request_id"}
    assert "\n" not in document["error"]
    assert "Traceback" not in document["error"]
    return document["error"]


def test_answer_has_the_bits_of_the_scores(server):
    status, headers, body = server.send(b"some content")
    assert status == 200
    assert headers["content-type"] == "application/json"
    (prediction,) = json.loads(body)["predictions"]
    assert prediction == {"scores": dict(zip(["a", "b, c", 'd"e'], scores_of(b"some content"), strict=True))}


def test_the_model_is_warm_before_the_first_request(server):
    assert json.loads(server.send(b"warm?")[2])["predictions"][0]["scores"]["a"] == 1.0


def test_csv_has_a_line_per_row_and_a_heading_on_request(server):
    rows = b"1,2\n3,4\n5,6\n"
    status, headers, body = server.send(rows, content_type="text/csv; charset=utf-8", accept="text/csv")
    assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8; header=absent")
    lines = body.decode().splitlines()
    assert len(lines) == 3
    assert [float(cell) for cell in lines[1].rsplit(",", 3)[1:]] == scores_of(b"3,4")
    body = server.send(rows, content_type="text/csv", accept="text/csv; header=present")[2]
    assert body.decode().splitlines() == ['class,a,"b, c","d""e"', *lines]


def test_json_lines_have_an_object_per_row(server):
    body = server.send(b"1\n2\n", content_type="text/csv", accept="application/x-ndjson")[2]
    samples = [json.loads(line) for line in body.decode().splitlines()]
    assert [sample["sample"] for sample in samples] == ["row 1", "row 2"]
    assert list(samples[1]["scores"].values()) == scores_of(b"2")


def test_regression_answers_numbers_with_intervals(start):
    regression = start("--workers", "1", settings="regression")
    low, value, high = sorted(scores_of(b"7"))
    (prediction,) = json.loads(regression.send(b"7")[2])["predictions"]
    assert prediction == {"scores": [value], "interval": {"low": low, "high": high, "level": 0.9}}
    assert regression.send(b"7", accept="text/csv")[2].decode() == f"{value!r},{low!r},{high!r}\n"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/html, application/*;q=0.5", "application/json"),
        ("text/csv;q=0.3, application/jsonlines", "application/jsonlines"),
        ("text/*", "text/csv; charset=utf-8; header=absent"),
        ("application/json;q=0, text/csv", "text/csv; charset=utf-8; header=absent"),
    ],
)
def test_accept_chooses_the_format(server, accept, content_type):
    status, headers, _ = server.send(accept=accept)
    assert (status, headers["content-type"]) == (200, content_type)


REFUSALS = [
    (415, {"content_type": "audio/basic"}, "send one of application/octet-stream, text/csv"),
    (415, {"content_type": None}, "no Content-Type"),
    (415, {"content_type": "\xff\xfe; q=\xe9"}, "does not read it"),
    (415, {"content_encoding": "gzip"}, "Content-Encoding"),
    (406, {"accept": "image/png"}, "accept one of application/json"),
    (406, {"accept": "\xff"}, "accept one of"),
]


@pytest.mark.parametrize(("status", "headers", "part"), REFUSALS)
def test_a_request_that_cannot_be_read_is_refused_with_what_to_do(server, status, headers, part):
    code, _, body = server.send(**headers)
    assert code == status
    assert part in error_of(body)


def test_empty_and_unusable_bodies_are_refused_without_names_of_files(server):
    status, _, body = server.send(b"")
    assert (status, error_of(body)) == (400, "the body is empty; send the content of one file")
    status, _, body = server.send(b"unusable")
    expected = "the request body cannot be decoded: the request body has no samples"
    assert (status, error_of(body)) == (422, expected)


def test_a_defect_of_the_model_is_one_line_and_its_traceback_is_in_the_log(server):
    status, _, body = server.send(b"defect")
    assert (status, error_of(body)) == (500, "the model failed: ValueError; see the server's log")
    assert server.wait_for_note("secret details of the model")
    assert server.send()[0] == 200


def test_unknown_paths_and_methods_are_refused_as_json(server):
    assert "POST /invocations" in error_of(server.get("/nowhere")[2])
    status, headers, body = server.get("/invocations")
    assert (status, headers["allow"]) == (405, "POST")
    assert error_of(body) == "/invocations does not accept GET"
    assert server.send(path="/ping")[0] == 405


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8080"},
        {"host": "localhost.evil.example"},
        {"host": "127.0.0.1@evil.example"},
        {"host": "0.0.0.0"},
        {"host": ""},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost"},
        {"host": "evil.example", "origin": "http://evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/invocations", "/metrics", "/", "/ping"])
def test_a_page_of_another_origin_and_a_rebound_host_are_refused(server, headers, path):
    method, body = ("POST", b"x") if path == "/invocations" else ("GET", None)
    status, answered, content = server.send(body, method=method, path=path, content_type=None, **headers)
    assert status == 403
    assert "--trusted-host" in error_of(content)
    assert not [name for name in answered if name.lower().startswith("access-control-")]


def test_programs_and_the_page_of_the_server_are_answered(server):
    for host in ("127.0.0.1", f"127.0.0.1:{server.port}", "localhost", f"LOCALHOST:{server.port}", "[::1]:80"):
        assert server.send(b"x", host=host)[0] == 200
        assert server.send(b"x", host=host, origin=f"http://{host.lower()}")[0] == 200


def test_a_trusted_name_is_accepted_as_host_and_origin(start):
    served = start("--workers", "1", "--trusted-host", "Models.example.org")
    assert served.send(b"x", host="models.example.org", origin="https://models.example.org")[0] == 200
    assert served.send(b"x", origin="https://models.example.org:8443")[0] == 200
    assert served.send(b"x", host="other.example.org")[0] == 403


def test_bodies_are_limited_by_their_declared_and_by_their_real_size(start):
    small = start("--workers", "1", "--max-body", "0.001")
    status, headers, body = small.send(b"x" * 2000)
    assert (status, headers["connection"]) == (413, None)  # the body was small enough to be read to its end
    assert "1.0 KiB (1048 bytes)" in error_of(body)
    status, _, body = small.send(iter([b"x" * 600, b"y" * 600]))
    assert status == 413
    with socket.create_connection(("127.0.0.1", small.port), timeout=60) as raw:
        raw.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
            b"Content-Length: 100000000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert raw.recv(200).startswith(b"HTTP/1.1 413 ")
    assert small.send(b"x" * 1000)[0] == 200


def test_a_request_without_a_length_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
        raw.sendall(b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n\r\n")
        assert raw.recv(200).startswith(b"HTTP/1.1 411 ")


def test_what_is_not_http_gets_400_as_json(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
        raw.sendall(b"\x16\x03\x01\x00\x00not http\r\n\r\n")
        with raw.makefile("rb") as stream:
            answer = stream.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "HTTP/1.1" in error_of(answer.partition(b"\r\n\r\n")[2])


def test_several_requests_use_one_connection(server):
    with contextlib.closing(server.connection()) as connection:
        for number in range(3):
            connection.request("POST", "/invocations", body=f"{number}", headers={"Content-Type": "text/csv"})
            response = connection.getresponse()
            assert response.status == 200
            response.read()


def test_each_request_has_a_line_of_json_with_classes_and_scores(server):
    sent = server.send(b"logged", x_request_id="my-id-7")
    assert sent[1]["x-request-id"] == "my-id-7"
    forged = server.send(b"logged", x_request_id="a b")[1]["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", forged)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any("my-id-7" in line for line in server.lines):
        time.sleep(0.01)
    (line,) = [line for line in server.log() if line["request_id"] == "my-id-7"]
    best = max(zip(scores_of(b"logged"), ["a", "b, c", 'd"e'], strict=True))
    assert (line["status"], line["bytes"], line["samples"]) == (200, 6, 1)
    assert (line["classes"], line["scores"]) == ([best[1]], [best[0]])
    assert line["duration_ms"] >= line["model_ms"] >= 0


def test_what_a_plugin_prints_is_not_in_the_log_of_requests(server):
    assert server.send(b"print")[0] == 200
    assert all(line.startswith("{") for line in server.lines)


def test_metrics_are_in_the_text_format_of_prometheus(server):
    server.send(b"counted")
    _, headers, body = server.get("/metrics")
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    pattern = re.compile(r'(# (HELP|TYPE) .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [-+.\deInf]+)\Z')
    lines = body.decode().splitlines()
    assert [line for line in lines if not pattern.match(line)] == []
    assert server.wait_for_metric("workers_ready", 2)  # the first is enough for the server to be ready
    before = server.metric('requests_total{code="200"}')
    server.send(b"counted")
    assert server.metric('requests_total{code="200"}') == before + 1
    assert server.metric("request_seconds_count") == server.metric('request_seconds_bucket{le="+Inf"}')


def test_the_page_shows_the_model_and_the_same_facts_are_json(server):
    deadline = time.monotonic() + 60
    while "is being prepared" in (page := server.get("/", accept="text/html"))[2].decode():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    _, headers, body = page
    assert headers["content-type"].startswith("text/html")
    text = body.decode()
    assert "ECHO" in text
    assert "connect-src &#x27;self&#x27;" in text or "connect-src 'self'" in text
    facts = json.loads(server.get("/")[2])
    assert facts["classes"] == ["a", "b, c", 'd"e']
    assert facts["is_ready"] is True
    assert "Drift is not watched: ECHO" in text
    assert "has no reference_statistics.json; run the use case again, which writes it" in text
    assert facts["drift"] is None
