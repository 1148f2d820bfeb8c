"""The objects behind ``s3://`` URIs: files in a folder, or objects of an S3 endpoint, both as `ObjectStore`.

Both follow the rules of S3: a prefix is the beginning of a key, not a folder; listings are sorted by key; objects are
written atomically.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlops_core.runners import RunnerError
from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.paths import require_relative
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Iterator


def parse_uri(text: object) -> S3Uri:
    """Parse ``s3://bucket/key``.

    Raises:
        StepFault: the text is not an S3 URI.
    """
    try:
        return S3Uri.parse(text)
    except RunnerError as error:
        raise StepFault(FaultKind.CLIENT, str(error)) from error


class ObjectStore(Protocol):
    """Access to the objects of all buckets."""

    def keys(self, prefix: S3Uri) -> Iterator[str]:
        """Yield the keys that begin with the prefix, in order.

        Raises:
            StepFault: the bucket does not exist, or access is denied.
        """

    def download(self, uri: S3Uri, path: Path) -> None:
        """Write an object to a file in an existing folder.

        Raises:
            StepFault: the object does not exist.
        """

    def upload(self, path: Path, uri: S3Uri) -> None:
        """Write a file to an object, atomically."""

    def read(self, uri: S3Uri) -> bytes:
        """Return the contents of a small object.

        Raises:
            StepFault: the object does not exist.
        """


class FolderObjects:
    """Objects as files, in one folder per bucket; the folder of a bucket is created with its first object."""

    def __init__(self, root: Path) -> None:
        """Store the buckets below `root`."""
        self._root = root

    def path(self, uri: S3Uri) -> Path:
        """Return the path of an object.

        Raises:
            StepFault: the key is not a valid path.
        """
        parts = uri.key.split("/")
        if "" in parts or {"..", "."} & set(parts) or "\0" in uri.key:
            raise StepFault(FaultKind.CLIENT, f"{uri}: the key is not a valid file path")
        return self._bucket(uri) / uri.key

    def _bucket(self, uri: S3Uri) -> Path:
        if uri.bucket in ("", ".", "..") or "/" in uri.bucket or "\0" in uri.bucket:
            raise StepFault(FaultKind.CLIENT, f"{uri}: '{uri.bucket}' is not a valid bucket name")
        return self._root / uri.bucket

    def keys(self, prefix: S3Uri) -> Iterator[str]:
        """Yield the keys that begin with the prefix, in order."""
        bucket = self._bucket(prefix)
        if not bucket.is_dir():
            raise StepFault(FaultKind.CLIENT, f"{prefix}: NoSuchBucket: bucket '{prefix.bucket}' does not exist")
        folder, _, _ = prefix.key.rpartition("/")
        if {"..", "."} & set(folder.split("/")) or folder.startswith("/") or "\0" in folder:
            return  # no object has such a key
        yield from sorted(key for key in _files(bucket, bucket / folder) if key.startswith(prefix.key))

    def download(self, uri: S3Uri, path: Path) -> None:
        """Copy the file of an object."""
        try:
            shutil.copyfile(self.path(uri), path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise StepFault(FaultKind.CLIENT, f"{uri}: NoSuchKey: the object does not exist") from None

    def upload(self, path: Path, uri: S3Uri) -> None:
        """Copy a file to an object, atomically by a rename."""
        target = self.path(uri)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".partial-", dir=target.parent)
            os.close(descriptor)
            shutil.copyfile(path, name)
            Path(name).replace(target)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise StepFault(
                FaultKind.CLIENT, f"{uri}: {error.strerror}: a key cannot be the folder of another key here"
            ) from error

    def read(self, uri: S3Uri) -> bytes:
        """Return the contents of the file of an object."""
        try:
            return self.path(uri).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise StepFault(FaultKind.CLIENT, f"{uri}: NoSuchKey: the object does not exist") from None


class S3Objects:
    """Objects of an S3 endpoint."""

    def __init__(self, client: Any) -> None:
        """Use a boto3 client for S3."""
        self._client = client

    def keys(self, prefix: S3Uri) -> Iterator[str]:
        """Yield the keys that begin with the prefix, page by page."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
        with _s3_faults(prefix):
            for page in pages:
                yield from (item["Key"] for item in page.get("Contents", ()))

    def download(self, uri: S3Uri, path: Path) -> None:
        """Download an object; large objects in parts."""
        with _s3_faults(uri):
            self._client.download_file(uri.bucket, uri.key, str(path))

    def upload(self, path: Path, uri: S3Uri) -> None:
        """Upload a file; large files in parts."""
        with _s3_faults(uri):
            self._client.upload_file(str(path), uri.bucket, uri.key)

    def read(self, uri: S3Uri) -> bytes:
        """Return the contents of a small object."""
        with _s3_faults(uri):
            content: bytes = self._client.get_object(Bucket=uri.bucket, Key=uri.key)["Body"].read()
        return content


class _s3_faults:  # noqa: N801  a context manager, used like a function
    """Converts exceptions of boto3 to step faults; errors of the endpoint itself can be retried."""

    def __init__(self, uri: S3Uri) -> None:
        self._uri = uri

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, Boto3Error) and isinstance(error.__context__, ClientError):
            error = error.__context__  # an upload wraps the error of the endpoint
        if isinstance(error, ClientError):
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            fault = FaultKind.SERVICE if status >= 500 else FaultKind.CLIENT
            raise StepFault(fault, f"{self._uri}: {error}") from error
        if isinstance(error, BotoCoreError | Boto3Error):
            raise StepFault(FaultKind.SERVICE, f"{self._uri}: {error}") from error


def _files(bucket: Path, folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        return
    for path, _, names in os.walk(folder):
        base = Path(path).relative_to(bucket)
        yield from ((base / name).as_posix() for name in names if not name.startswith(".partial-"))


def download_prefix(objects: ObjectStore, prefix: S3Uri, folder: Path, *, keys: list[str] | None = None) -> None:
    """Download all objects whose keys begin with the prefix.

    Args:
        objects: source of the objects.
        prefix: key or key prefix; relative paths begin after its last ``/``.
        folder: target folder, which is created if it is missing.
        keys: keys of the listing to download; None for all.

    Raises:
        StepFault: no key begins with the prefix.
    """
    listing = list(objects.keys(prefix))
    if not listing:
        raise StepFault(FaultKind.CLIENT, f'No S3 objects found under S3 URL "{prefix}"')
    for key in listing if keys is None else keys:
        if key.endswith("/"):
            continue
        target = folder / require_relative(relative_key(prefix.key, key), what=f"s3://{prefix.bucket}: key")
        target.parent.mkdir(parents=True, exist_ok=True)
        objects.download(S3Uri(prefix.bucket, key), target)


def relative_key(prefix: str, key: str) -> str:
    """Return the path of an object relative to the folder into which its prefix is downloaded.

    If the prefix is a folder of the key, the whole prefix is removed, otherwise everything up to its last ``/``, so
    that a single object keeps its file name.
    """
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    base = folder if key.startswith(folder) else f"{prefix.rpartition('/')[0]}/"
    return key.removeprefix(base).lstrip("/")


def upload_folder(objects: ObjectStore, folder: Path, prefix: S3Uri) -> bool:
    """Upload all files of a folder below the prefix, and return whether there were any."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        objects.upload(path, prefix.join(path.relative_to(folder).as_posix()))
    return bool(paths)


def has_objects(objects: ObjectStore, uri: str) -> bool:
    """Return whether a key begins with this URI; False if its bucket does not exist, too."""
    try:
        return next(iter(objects.keys(parse_uri(uri))), None) is not None
    except StepFault:
        return False
