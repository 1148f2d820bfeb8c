"""Sources of weights and models: paths of any kind, addresses, and digests."""

import hashlib
import http.server
import io
import tarfile
import threading

import h5py
import pytest
from mlops_aed.config import General, StEdgeAi
from mlops_aed.models.pretrained import ZOO_WEIGHTS, ZOO_WEIGHTS_SHA256, digest, obtain, with_digest
from mlops_aed.training.config import ModelChoice

from mlops_core import ConfigError, DatasetError

CONTENT = b"some weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path):
    """An address on this machine that serves the folder ``served``."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def test_a_path_with_backslashes_is_found(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "w.h5").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    found = obtain(r"models\w.h5", tmp_path, sha256=SHA256, key="k")
    assert found.read_bytes() == CONTENT


def test_an_address_is_downloaded_and_checked(tmp_path, server):
    folder, address = server
    (folder / "w.h5").write_bytes(CONTENT)
    (tmp_path / "a").mkdir()
    found = obtain(f"{address}/w.h5", tmp_path / "a", sha256=SHA256, key="training.model.weights")
    assert found == tmp_path / "a" / "w.h5"
    assert digest(found) == SHA256
    (tmp_path / "b").mkdir()
    assert obtain(f"{address}/w.h5", tmp_path / "b", sha256=None, key="k").read_bytes() == CONTENT
    (tmp_path / "c").mkdir()
    with pytest.raises(DatasetError, match=r"training\.model\.weights"):
        obtain(f"{address}/w.h5", tmp_path / "c", sha256="0" * 64, key="training.model.weights")
    with pytest.raises(DatasetError, match="404"):
        obtain(f"{address}/gone.h5", tmp_path / "c", sha256=None, key="training.model.weights")


def test_the_zoos_own_address_is_pinned_to_one_commit_and_one_content():
    assert ZOO_WEIGHTS.startswith("https://")
    assert len(ZOO_WEIGHTS_SHA256) == 64
    assert any(len(part) == 40 for part in ZOO_WEIGHTS.split("/"))


def test_a_missing_or_changed_file_is_named(tmp_path):
    with pytest.raises(
        ConfigError, match=r"training\.model\.weights: no file .*gone\.h5; expected a path on the machine"
    ):
        obtain(str(tmp_path / "gone.h5"), tmp_path, sha256=None, key="training.model.weights")
    (tmp_path / "w.h5").write_bytes(CONTENT)
    with pytest.raises(ConfigError, match=f"has the SHA-256 {SHA256}; expected {'0' * 64}"):
        obtain(str(tmp_path / "w.h5"), tmp_path, sha256="0" * 64, key="k")


def test_the_digest_of_a_file_is_noted_and_changes_with_its_content(tmp_path):
    path = tmp_path / "w.bin"
    path.write_bytes(CONTENT)
    assert ModelChoice(name="yamnet", weights=str(path)).weights_sha256 == SHA256
    path.write_bytes(b"others")
    assert ModelChoice(name="yamnet", weights=str(path)).weights_sha256 not in {SHA256, None}
    assert ModelChoice(name="yamnet", weights="https://a/w.h5").weights_sha256 is None
    given = {"weights": str(path), "weights_sha256": SHA256}
    assert with_digest(given, path_key="weights", digest_key="weights_sha256") == given


def test_the_digest_of_a_folder_is_that_of_its_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata.json").write_text("{}")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    (tmp_path / "b" / "metadata.json").write_text("{ }")
    assert digest(tmp_path / "a") != digest(tmp_path / "b")
    (tmp_path / "a" / "metadata.json").rename(tmp_path / "a" / "other.json")
    assert digest(tmp_path / "a") != digest(tmp_path / "b")


@pytest.mark.parametrize("odd", [None, [], "text", {"weights": 3}, {"weights": None}, {}])
def test_a_section_without_a_file_is_unchanged(odd):
    assert with_digest(odd, path_key="weights", digest_key="weights_sha256") == odd


def test_a_relative_path_is_found_from_where_steps_run(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    with h5py.File(tmp_path / "models" / "w.h5", "w") as file:
        file["weights"] = [1.0]
    monkeypatch.chdir(tmp_path)
    assert ModelChoice(name="yamnet", weights=r"models\w.h5").weights == str(tmp_path / "models" / "w.h5")
    general = General(operation_mode="evaluation", model_path="models/w.h5")
    expected = hashlib.sha256((tmp_path / "models" / "w.h5").read_bytes()).hexdigest()
    assert (general.model_path, general.model_sha256) == (str(tmp_path / "models" / "w.h5"), expected)
    assert StEdgeAi(path="models/w.h5").path == str(tmp_path / "models" / "w.h5")


@pytest.mark.parametrize("where", ["https://example.org/w.h5", "elsewhere/w.h5", "C:/w.h5", "~nobody/w.h5", "a" * 5000])
def test_a_path_that_is_not_on_this_machine_is_unchanged(where):
    assert ModelChoice(name="yamnet", weights=where).weights == where


def archive(path, *names):
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            item = tarfile.TarInfo(name)
            item.size = len(CONTENT)
            tar.addfile(item, io.BytesIO(CONTENT))
    return str(path)


@pytest.mark.parametrize("names", [["../../m.h5", "log.txt"], ["saved/best_model.h5", "saved/last_model.h5"]])
def test_the_model_of_an_archive_is_unpacked_and_nothing_is_written_elsewhere(tmp_path, names):
    (tmp_path / "scratch").mkdir()
    path = archive(tmp_path / "model.tar.gz", *names)
    found = obtain(path, tmp_path / "scratch", sha256=None, key="k")
    assert found == tmp_path / "scratch" / names[0].rpartition("/")[2]
    assert found.read_bytes() == CONTENT
    assert sorted(item.name for item in tmp_path.iterdir()) == ["model.tar.gz", "scratch"]


def test_an_archive_without_one_model_or_a_damaged_one_is_named(tmp_path):
    path = archive(tmp_path / "two.tar.gz", "a.h5", "b.tflite")
    with pytest.raises(ConfigError, match=r"two\.tar\.gz holds 2 models \(a\.h5, b\.tflite\); expected one"):
        obtain(path, tmp_path, sha256=None, key="k")
    with pytest.raises(ConfigError, match=r"holds 0 models \(none\)"):
        obtain(archive(tmp_path / "none.tar.gz", "a.txt"), tmp_path, sha256=None, key="k")
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "two.tar.gz").read_bytes()[:60])
    with pytest.raises(ConfigError, match=r"cut\.tar\.gz is not a readable archive"):
        obtain(str(tmp_path / "cut.tar.gz"), tmp_path, sha256=None, key="k")
