"""A server may answer anything: what arrives is bounded, redirects stay on http(s), and errors name the data set."""

import hashlib
import http.server
import threading

import pytest

from mlops_core.datasets.catalogue import Dataset, Source, SplitSource
from mlops_core.datasets.fetching import http as downloads
from mlops_core.datasets.storage import fetch
from mlops_core.errors import DatasetError, PipelineError

BODY = b"0123456789" * 100
SHA256 = hashlib.sha256(BODY).hexdigest()


class Answers(http.server.BaseHTTPRequestHandler):
    """Sends what the server's `answer` returns: status, headers and body; it gets the request."""

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        status, headers, body = self.server.answer(self)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(downloads, "_BACKOFF_S", 0.01)
    servers = []

    def start(answer):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        server.answer, server.requests = answer, []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server, f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def dataset(url, **fields):
    return Dataset(name="DATA", title="t", licence="CC0", sources=(Source(url=url, unpack=False, **fields),))


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "0x10", "9" * 5000, "", "١٢"])
def test_an_invalid_length_is_named_and_not_tried_again(serve, tmp_path, length):
    server, url = serve(lambda _request: (200, {"Content-Length": length.encode().decode("latin-1")}, BODY))
    with pytest.raises(DatasetError, match="data set 'DATA' cannot be fetched .*invalid header Content-Length"):
        fetch(dataset(f"{url}/a.csv"), tmp_path / "data")
    assert len(server.requests) == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.csv",
        "data:,text",
        "//[",
        "ext::x",
        "http://127.0.0.1:port/",
        "gopher://x/",
    ],
)
def test_a_redirect_to_anything_but_http_is_refused(serve, tmp_path, target):
    server, url = serve(lambda _request: (302, {"Location": target}, b""))
    with pytest.raises(DatasetError, match=r"data set 'DATA' cannot be fetched"):
        fetch(dataset(f"{url}/a.csv"), tmp_path / "data")
    assert len(server.requests) == 1
    assert not (tmp_path / "data").exists()


def test_a_redirect_to_http_is_followed_and_carries_no_credentials_to_another_host(serve, tmp_path):
    last, url = serve(lambda _request: (200, {"Content-Length": str(len(BODY)), "Set-Cookie": "a=b"}, BODY))
    _, first = serve(lambda _request: (302, {"Location": f"{url}/b.csv", "Set-Cookie": "secret=1"}, b""))
    found = fetch(dataset(f"{first}/a.csv", sha256=SHA256), tmp_path / "data")
    assert (found / "a.csv").read_bytes() == BODY
    assert not {name.lower() for name in last.requests[0][1]} & {"authorization", "proxy-authorization", "cookie"}


def test_redirects_in_a_circle_end(serve, tmp_path):
    server, url = serve(lambda request: (302, {"Location": f"{request.path}x"}, b""))
    with pytest.raises(DatasetError, match="cannot be fetched"):
        fetch(dataset(f"{url}/a.csv"), tmp_path / "data")
    assert len(server.requests) < 100


@pytest.mark.parametrize(
    "end", ["a%00b.zip", "%2e%2e", "a/..", "a%0a.zip", "a%5cb", "a%1b[2J", "n" * 250, "%7f", "%C2%85", "a b", "é", "\0"]
)
def test_an_address_whose_end_cannot_be_a_file_name_is_refused_before_anything_is_fetched(serve, tmp_path, end):
    server, url = serve(lambda _request: (200, {}, BODY))
    with pytest.raises(DatasetError, match="data set 'DATA': source .*correct it where the data set"):
        fetch(dataset(f"{url}/{end}"), tmp_path / "data")
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "ftp://x/a",
        "http://",
        "http://[",
        "http://h:port/a",
        "http://a..b/c",
        "",
        "x",
    ],
)
def test_an_address_that_is_not_http_is_refused(tmp_path, url):
    with pytest.raises(DatasetError, match="data set 'DATA': source .*correct it where the data set"):
        fetch(dataset(url), tmp_path / "data")


@pytest.mark.parametrize("name", ["done", "files", "downloads", "a.part", "a.etag", "source-0"])
def test_a_file_may_have_any_ordinary_name(serve, tmp_path, name):
    _, url = serve(lambda _request: (200, {"Content-Length": str(len(BODY)), "ETag": '"v"'}, BODY))
    assert (fetch(dataset(f"{url}/{name}"), tmp_path / "data") / name).read_bytes() == BODY


@pytest.mark.parametrize("to", ["../x", "/tmp/x", "a/../../x", "a\0b"])
def test_a_place_outside_the_data_set_is_refused(serve, tmp_path, to):
    server, url = serve(lambda _request: (200, {}, BODY))
    with pytest.raises(PipelineError, match="data set 'DATA': the place"):
        fetch(dataset(f"{url}/a.csv", to=to), tmp_path / "data")
    assert server.requests == []


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", ""])
def test_required_files_outside_the_data_set_are_refused(serve, tmp_path, pattern):
    _, url = serve(lambda _request: (200, {}, BODY))
    wanted = Dataset(name="DATA", title="t", licence="l", sources=dataset(f"{url}/a").sources, required=(pattern,))
    with pytest.raises(DatasetError, match="data set 'DATA' requires .* not a path below it"):
        fetch(wanted, tmp_path / "data")


def test_two_parts_of_one_name_are_refused(tmp_path):
    parts = (Source(url="http://127.0.0.1:9/a/x.zip"), Source(url="http://127.0.0.1:9/b/x.zip"))
    wanted = Dataset(name="DATA", title="t", licence="l", sources=(SplitSource(parts=parts),))
    with pytest.raises(DatasetError, match=r"two parts of an archive have the name 'x.zip'"):
        fetch(wanted, tmp_path / "data")


def test_a_server_that_sends_more_than_the_catalogue_says_is_cut_off(serve, tmp_path):
    def endless(request):
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(bytes(1 << 16))
        except OSError:
            request.server.requests.append("cut off")
        return 200, {}, b""

    _, url = serve(endless)
    with pytest.raises(DatasetError, match=r"not the file that was expected: it has .* bytes, expected 1,000"):
        fetch(dataset(f"{url}/a.csv", size=1000), tmp_path / "data")


def test_a_server_that_resumes_elsewhere_is_asked_for_all_again(serve, tmp_path):
    def answer(request):
        if request.headers.get("Range") is None:
            is_first = len(request.server.requests) == 1
            return 200, {"Content-Length": str(len(BODY)), "ETag": '"v"'}, BODY[:300] if is_first else BODY
        return 206, {"Content-Range": "bytes 0-699/1000", "Content-Length": "700", "ETag": '"v"'}, BODY[:700]

    server, url = serve(answer)
    assert (fetch(dataset(f"{url}/a.csv"), tmp_path / "data") / "a.csv").read_bytes() == BODY
    assert [headers.get("Range") for _, headers in server.requests] == [None, "bytes=300-", None]
