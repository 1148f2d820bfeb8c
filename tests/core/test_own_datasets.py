"""A data set of the user's own: from an address or a script, without an entry in a plugin's catalogue."""

import hashlib
import http.server
import io
import json
import threading
import zipfile
from functools import partial

import pytest

import mlops_core
from mlops_core.errors import DatasetError

WORDS = "".join(f"{'x' * (n % 12 + 1)},{'long' if n % 12 + 1 > 6 else 'short'}\n" for n in range(60))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("words.csv", WORDS)
    (folder / "words.zip").write_bytes(content.getvalue())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/words.zip", hashlib.sha256(content.getvalue()).hexdigest()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "download.sh"
        path.write_text(text)
        return path

    return write


def test_a_data_set_from_an_address_is_fetched_and_then_run(toy, call, workspace, address, tmp_path):
    url, digest = address
    code, out, err = call(
        "--workspace", workspace, "fetch", "-u", "TOY", "--name", "MyData", "--from", url, "--sha256", digest
    )
    assert code == 0, err
    assert "MyData: fetched" in out
    assert f"--set 'dataset.source={json.dumps({'url': url, 'sha256': digest})}'" in out
    config = tmp_path / "user_config.yaml"
    config.write_text(f"dataset:\n  name: MyData\n  source:\n    url: {url}\n    sha256: '{digest}'\n")
    record = mlops_core.run("TOY", config=config, workspace=workspace, is_offline=True)
    assert (record.status, record.dataset.name, record.dataset.files) == ("accepted", "MyData", 1)
    again = mlops_core.run("TOY", config=config, workspace=workspace, is_offline=True)
    assert {step.status for step in again.steps} == {"reused"}


def test_a_wrong_checksum_is_refused(toy, call, workspace, address):
    arguments = ("--name", "MyData", "--from", address[0], "--sha256", "0" * 64)
    code, _, err = call("--workspace", workspace, "fetch", "-u", "TOY", *arguments)
    assert code == 5
    assert "words.zip is not the file that was expected: its sha256 is" in err
    assert "catalogue" not in err


def test_a_web_page_is_not_taken_for_data_unless_its_checksum_says_so(toy, call, workspace, address, tmp_path):
    page = tmp_path / "published" / "data"
    page.mkdir()
    (page / "index.html").write_text("<html>sign in</html>")
    url = address[0].replace("words.zip", "data/")
    fetched = ("--workspace", workspace, "fetch", "-u", "TOY", "--name", "Page", "--from", url)
    code, _, err = call(*fetched)
    assert code == 5
    assert "is a web page (text/html), not a file of data" in err
    digest = hashlib.sha256((page / "index.html").read_bytes()).hexdigest()
    code, out, _ = call(*fetched, "--sha256", digest)
    assert (code, "fetched, 1 file," in out) == (0, True)


def test_a_script_downloads_a_data_set_in_an_empty_folder(toy, call, workspace, script, tmp_path):
    path = script(f'test -z "$(ls -A)"\nmkdir temp\nprintf %s "{WORDS}" > temp/words.csv\n')
    code, out, err = call("--workspace", workspace, "fetch", "-u", "TOY", "--name", "Mine", "--command-file", path)
    assert (code, err) == (0, "")
    assert "Mine: fetched" in out
    overrides = ["dataset.name=Mine", f"dataset.source={{command_file: {path}}}"]
    assert mlops_core.run("TOY", overrides=overrides, workspace=workspace, is_offline=True).status == "accepted"
    script("exit 3")  # another script is another data set
    record = mlops_core.run("TOY", overrides=overrides, workspace=workspace)
    assert (record.status, record.exit_code) == ("failed", 5)
    assert "ended with 3" in record.error


@pytest.mark.parametrize(("text", "words"), [
    ("echo no luck >&2; exit 7", "ended with 7: no luck"),
    ("true", "left no files in ./temp"),
    ("mkdir temp", "left no files in ./temp"),
    ("echo x > temp", "./temp is a file, expected a folder"),
    ("mkdir temp\r\necho x > temp/a\r\n", "has Windows line endings (CRLF)"),
    ("ln -s /etc temp", "left no files in ./temp"),
    ("mkdir temp; ln -s /etc/passwd temp/words.csv", "would leave the folder"),
    ("false | true; mkdir temp; echo x > temp/x", "ended with 1"),
    ("echo $UNSET_NAME", "UNSET_NAME"),
])  # fmt: skip
def test_a_script_that_fails_is_refused_with_what_it_printed(toy, call, workspace, script, text, words):
    path = script(text)
    code, _, err = call("--workspace", workspace, "fetch", "-u", "TOY", "--name", "Mine", "--command-file", path)
    assert code == 5
    assert words in err
    assert err.count("\n") == 1


def test_a_script_can_write_to_its_folder_only(toy, call, workspace, script, tmp_path):
    from mlops_core.processes.confinement import landlock_version

    if not landlock_version():
        pytest.skip("this system cannot confine processes")
    path = script(f"mkdir temp; echo a > temp/words.csv; echo b > {tmp_path}/outside")
    code, _, err = call("--workspace", workspace, "fetch", "-u", "TOY", "--name", "Mine", "--command-file", path)
    assert code == 5
    assert "outside" in err
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(("arguments", "words"), [
    (("--from", "https://example.org/a.zip"), "needs --name"),
    (("--name", "a"), "needs --name NAME and one of"),
    (("--name", "a", "--from", "u", "--command-file", "f"), "one of --from URL and --command-file"),
    (("--name", "a", "--command-file", "f", "--sha256", "0" * 64), "--sha256 is the checksum of a file"),
    (("--name", "a", "--from", "https://example.org/a.zip", "--dataset", "b"), "use one of the two"),
    (("--name", "a", "--from", "file:///etc/passwd"), "scheme 'file'"),
    (("--name", "a", "--from", "http://me:secret@127.0.0.1/a.zip"), "holds credentials, which are not supported"),
    (("--name", "Words", "--from", "https://example.org/a.zip"), "is a data set of the catalogue of TOY"),
    (("--name", "../a", "--from", "https://example.org/a.zip"), "portable name"),
    (("--name", "a", "--command-file", "missing.sh"), "cannot be read"),
])  # fmt: skip
def test_options_that_do_not_fit_are_refused_in_one_line(toy, call, workspace, arguments, words):
    code, _, err = call("--workspace", workspace, "fetch", "-u", "TOY", *arguments)
    assert code in (2, 5)
    assert words in err
    assert "secret" not in err
    assert "Traceback" not in err


def test_a_path_and_a_source_contradict_each_other(toy, workspace, tmp_path):
    with pytest.raises(mlops_core.MlopsError, match="remove the other"):
        mlops_core.run(
            "TOY",
            overrides=[f"dataset.path={tmp_path}", "dataset.source={url: https://example.org/a.zip}"],
            workspace=workspace,
        )
    assert DatasetError.exit_code == 5
