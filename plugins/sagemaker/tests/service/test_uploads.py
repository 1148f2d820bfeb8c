"""Uploads of data sets to S3: complete or absent, no unnecessary transfers, and no loss through faults."""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

boto3 = pytest.importorskip("boto3", reason="the extra 'aws' is not installed")
pytest.importorskip("obstore", reason="the extra 'aws' is not installed")
pytest.importorskip("moto", reason="the extra 'test' is not installed")

from engine_tests.remote_runs import variables  # noqa: E402  the same
from mlops_sagemaker.service.account import Account  # noqa: E402  the same
from mlops_sagemaker.service.store import S3Bucket  # noqa: E402  the same
from sagemaker_tests.faulty_proxy import Fault, FaultyProxy  # noqa: E402  the same

from mlops_core.api import prepare_run  # noqa: E402  after the skip
from mlops_core.datasets.digests import tree_manifest  # noqa: E402  the same
from mlops_core.errors import DatasetError  # noqa: E402  the same
from mlops_core.runners.remote.datasets import Place, provide_dataset, read_manifest  # noqa: E402  the same
from mlops_core.workspace.store import Store  # noqa: E402  the same

PLACE = "train/datasets/words"
MANIFEST = f"{PLACE}/.mlops-dataset.json"


@pytest.fixture(scope="module")
def s3_url():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class World:
    """A bucket behind a proxy, and a folder with files."""

    def __init__(self, tmp_path, proxy, bucket):
        self.proxy, self.bucket = proxy, bucket
        self.folder = tmp_path / "data"
        self.folder.mkdir()
        self._tmp_path = tmp_path
        self.account = Account()

    def fill(self, count=12):
        for number in range(count):
            self.write(f"part-{number % 3}/clip {number:02d}.wav", os.urandom(2000))

    def write(self, path, content):
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content)

    def provide(self, workspace="workspace", **options):
        request = prepare_run("TOY", overrides=[f'dataset.path="{self.folder}"'])
        request = replace(request, dataset=replace(request.dataset, required=()))  # these are not the toy's words
        with Store(self._tmp_path / workspace) as store:
            uri = f"s3://{self.bucket}/{PLACE}/"
            progress = lambda *_: None  # noqa: E731  prints nothing
            bucket = S3Bucket(self.bucket, account=Account())
            return provide_dataset(request, uri, store=store, bucket=bucket, progress=progress, **options)

    def objects(self):
        s3 = self.account.client("s3")
        contents = {}
        for item in s3.list_objects_v2(Bucket=self.bucket).get("Contents", ()):
            contents[item["Key"]] = s3.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read()
        return contents

    def files(self):
        return {key.removeprefix(f"{PLACE}/"): value for key, value in self.objects().items() if PLACE + "/" in key}

    def assert_complete(self):
        files = self.files()
        assert files.pop(".mlops-dataset.json")
        wanted = {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*") if path.is_file()}
        assert files == {name: path.read_bytes() for name, path in wanted.items()}
        place = Place(scheme="s3", bucket=self.bucket, prefix=PLACE)
        manifest = read_manifest(S3Bucket(self.bucket, account=self.account), place)
        assert (manifest.files, manifest.digest) == (len(wanted), tree_manifest(self.folder).digest)

    def sent(self):
        """Return the keys that were uploaded since the last call."""
        keys = [one.path.partition("?")[0] for one in self.proxy.seen if one.method == "PUT" and one.status == 200]
        self.proxy.seen.clear()
        return [key.removeprefix(f"/{self.bucket}/") for key in keys]


@pytest.fixture
def world(tmp_path, s3_url, toy, _clean_environment, request):
    bucket = f"b-{hashlib.sha256(request.node.name.encode()).hexdigest()[:20]}"
    with (
        FaultyProxy(s3_url) as proxy,
        variables(
            AWS_ENDPOINT_URL=proxy.url,
            AWS_ACCESS_KEY_ID="any",
            AWS_SECRET_ACCESS_KEY="any",
            AWS_REGION="us-east-1",
            AWS_MAX_ATTEMPTS="4",
        ),
    ):
        world = World(tmp_path, proxy, bucket)
        world.account.client("s3").create_bucket(Bucket=bucket)
        proxy.seen.clear()
        yield world


def test_manifest_is_uploaded_after_all_files(world):
    world.fill()
    assert world.provide().sent == 12
    sent = world.sent()
    assert sent[-1] == MANIFEST
    assert sent[-2].startswith(f"{PLACE}.mlops-files/")
    assert len(sent) == 14
    world.assert_complete()


def test_file_names_with_any_characters_are_kept(world):
    names = [
        "a b.wav",
        "ü/ß.wav",
        "x#y?z.wav",
        "50%.wav",
        "plus+and&.wav",
        "quote'\".wav",
        "[b]{c}~^`|\\.wav",
        "日本.wav",
    ]
    for name in names:
        world.write(name, name.encode())
    assert world.provide().sent == len(names)
    world.assert_complete()


def test_unchanged_data_set_needs_one_request(world):
    for number in range(300):
        world.write(f"{number:04d}", b"x")
    time.sleep(0.1)  # files with recent changes are read again
    world.provide()
    world.proxy.seen.clear()
    assert world.provide().sent == 0
    assert [(one.method, one.path) for one in world.proxy.seen] == [("GET", f"/{world.bucket}/{MANIFEST}")]


def test_changed_files_are_uploaded_and_deleted_files_removed_from_any_workspace(world):
    world.fill()
    world.provide()
    world.sent()
    world.write("part-0/clip 00.wav", b"changed")
    world.write("part-0/new.wav", b"new")
    (world.folder / "part-1/clip 01.wav").unlink()
    provided = world.provide("another-workspace")
    assert (provided.sent, provided.removed) == (2, 1)
    assert {key.removeprefix(f"{PLACE}/") for key in world.sent()[:-2]} == {"part-0/clip 00.wav", "part-0/new.wav"}
    world.assert_complete()


def test_manifest_is_absent_during_a_change(world):
    world.fill()
    world.provide()
    world.write("part-0/clip 00.wav", b"changed")
    world.proxy.faults = [Fault("PUT", "clip 00", "403")]
    with pytest.raises(DatasetError, match="access denied"):
        world.provide()
    assert MANIFEST not in world.objects()
    world.proxy.faults = []
    assert world.provide().sent == 1
    world.assert_complete()


def test_interrupted_upload_is_resumed(world):
    world.fill(30)
    world.proxy.faults = [Fault("PUT", "part-", "403", after=20)]
    with pytest.raises(DatasetError, match="access denied"):
        world.provide()
    assert MANIFEST not in world.objects()
    first = [key for key in world.sent() if "part-" in key]
    world.proxy.faults = []
    provided = world.provide()
    second = [key for key in world.sent() if "part-" in key]
    assert provided.sent == len(second) <= 12
    assert set(first) | set(second) >= {key for key in world.objects() if "part-" in key}
    world.assert_complete()


@pytest.mark.representatives(4)
@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "part-", "500", times=6),
        Fault("PUT", "part-", "503", times=6),
        Fault("PUT", "part-", "slow", times=6),
        Fault("PUT", "part-", "drop", times=3),
        Fault("PUT", "json", "500", times=2),
        Fault("GET", "json", "500", times=2),
        Fault("GET", "json", "drop", times=1),
        Fault("GET", "list-type", "500", times=2),
        Fault("GET", "list-type", "drop", times=1),
        Fault("GET", "list-type", "cut", times=1),
        Fault("PUT", "part-", "cut", times=3),
    ],
    ids=lambda fault: f"{fault.kind} of {fault.method} {fault.text}",
)
def test_temporary_fault_is_retried(world, fault):
    world.fill()
    world.proxy.faults = [Fault(**vars(fault))]
    world.provide()
    assert world.proxy.faults[0].times == 0
    world.proxy.faults = []
    world.assert_complete()


