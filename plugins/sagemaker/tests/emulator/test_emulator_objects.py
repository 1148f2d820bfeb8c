"""Objects in a folder and in S3: keys, prefixes, and errors of the endpoint."""

import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlops_sagemaker.emulator.collection import place_dataset, remove_dataset
from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.objects import FolderObjects, S3Objects, download_prefix, relative_key, upload_folder
from mlops_sagemaker.service.uris import S3Uri


@contextmanager
def answering(status, body=b"", *, length=None):
    """Serve the same response to every request, on loopback."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.send_header("ETag", '"x"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = True

        do_HEAD = do_PUT = do_GET  # noqa: N815  the names that the server calls

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def objects_at(url):
    boto3 = pytest.importorskip("boto3", reason="the extra 'aws' is not installed")
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=2)
    return S3Objects(
        boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=config,
        )
    )


def error(code):
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, error("AccessDenied"), FaultKind.CLIENT),
        (404, error("NoSuchBucket"), FaultKind.CLIENT),
        (500, error("InternalError"), FaultKind.SERVICE),
        (503, error("SlowDown"), FaultKind.SERVICE),
    ],
)
def test_error_response_becomes_a_fault_that_is_retried_only_if_it_is_temporary(tmp_path, status, body, kind):
    uri = S3Uri("bucket", "key")
    (tmp_path / "file").write_text("x")
    with answering(status, body) as url:
        objects = objects_at(url)
        for call in (
            lambda: list(objects.keys(uri)),
            lambda: objects.read(uri),
            lambda: objects.download(uri, tmp_path / "file-from-s3"),
            lambda: objects.upload(tmp_path / "file", uri),
        ):
            with pytest.raises(StepFault, match="s3://bucket/key: ") as caught:
                call()
            assert caught.value.kind is kind
    assert not (tmp_path / "file-from-s3").exists()


def test_truncated_body_is_a_retried_fault_and_writes_no_file(tmp_path):
    with answering(200, b"half", length=1000) as url:
        objects = objects_at(url)
        with pytest.raises(StepFault) as caught:
            objects.download(S3Uri("bucket", "key"), tmp_path / "file-from-s3")
        assert caught.value.kind is FaultKind.SERVICE
        with pytest.raises(StepFault) as caught:
            objects.read(S3Uri("bucket", "key"))
        assert caught.value.kind is FaultKind.SERVICE
    assert not (tmp_path / "file-from-s3").exists()


def test_unreachable_endpoint_is_a_retried_fault(tmp_path):
    with answering(200) as url:
        pass
    with pytest.raises(StepFault) as caught:
        objects_at(url).read(S3Uri("bucket", "key"))
    assert caught.value.kind is FaultKind.SERVICE


def test_objects_in_a_folder_follow_the_rules_of_s3(tmp_path):
    objects = FolderObjects(tmp_path / "s3")
    (tmp_path / "file").write_text("x")
    for key in ("b/2", "b/10", "a", "bc/1"):
        objects.upload(tmp_path / "file", S3Uri("bucket", key))
    assert list(objects.keys(S3Uri("bucket", ""))) == ["a", "b/10", "b/2", "bc/1"]
    assert list(objects.keys(S3Uri("bucket", "b"))) == ["b/10", "b/2", "bc/1"]
    assert list(objects.keys(S3Uri("bucket", "b/"))) == ["b/10", "b/2"]
    assert list(objects.keys(S3Uri("bucket", "none"))) == []
    with pytest.raises(StepFault, match="NoSuchBucket"):
        list(objects.keys(S3Uri("other", "")))
    with pytest.raises(StepFault, match="NoSuchKey"):
        objects.read(S3Uri("bucket", "b"))


@pytest.mark.parametrize("key", ["../out", "a/../../out", "/a", "a//b", "a/"])
def test_key_that_could_leave_its_bucket_is_refused(tmp_path, key):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StepFault, match="not a valid file path"):
        FolderObjects(tmp_path / "s3").upload(tmp_path / "file", S3Uri("bucket", key))


def test_key_that_is_also_a_folder_is_refused(tmp_path):
    objects = FolderObjects(tmp_path / "s3")
    (tmp_path / "file").write_text("x")
    objects.upload(tmp_path / "file", S3Uri("bucket", "a"))
    with pytest.raises(StepFault, match="a key cannot be the folder of another key"):
        objects.upload(tmp_path / "file", S3Uri("bucket", "a/b"))


def test_folder_round_trips_through_s3(tmp_path):
    objects = FolderObjects(tmp_path / "s3")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "ä b.txt").write_text("x")
    (tmp_path / "tree" / "top").write_text("y")
    upload_folder(objects, tmp_path / "tree", S3Uri("bucket", "prefix/"))
    download_prefix(objects, S3Uri("bucket", "prefix/"), tmp_path / "back")
    assert len([path for path in (tmp_path / "back").rglob("*") if path.is_file()]) == 2
    assert (tmp_path / "back" / "deep" / "ä b.txt").read_text() == "x"
    assert (tmp_path / "back" / "top").read_text() == "y"


@pytest.mark.parametrize(
    ("prefix", "key", "path"),
    [
        ("a/b/", "a/b/c/d", "c/d"),
        ("a/b", "a/b/c", "c"),
        ("a/b", "a/b", "b"),
        ("a/b", "a/bc/d", "bc/d"),
        ("", "a/b", "a/b"),
        ("b", "b", "b"),
    ],
)
def test_relative_path_begins_after_the_prefix_or_its_folder(prefix, key, path):
    assert relative_key(prefix, key) == path


def test_data_set_that_was_deleted_from_its_bucket_is_placed_again(tmp_path):
    objects, uri, folder = FolderObjects(tmp_path / "s3"), S3Uri("b", "train/datasets/words"), tmp_path / "words"
    folder.mkdir()
    (folder / "a.csv").write_text("a")
    for _ in range(2):
        place_dataset(objects, folder, uri, digest="d", own=tmp_path / "home")
        assert list(objects.keys(uri)) == ["train/datasets/words/a.csv"]
        shutil.rmtree(objects.path(uri))


def test_linked_folders_of_a_data_set_are_placed_as_the_digest_covers_them(tmp_path):
    objects, uri, folder = FolderObjects(tmp_path / "s3"), S3Uri("b", "train/datasets/words"), tmp_path / "words"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.csv").write_text("a")
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "linked.csv").symlink_to(tmp_path / "elsewhere" / "a.csv")
    (folder / "around").symlink_to(folder)
    place_dataset(objects, folder, uri, digest="d", own=tmp_path / "home")
    assert sorted(objects.keys(uri)) == ["train/datasets/words/linked.csv", "train/datasets/words/linked/a.csv"]


def test_data_that_somebody_edits_after_they_were_placed_stay_as_they_were(tmp_path):
    objects, uri, folder = FolderObjects(tmp_path / "s3"), S3Uri("b", "train/datasets/words"), tmp_path / "words"
    folder.mkdir()
    (folder / "a.csv").write_text("right")
    placed = objects.path(uri) / "a.csv"
    place_dataset(objects, folder, uri, digest="d", own=folder)  # as before files were copied
    assert placed.stat().st_nlink == 2
    for text in ("right", "wrong"):
        (folder / "a.csv").write_text(text)
        place_dataset(objects, folder, uri, digest="d", own=tmp_path / "home")
        assert placed.read_text() == "right"
    remove_dataset(objects, uri)
    place_dataset(objects, folder, uri, digest="d", own=tmp_path / "home")
    assert placed.read_text() == "wrong"
