"""A raw archive at an address with a signature, loaded into a datastore as images and annotations."""

import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
pytest.importorskip("mlops_object_detection", reason="the use case is not installed")
pytest.importorskip("azure.identity", reason="azure-identity is not installed")
pytest.importorskip("cryptography", reason="the extra 'emulator' is not installed")

from mlops_azureml.delivery.loading import fetch_archive  # noqa: E402  what may be missing comes first

from mlops_core import UsageError  # noqa: E402  what may be missing comes first
from mlops_core.runners import RunnerError  # noqa: E402  what may be missing comes first

pytestmark = pytest.mark.slow


@pytest.fixture
def archive(tmp_path):
    """Return a zip as the uploader of existing projects reads it: images, and numpy arrays of symbols."""
    folder = tmp_path / "raw" / "drawings"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for index in range(3):
        Image.new("L", (120, 80), 255).save(folder / "images" / f"{index}.jpg")
        rows = np.array([["symbol_1", [10, 10, 30, 30], 1], ["symbol_2", [50, 20, 80, 60], 2]], dtype=object)
        np.save(folder / "labels" / f"{index}_symbols.npy", rows, allow_pickle=True)
    names = {"1": "Instrument/Valve/Gate valve", "2": "Piping/Fittings/Flange"}
    (folder / "label_config_map.json").write_text(json.dumps(names))
    path = tmp_path / "drawings.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for each in sorted(folder.rglob("*")):
            packed.write(each, each.relative_to(folder.parent))
    return path


@pytest.fixture
def served(archive):
    """Yield the address of the archive, which needs a signature."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            is_signed = self.path.endswith("?sig=secret-signature")
            content = archive.read_bytes() if is_signed else b""
            self.send_response(200 if is_signed else 403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/raw/drawings.zip"
    server.shutdown()
    server.server_close()
    thread.join()


def test_archive_at_an_address_becomes_images_and_annotations(endpoint, workspace, call, served):
    target = "azureml://datastores/workspaceblobstore/paths/data/"
    command = ["--workspace", workspace, "fetch", "-u", "SYMBOL_DETECTION", "--to", target]
    code, out, err = call(*command, "--from", f"{served}?sig=secret-signature")
    assert code == 0, err
    assert "secret-signature" not in out + err
    assert "3 files loaded, with labels" in out
    records = [path for path in Path(workspace).rglob("*") if path.is_file()]
    assert records
    assert not [path for path in records if b"secret-signature" in path.read_bytes()]
    assert f"export INPUT_IMAGE_DATA_PATH={target}images/" in out
    folder = endpoint.blobs.container_folder("workspaceblobstore") / "data"
    assert sorted(path.name for path in (folder / "images").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    (labels,) = (folder / "labels").iterdir()
    lines = [json.loads(line) for line in labels.read_text().splitlines()]
    assert [line["image_url"] for line in lines] == ["0.jpg", "1.jpg", "2.jpg"]
    first = lines[0]["label"][0]
    assert first["label"] == "Instrument/Valve/Gate valve"
    assert first["topX"] == pytest.approx(10 / 120)
    assert first["bottomY"] == pytest.approx(30 / 80)


def test_refused_download_is_one_line_without_the_signature(served, tmp_path):
    with pytest.raises(RunnerError, match=r"drawings\.zip: the server answered 403; check .* its signature") as caught:
        fetch_archive(f"{served}?sig=wrong-signature", tmp_path)
    assert "wrong-signature" not in str(caught.value)
    with pytest.raises(UsageError, match="is not supported; expected an address of http or https"):
        fetch_archive("ftp://example/x.zip", tmp_path)
    with pytest.raises(UsageError, match="is not a file"):
        fetch_archive(str(tmp_path / "none.zip"), tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https:/host/raw.zip?sig=wrong-signature", "https:/host/raw.zip is not a file"),
        ("https:///raw.zip?sig=wrong-signature", "has no host; expected https://HOST/PATH"),
        ("https://host:port/raw.zip?sig=wrong-signature", "the address of the archive is not valid"),
        ("https://[::1/raw.zip?sig=wrong-signature", "the address of the archive is not valid"),
        ("http://user:wrong-signature@127.0.0.1:9/raw.zip", "http://127.0.0.1:9/raw.zip cannot be downloaded"),
    ],
)
def test_malformed_address_is_refused_without_its_secret(endpoint, workspace, call, source, message):
    target = "azureml://datastores/workspaceblobstore/paths/data/"
    code, out, err = call("--workspace", workspace, "fetch", "-u", "SYMBOL_DETECTION", "--from", source, "--to", target)
    assert code in (2, 4), out
    assert message in err
    assert "wrong-signature" not in out + err
    assert len(err.strip().splitlines()) == 1


def test_use_case_without_annotations_is_refused_before_the_download(endpoint, workspace, call):
    target = "azureml://datastores/workspaceblobstore/paths/data/"
    code, _, err = call(
        "--workspace", workspace, "fetch", "-u", "ABALONE", "--from", "https://127.0.0.1:9/x.zip", "--to", target
    )
    assert code == 2
    assert "use case 'ABALONE' has no step that writes 'annotations' from a data set" in err


def test_archive_without_an_engine_that_loads_it_needs_a_name(workspace, call):
    code, _, err = call("--workspace", workspace, "fetch", "-u", "SYMBOL_DETECTION", "--from", "https://127.0.0.1:9/x")
    assert code == 2
    assert "needs --name NAME" in err
