"""Data sets arrive whole or not at all: a loopback server that is slow, cut off, wrong; hostile archives; leaks."""

import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
import time
import zipfile

import pytest

from mlops_core.datasets.catalogue import Dataset, GeneratedSource, Source
from mlops_core.datasets.digests import digest_tree, iter_tree, tree_manifest
from mlops_core.datasets.fetching import archives
from mlops_core.datasets.fetching import http as downloads
from mlops_core.datasets.splits import SplitSample, check_no_leak
from mlops_core.datasets.storage import fetch, is_complete
from mlops_core.errors import DatasetError


def esc50_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        content.writestr("ESC-50-master/meta/esc50.csv", "filename,fold\na.wav,1\n")
        content.writestr("ESC-50-master/audio/a.wav", os.urandom(600_000))
    return buffer.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves `body`, after doing what `faults` says: a status, "slow", or "cut" after some bytes."""

    def __init__(self, body):
        self.body, self.faults, self.requests, self.has_ranges = body, [], [], True
        self.has_length = True
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/ESC-50-master.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        fault = self.server.faults.pop(0) if self.server.faults else None
        requested = self.headers.get("Range")
        self.server.requests.append(requested)
        if isinstance(fault, int):
            self.send_error(fault)
            return
        if fault == "slow":
            time.sleep(0.6)
        start = int(requested[6:-1]) if requested and self.server.has_ranges else 0
        if start and start >= len(self.server.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if self.server.has_length:
            self.send_header("Content-Length", str(len(self.server.body) - start))
        self.send_header("ETag", '"v1"')
        self.end_headers()
        body = self.server.body[start:]
        self.wfile.write(body[:300_000] if fault == "cut" else body)
        self.wfile.flush()
        if fault == "cut":
            self.connection.close()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "_BACKOFF_S", 0.01)
    found = Server(esc50_zip())
    yield found
    found.shutdown()
    found.server_close()


def dataset(source, required=("meta/esc50.csv", "audio/*.wav")):
    return Dataset(name="ESC-50", title="t", licence="CC-BY-NC-3.0", sources=(source,), required=required)


def remote(server, **options):
    fields = {"sha256": hashlib.sha256(server.body).hexdigest(), "size": len(server.body), "strip": 1}
    return dataset(Source(url=server.url, **{**fields, **options}))


def test_a_fetched_data_set_is_complete_and_is_not_fetched_twice(server, tmp_path):
    told = []
    folder = fetch(remote(server), tmp_path / "esc", progress=lambda *event: told.append(event))
    assert (folder / "audio" / "a.wav").stat().st_size == 600_000
    assert told[-1][1] == told[-1][2] == len(server.body)
    assert is_complete(remote(server), folder)
    fetch(remote(server), folder, is_offline=True)
    assert len(server.requests) == 1
    assert not list(tmp_path.glob("*.partial"))


def test_a_download_that_was_cut_off_goes_on_where_it_was(server, tmp_path):
    server.faults = ["cut"]
    fetch(remote(server), tmp_path / "esc")
    assert server.requests == [None, "bytes=300000-"]


def test_a_download_is_resumed_by_the_next_call(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    server.faults = ["cut"]
    with pytest.raises(DatasetError, match="cut off|IncompleteRead|try again"):
        fetch(remote(server), tmp_path / "esc")
    assert not (tmp_path / "esc").exists()
    fetch(remote(server), tmp_path / "esc")
    assert server.requests[1] == "bytes=300000-"


def test_a_server_without_ranges_is_asked_for_all_again(server, tmp_path):
    server.faults, server.has_ranges = ["cut"], False
    assert is_complete(remote(server), fetch(remote(server), tmp_path / "esc"))


def test_an_archive_without_a_length_that_was_cut_off_is_noticed(server, tmp_path):
    server.faults, server.has_length = ["cut"], False
    fetch(remote(server), tmp_path / "esc")
    assert server.requests == [None, "bytes=300000-"]


def test_a_server_that_does_not_answer_in_time_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.2)
    server.faults = ["slow"]
    fetch(remote(server), tmp_path / "esc")
    assert len(server.requests) == 2


def test_errors_of_the_server_are_retried_and_refusals_are_not(server, tmp_path):
    server.faults = [500, 503]
    fetch(remote(server), tmp_path / "esc")
    assert len(server.requests) == 3
    server.faults = [404]
    with pytest.raises(DatasetError, match=r"cannot be fetched from http://127.0.0.1:\d+/ESC-50-master.zip: HTTP 404"):
        fetch(remote(server), tmp_path / "other")
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sha256": "0" * 64}, "its sha256 is"),
        ({"size": 5}, "expected 5"),
        ({"sha256": "", "md5": "0" * 32}, "its md5 is"),
    ],
)
def test_another_content_than_the_catalogue_says_is_refused(server, tmp_path, options, message):
    with pytest.raises(DatasetError, match=message):
        fetch(remote(server, **options), tmp_path / "esc")
    assert not (tmp_path / "esc").exists()


def test_no_network_is_one_clear_line_and_nothing_is_left_half_written(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_BACKOFF_S", 0.01)
    gone = dataset(Source(url="http://127.0.0.1:9/x.zip?token=secret"))
    with pytest.raises(DatasetError, match="Connection refused.*set dataset.path") as caught:
        fetch(gone, tmp_path / "esc")
    assert "secret" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["esc.lock"]
    with pytest.raises(DatasetError, match="offline"):
        fetch(gone, tmp_path / "esc", is_offline=True)


def test_what_is_missing_in_the_fetched_data_is_named(server, tmp_path):
    lacking = Dataset(name="x", title="", licence="", sources=remote(server).sources, required=("labels/*.csv",))
    with pytest.raises(DatasetError, match=r"has no labels/\*.csv"):
        fetch(lacking, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_two_processes_fetch_once(server, tmp_path):
    code = (
        "import sys; from mlops_core.datasets.catalogue import *; from mlops_core.datasets.storage import fetch;"
        "from pathlib import Path;"
        f"source = Source(url={server.url!r}, strip=1);"
        "wanted = Dataset(name='ESC-50', title='t', licence='l', sources=(source,));"
        f"fetch(wanted, Path({str(tmp_path / 'esc')!r}))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(timeout=30) for process in both] == [0, 0]
    assert len(server.requests) == 1


def test_generated_data_depend_on_the_seed_alone(toy, tmp_path):
    made = Dataset(name="w", title="", licence="", sources=(GeneratedSource(run="mlops_toy.steps:generate"),))
    digests = [digest_tree(fetch(made, tmp_path / str(n), seed=seed)) for n, seed in enumerate((1, 1, 2))]
    assert digests[0] == digests[1] != digests[2]


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
        for name, data in members:
            content.writestr(name, data)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil"])
def test_a_zip_cannot_leave_its_folder(tmp_path, name):
    write_zip(tmp_path / "a.zip", [(name, "x")])
    with pytest.raises(DatasetError, match="would leave the folder"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as content:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        content.addfile(member)
    with pytest.raises(DatasetError, match="a link or a device"):
        archives.unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    write_zip(tmp_path / "a.zip", [(link, "/etc/passwd")])
    with pytest.raises(DatasetError, match="holds the link"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path):
    write_zip(tmp_path / "a.zip", [("zeros", bytes(100 << 20))])
    with pytest.raises(DatasetError, match="bomb"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "zeros").stat().st_size <= 64 << 20


def test_damaged_and_foreign_files_are_named(tmp_path):
    write_zip(tmp_path / "a.zip", [("x", os.urandom(1000))])
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[200] ^= 255
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DatasetError, match="a.zip is damaged"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")
    (tmp_path / "b.zip").write_text("hello")
    with pytest.raises(DatasetError, match="neither a zip nor a tar"):
        archives.unpack(tmp_path / "b.zip", tmp_path / "out")


def test_a_tree_digest_depends_on_names_and_content_only(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a").write_text("x")
        (tmp_path / name / "b").write_text("y")
    os.utime(tmp_path / "two" / "b", (0, 0))
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "two")
    (tmp_path / "two" / "b").rename(tmp_path / "two" / "c")
    assert digest_tree(tmp_path / "one") != digest_tree(tmp_path / "two")


class Remembering(dict):
    def lookup_all(self, states):
        return {path: self[path, state] for path, state in states.items() if (path, state) in self}

    def store(self, digests):
        self.update({(path, state): sha256 for path, state, sha256 in digests})


def test_an_unchanged_file_is_not_read_again(tmp_path):
    path = tmp_path / "data" / "a"
    path.parent.mkdir()
    path.write_text("old")
    cache = Remembering()
    tree_manifest(path.parent, cache=cache)
    for known in cache:
        cache[known] = "0" * 64
    assert [file.sha256 for file in iter_tree(path.parent, cache=cache)] == ["0" * 64]


def test_a_file_that_was_changed_with_its_time_put_back_is_read_again(tmp_path):
    path = tmp_path / "data" / "a"
    path.parent.mkdir()
    path.write_text("old")
    cache = Remembering()
    first = tree_manifest(path.parent, cache=cache)
    time_ns = path.stat().st_mtime_ns
    with path.open("r+") as stream:
        stream.write("new")
    os.utime(path, ns=(time_ns, time_ns))
    assert tree_manifest(path.parent, cache=cache) != first


def test_files_come_in_the_order_of_their_paths(tmp_path):
    for name in ("b/x", "a/z", "a/y", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [file.path for file in iter_tree(tmp_path)] == ["a/y", "a/z", "b/x", "c"]


def test_a_group_on_two_sides_is_refused_by_name():
    def samples(*groups):
        return [SplitSample(sample=f"{group}.wav", group=group, label="x") for group in groups]

    check_no_leak({"train": samples("a", "b"), "test": samples("c")})
    with pytest.raises(DatasetError, match=r"1 group appears in more than one part: 'b' \(test and train\)"):
        check_no_leak({"train": samples("a", "b"), "test": samples("b", "c")})
