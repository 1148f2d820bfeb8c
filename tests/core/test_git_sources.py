"""A commit of a repository is fetched as its bytes are; nothing that the repository or its address names is run."""

import http.server
import os
import subprocess
import threading
from pathlib import Path

import pytest

from mlops_core.datasets.addresses import FILE_SCHEMES, address_fault, repository_fault
from mlops_core.datasets.catalogue import Dataset, GitSource
from mlops_core.datasets.fetching.git import clone
from mlops_core.datasets.storage import fetch
from mlops_core.errors import DatasetError, PipelineError


class Repositories(http.server.BaseHTTPRequestHandler):
    """Git's own server program behind HTTP, for the repositories below the server's `root`."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        program = Path(git(None, "--exec-path").strip()) / "git-http-backend"
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_ADDR": "127.0.0.1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = subprocess.run([program], input=body, env=environment, capture_output=True, check=True).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815  the name that http.server calls

    def log_message(self, *args):
        pass


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "protocol.file.allow=always"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def served(tmp_path):
    """Return a folder for repositories, and the address at which they are served."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repositories)
    server.root = tmp_path / "served"
    server.root.mkdir()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.root, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def commit(folder, files=(), *, links=()):
    """Write a repository and return the id of its commit."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "--template=")
    for name, content in dict(files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name, target in dict(links).items():
        (folder / name).symlink_to(target)
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "-q", "-m", "data")
    return git(folder, "rev-parse", "HEAD").strip()


def dataset(url, revision, required=()):
    source = GitSource(url=url, revision=revision)
    return Dataset(name="DATA", title="t", licence="CC0", sources=(source,), required=required)


def test_a_commit_of_a_repository_is_fetched_and_another_is_refused(served, tmp_path):
    root, address = served
    revision = commit(root / "data", {"meta/esc50.csv": b"filename\n"})
    wanted = dataset(f"{address}/data/.git", revision, ("meta/esc50.csv",))
    found = fetch(wanted, tmp_path / "esc")
    assert (found / "meta" / "esc50.csv").read_bytes() == b"filename\n"
    assert not (found / ".git").exists()
    with pytest.raises(DatasetError, match="cannot be fetched from http"):
        fetch(dataset(f"{address}/data/.git", "0" * 40), tmp_path / "other")
    with pytest.raises(PipelineError, match="not a full commit id"):
        GitSource(url="https://example.org/x", revision="master")


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch {mark}",
        "--upload-pack=touch${{IFS}}{mark}",
        "-utouch",
        "ext::sh -c touch% {mark}",
        "ext::touch%20{mark}",
        "fd::0",
        "file://{repository}",
        "{repository}",
        "./repository",
        "git://127.0.0.1/x",
        "ftp://127.0.0.1/x",
        "https://",
        "https://-oProxyCommand=touch/x",
        "ssh://-oProxyCommand=touch${{IFS}}{mark}/x",
        "ssh://-oProxyCommand=x@host/x",
        "-oProxyCommand=touch@host:x",
        "user@-oProxyCommand=touch:x",
        "https://example.org/a\nb",
        "https://example.org:port/a",
        "HTTPS::https://example.org/a",
        "",
    ],
)
def test_an_address_that_is_no_repository_elsewhere_is_refused_before_git_is_started(
    tmp_path, monkeypatch, served, url
):
    root, _ = served
    revision = commit(root / "data", {"a": b"a"})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\ntouch {tmp_path}/mark\nexit 1\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    url = url.format(mark=tmp_path / "mark", repository=root / "data")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(DatasetError, match=r"data set 'DATA': git repository .*(expected|not a valid|not an addr)"):
            fetch(dataset(url, revision), tmp_path / "esc")
        with pytest.raises(DatasetError, match="data set 'DATA': git repository"):
            clone(url, revision, tmp_path, name="DATA")
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "esc").exists()


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/karolpiczak/ESC-50.git",
        "http://127.0.0.1:8080/x",
        "https://token:x-oauth@example.org/a/b",
        "ssh://git@example.org:2222/a.git",
        "git@github.com:karolpiczak/ESC-50.git",
        "example.org:data/a.git",
        "https://[::1]:8080/x",
    ],
)
def test_addresses_of_repositories_are_accepted(url):
    assert repository_fault(url) == ""


@pytest.mark.parametrize("target", ["/etc", "../../etc", "../..", "inside/../../x", "/proc/self/root"])
def test_a_link_that_leaves_the_repository_is_refused_by_name(served, tmp_path, target):
    root, address = served
    revision = commit(root / "data", {"inside/a": b"a"}, links={"away": target})
    with pytest.raises(
        DatasetError, match=r"data set 'DATA' holds 'away', a link to '.*', which would leave the folder"
    ):
        fetch(dataset(f"{address}/data/.git", revision), tmp_path / "esc")
    assert not (tmp_path / "esc").exists()


def test_a_link_over_a_link_that_leaves_the_repository_is_refused(served, tmp_path):
    root, address = served
    revision = commit(root / "data", {"a/b/c": b"c"}, links={"a/up": "..", "away": "a/up/../../etc"})
    with pytest.raises(DatasetError, match="holds 'away', a link to"):
        fetch(dataset(f"{address}/data/.git", revision), tmp_path / "esc")


def test_a_link_inside_the_repository_is_kept(served, tmp_path):
    root, address = served
    revision = commit(root / "data", {"inside/a": b"a"}, links={"same": "inside/a", "inside/up": "../inside"})
    found = fetch(dataset(f"{address}/data/.git", revision), tmp_path / "esc")
    assert (found / "same").read_bytes() == b"a"
    assert (found / "same").is_symlink()


def test_filters_and_conversions_change_no_byte_and_run_nothing(served, tmp_path, monkeypatch):
    root, address = served
    attributes = b"*.csv text eol=crlf filter=mine ident\n*.txt working-tree-encoding=UTF-16 filter=mine\n"
    content = {"a.csv": b"x\ny $Id$\n", "b.txt": b"text\n"}
    revision = commit(root / "data", content)
    (root / "data" / ".gitattributes").write_bytes(attributes)
    git(root / "data", "-c", "core.autocrlf=false", "add", ".gitattributes")
    git(root / "data", "commit", "-q", "-m", "attributes", "--no-verify")
    revision = git(root / "data", "rev-parse", "HEAD").strip()
    own = f'[core]\nautocrlf = true\nhooksPath = {tmp_path}/hooks\n[filter "mine"]\nsmudge = touch {tmp_path}/mark\n'
    (tmp_path / ".gitconfig").write_text(own)
    (tmp_path / "hooks").mkdir()
    for hook in ("post-checkout", "reference-transaction"):
        (tmp_path / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {tmp_path}/mark\n")
        (tmp_path / "hooks" / hook).chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
        found = fetch(dataset(f"{address}/data/.git", revision), tmp_path / "esc")
    assert {name: (found / name).read_bytes() for name in content} == content
    assert not (tmp_path / "mark").exists()


def test_a_repository_with_submodules_is_refused(served, tmp_path):
    root, address = served
    commit(root / "other", {"a": b"a"})
    commit(root / "data", {"b": b"b"})
    git(root / "data", "submodule", "--quiet", "add", str(root / "other"), "other")
    revision = commit(root / "data")
    with pytest.raises(DatasetError, match="has submodules, which are not fetched; make each a source of its own"):
        fetch(dataset(f"{address}/data/.git", revision), tmp_path / "esc")


def test_a_pointer_of_git_lfs_is_not_taken_as_data(served, tmp_path):
    root, address = served
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
    revision = commit(root / "data", {"a.wav": pointer, ".gitattributes": b"*.wav filter=lfs diff=lfs -text\n"})
    with pytest.raises(DatasetError, match=r"'a.wav' is a pointer of Git LFS"):
        fetch(dataset(f"{address}/data/.git", revision), tmp_path / "esc")


@pytest.mark.parametrize("url", ["https://example.org/a", "http://user@example.org:80/"])
def test_addresses_of_files_are_http_or_https(url):
    assert address_fault(url, FILE_SCHEMES) == ""
