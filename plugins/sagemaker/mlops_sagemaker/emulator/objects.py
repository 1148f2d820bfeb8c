"""Where ``s3://`` leads: a folder of this machine, or a real S3 endpoint. Both are read and written by `ObjectStore`.

The rules of S3 hold in both: a prefix is the beginning of a key, not a folder; listings are in the order of keys; an
object appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from mlops_core.runners import RunnerError
from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Iterator


def parse_uri(text: object) -> S3Uri:
    """Parse ``s3://bucket/key``.

    Raises:
        StepFault: the text is not an S3 address.
    """
    try:
        return S3Uri.parse(text)
    except RunnerError as error:
        raise StepFault(FaultKind.CLIENT, str(error)) from error


class ObjectStore(Protocol):
    """The objects of all buckets."""

    def keys(self, prefix: S3Uri) -> Iterator[str]:
        """Yield each key that begins with the prefix, in the order of keys.

        Raises:
            StepFault: there is no such bucket, or it may not be read.
        """

    def download(self, uri: S3Uri, path: Path) -> None:
        """Write an object to a file, whose folder exists.

        Raises:
            StepFault: there is no such object.
        """

    def upload(self, path: Path, uri: S3Uri) -> None:
        """Write a file to an object, whole or not at all."""

    def read(self, uri: S3Uri) -> bytes:
        """Return the content of a small object.

        Raises:
            StepFault: there is no such object.
        """


class FolderObjects:
    """Each bucket is a folder, each object a file. The folder of a bucket appears with its first object."""

    def __init__(self, root: Path) -> None:
        """Keep the buckets below `root`."""
        self._root = root

    def path(self, uri: S3Uri) -> Path:
        """Return the file of an object.

        Raises:
            StepFault: the key cannot be a path.
        """
        parts = PurePosixPath(uri.key).parts
        if uri.key.startswith("/") or "//" in uri.key or uri.key.endswith("/") or {"..", "."} & set(parts):
            raise StepFault(FaultKind.CLIENT, f"{uri}: this key cannot be a file of a folder")
        return self._root / uri.bucket / uri.key

    def keys(self, prefix: S3Uri) -> Iterator[str]:
        """Yield each key that begins with the prefix, in the order of keys."""
        bucket = self._root / prefix.bucket
        if not bucket.is_dir():
            raise StepFault(FaultKind.CLIENT, f"{prefix}: NoSuchBucket: there is no bucket '{prefix.bucket}'")
        folder, _, _ = prefix.key.rpartition("/")
        yield from sorted(key for key in _files(bucket, bucket / folder) if key.startswith(prefix.key))

    def download(self, uri: S3Uri, path: Path) -> None:
        """Copy the file of an object."""
        try:
            shutil.copyfile(self.path(uri), path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise StepFault(FaultKind.CLIENT, f"{uri}: NoSuchKey: there is no such object") from None

    def upload(self, path: Path, uri: S3Uri) -> None:
        """Copy a file to its place, by rename."""
        target = self.path(uri)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".partial-", dir=target.parent)
            os.close(descriptor)
            shutil.copyfile(path, name)
            Path(name).replace(target)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise StepFault(
                FaultKind.CLIENT, f"{uri}: {error.strerror}: a key cannot also be the folder of another here"
            ) from error

    def read(self, uri: S3Uri) -> bytes:
        """Return the content of the file of an object."""
        try:
            return self.path(uri).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise StepFault(FaultKind.CLIENT, f"{uri}: NoSuchKey: there is no such object") from None


class S3Objects:
    """The objects of an S3 endpoint."""

    def __init__(self, client: Any) -> None:
        """Use a boto3 client of S3."""
        self._client = client

    def keys(self, prefix: S3Uri) -> Iterator[str]:
        """Yield each key that begins with the prefix, page by page."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
        with _s3_faults(prefix):
            for page in pages:
                yield from (item["Key"] for item in page.get("Contents", ()))

    def download(self, uri: S3Uri, path: Path) -> None:
        """Fetch an object; large ones in parts."""
        with _s3_faults(uri):
            self._client.download_file(uri.bucket, uri.key, str(path))

    def upload(self, path: Path, uri: S3Uri) -> None:
        """Send a file; large ones in parts."""
        with _s3_faults(uri):
            self._client.upload_file(str(path), uri.bucket, uri.key)

    def read(self, uri: S3Uri) -> bytes:
        """Fetch a small object."""
        with _s3_faults(uri):
            content: bytes = self._client.get_object(Bucket=uri.bucket, Key=uri.key)["Body"].read()
        return content


class _s3_faults:  # noqa: N801  a context manager reads as a function
    """Turns what boto3 raises into the fault of a step; what the endpoint itself got wrong can be retried."""

    def __init__(self, uri: S3Uri) -> None:
        self._uri = uri

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, Boto3Error) and isinstance(error.__context__, ClientError):
            error = error.__context__  # an upload hides what the endpoint said
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


def download_prefix(objects: ObjectStore, prefix: S3Uri, folder: Path, *, keys: list[str] | None = None) -> int:
    """Write every object whose key begins with the prefix into `folder`; return how many there were.

    Args:
        objects: where from.
        prefix: an object, or the common beginning of several; its last ``/`` is where the relative paths begin.
        folder: where to; made where missing.
        keys: just these of the listing; None for all.

    Raises:
        StepFault: nothing begins with the prefix.
    """
    found = list(objects.keys(prefix))
    if not found:
        raise StepFault(FaultKind.CLIENT, f'No S3 objects found under S3 URL "{prefix}"')
    for key in found if keys is None else keys:
        if key.endswith("/"):
            continue
        target = folder / relative_key(prefix.key, key)
        if ".." in target.relative_to(folder).parts:
            raise StepFault(FaultKind.CLIENT, f"s3://{prefix.bucket}/{key}: the key leads out of the folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        objects.download(S3Uri(prefix.bucket, key), target)
    return len(found)


def relative_key(prefix: str, key: str) -> str:
    """Return the path of an object below the folder into which its prefix is downloaded.

    The prefix is cut when it names a folder of the key, else everything up to the prefix's last ``/``: an object that
    is named itself keeps its file name.
    """
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    base = folder if key.startswith(folder) else f"{prefix.rpartition('/')[0]}/"
    return key.removeprefix(base).lstrip("/")


def upload_folder(objects: ObjectStore, folder: Path, prefix: S3Uri) -> int:
    """Write every file of `folder` below the prefix; return how many there were."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        objects.upload(path, prefix.join(path.relative_to(folder).as_posix()))
    return len(paths)