def test_truncated_manifest_is_read_again(world):
    world.fill()
    world.provide()
    world.sent()
    world.proxy.faults = [Fault("GET", "json", "cut", times=1)]
    assert world.provide().sent == 0
    assert world.proxy.faults[0].times == 0
    assert world.sent() == []


@pytest.mark.parametrize("fault", ["cut", "500"])
def test_unreadable_manifest_is_not_mistaken_for_a_missing_one(world, fault):
    world.fill()
    world.provide()
    world.sent()
    world.proxy.faults = [Fault("GET", "json", fault)]
    with pytest.raises(DatasetError, match=r"s3://.*mlops-dataset\.json: .*rerun the command"):
        world.provide()
    assert world.sent() == []
    world.proxy.faults = []
    world.assert_complete()


@pytest.mark.representatives(4)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("PUT", "part-", "403"), "access denied: mlops sagemaker policy prints the required permissions"),
        (Fault("PUT", "part-", "500"), "uploaded files are kept, rerun the command"),
        (Fault("GET", "list-type", "403"), "access denied"),
        (Fault("GET", "json", "403"), "access denied"),
        (Fault("GET", "json", "404", code="NoSuchBucket"), "does not exist"),
        (Fault("GET", "json", "301", code="PermanentRedirect"), "is in another region"),
        (Fault("PUT", "part-", "400", code="AuthorizationHeaderMalformed"), "is in another region"),
        (Fault("PUT", "part-", "400", code="BadDigest"), "BadDigest injected by the proxy"),
        (
            Fault("PUT", "part-", "403", code="ExpiredToken"),
            "the credentials have expired: injected by the proxy; sign in",
        ),
        (Fault("GET", "json", "403", code="InvalidAccessKeyId"), "the credentials are not accepted"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.kind} {value.code} {value.method} {value.text}",
)
def test_permanent_fault_is_reported_in_one_line_and_leaves_no_manifest(world, fault, message):
    world.fill()
    world.proxy.faults = [Fault(**vars(fault))]
    with variables(AWS_MAX_ATTEMPTS="2"), pytest.raises(DatasetError) as caught:
        world.provide()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    world.proxy.faults = []
    assert MANIFEST not in world.objects()


def test_objects_copied_by_another_program_are_not_uploaded_again(world):
    world.fill()
    for path in world.folder.rglob("*.wav"):
        key = f"{PLACE}/{path.relative_to(world.folder)}"
        world.account.client("s3").put_object(Bucket=world.bucket, Key=key, Body=path.read_bytes())
    world.sent()
    assert world.provide().sent == 0
    assert len(world.sent()) == 2
    world.assert_complete()


def test_replaced_object_is_detected_by_verification(world):
    world.fill()
    world.provide()
    key = f"{PLACE}/part-0/clip 00.wav"
    size = len((world.folder / "part-0/clip 00.wav").read_bytes())
    world.account.client("s3").put_object(Bucket=world.bucket, Key=key, Body=b"z" * size)
    assert world.provide().sent == 0
    assert world.provide(is_verified=True).sent == 1
    world.assert_complete()


def test_unexpected_objects_are_refused_by_name(world):
    world.fill()
    world.account.client("s3").put_object(Bucket=world.bucket, Key=f"{PLACE}/stranger.wav", Body=b"x")
    with pytest.raises(DatasetError, match="holds 1 object that do not belong to the data set.*stranger.wav"):
        world.provide()
    assert MANIFEST not in world.objects()


def test_file_that_changes_during_the_upload_leaves_no_manifest(world):
    world.fill()

    def change(method, path):
        if method == "PUT" and "clip 05" in path:
            world.write("part-2/clip 05.wav", os.urandom(2000))

    world.proxy.on_request = change
    with pytest.raises(DatasetError, match="clip 05.wav changed during the upload"):
        world.provide()
    world.proxy.on_request = None
    assert MANIFEST not in world.objects()
    assert world.provide().sent >= 1
    world.assert_complete()


def test_damaged_manifest_is_treated_as_missing(world):
    world.fill()
    world.provide()
    world.account.client("s3").put_object(Bucket=world.bucket, Key=MANIFEST, Body=b'{"format": "mlops-data')
    world.sent()
    assert world.provide().sent == 0
    assert len(world.sent()) == 2
    world.assert_complete()


def test_large_file_is_uploaded_in_parts_and_resumed(world):
    world.write("large.bin", os.urandom(40_000_000))
    world.write("small.bin", b"small")
    world.proxy.faults = [Fault("PUT", "partNumber=3", "403")]
    with pytest.raises(DatasetError, match="large.bin: .*uploaded parts are kept"):
        world.provide()
    assert f"{PLACE}/large.bin" not in world.objects()
    assert world.proxy.count("PUT", "partNumber=1") == 1
    world.proxy.faults = []
    world.proxy.seen.clear()
    world.provide()
    assert [world.proxy.count("PUT", f"partNumber={number}") for number in (1, 2, 3)] == [0, 0, 1]
    world.assert_complete()


def test_manifest_of_the_same_catalogue_entry_avoids_the_fetch(world, tmp_path):
    uri = f"s3://{world.bucket}/{PLACE}/"
    request = prepare_run("TOY")
    say_nothing = lambda *_: None  # noqa: E731  progress
    bucket = S3Bucket(world.bucket, account=Account())
    with Store(tmp_path / "first") as store:
        first = provide_dataset(request, uri, store=store, bucket=bucket, progress=say_nothing)
    with Store(tmp_path / "second") as store:
        second = provide_dataset(request, uri, store=store, bucket=bucket, progress=say_nothing)
        assert not list(store.datasets.iterdir())
    assert (first.sent, second.sent) == (1, 0)
    assert (first.record.digest, first.record.is_generated) == (second.record.digest, second.record.is_generated)


def test_fetch_command_reports_the_upload(world, tmp_path):
    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(tmp_path / "w")]
    command += ["fetch", "-u", "TOY", "--dataset", "words", "--to", f"s3://{world.bucket}/{PLACE}/"]
    out = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert out[0].startswith("words: 1 of 1 file sent, generated data, 1 file")
    assert out[1].startswith("words: already complete, generated data, 1 file")
    assert f"in s3://{world.bucket}/{PLACE}/" in out[1]


@pytest.mark.parametrize("text", ["s3://bucket", "s3://bucket/", "bucket/x", "s3:///x", "s3://bucket/a//b"])
def test_invalid_address_is_refused(text):
    with pytest.raises(DatasetError, match="is not a valid address for a data set; expected SCHEME://BUCKET/PREFIX/"):
        Place.parse(text)
