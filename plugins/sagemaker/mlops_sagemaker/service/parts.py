"""A large file to S3 in parts: several at once, each with its checksum; parts that arrived are not sent again."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.runners import RunnerError
from mlops_sagemaker.service.account import code_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.runners.remote.object_store import LargeFile
    from mlops_core.runners.remote.upload_index import Receipts
    from mlops_sagemaker.service.account import Account

_PART_BYTES = 16 << 20
_MOST_PARTS = 10_000
_AT_ONCE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where files are sent: a bucket, and the account through which it is reached."""

    account: Account
    bucket: str


def send_in_parts(
    file: LargeFile, target: Target, *, receipts: Receipts, on_part: Callable[[int, int], None] | None = None
) -> str:
    """Send a file and return the object's etag.

    Args:
        file: the file and its key.
        target: the bucket.
        receipts: know of an upload that was cut off.
        on_part: is told (parts that are there, all parts).

    Raises:
        RunnerError: S3 refuses. The parts that arrived are kept, and the next call goes on.
    """
    size = max(_PART_BYTES, -(-file.size // _MOST_PARTS))
    count = -(-file.size // size)
    upload_id, there = _resume(file, target, receipts=receipts)
    found: dict[int, dict[str, Any]] = {}

    def send(number: int) -> None:
        found[number] = _part(file, number, size, upload_id, there.get(number), target)
        if on_part:
            on_part(len(found), count)

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        pending = [pool.submit(send, number) for number in range(1, count + 1)]
        try:
            for future in pending:
                future.result()
        finally:
            for future in pending:
                future.cancel()
    result = target.account.call(
        "s3",
        "complete_multipart_upload",
        Bucket=target.bucket,
        Key=file.key,
        UploadId=upload_id,
        MultipartUpload={"Parts": [found[number] for number in sorted(found)]},
    )
    receipts.end_upload(file.name)
    return str(result["ETag"]).strip('"')


def _resume(file: LargeFile, target: Target, *, receipts: Receipts) -> tuple[str, dict[int, Any]]:
    """Return the upload's id and its parts that are there; a new upload where there is none of this content."""
    known = receipts.open_upload(file.name)
    place = {"Bucket": target.bucket, "Key": file.key}
    if known and known[0] == file.sha256:
        try:
            parts = target.account.pages("s3", "list_parts", "Parts", **place, UploadId=known[1])
            return known[1], {part["PartNumber"]: part for part in parts}
        except RunnerError as error:
            if code_of(error) != "NoSuchUpload":
                raise
    upload_id = target.account.call("s3", "create_multipart_upload", **place, ChecksumAlgorithm="SHA256")["UploadId"]
    receipts.begin_upload(file.name, sha256=file.sha256, upload_id=upload_id)
    return str(upload_id), {}


def _part(
    file: LargeFile, number: int, size: int, upload_id: str, there: dict[str, Any] | None, target: Target
) -> dict[str, Any]:
    with file.path.open("rb") as stream:
        stream.seek((number - 1) * size)
        body = stream.read(size)
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    if there and _is_same(there, body, checksum):
        return {"PartNumber": number, "ETag": there["ETag"], "ChecksumSHA256": checksum}
    sent = target.account.call(
        "s3",
        "upload_part",
        Bucket=target.bucket,
        Key=file.key,
        UploadId=upload_id,
        PartNumber=number,
        Body=body,
        ChecksumSHA256=checksum,
    )
    return {"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum}


def _is_same(there: dict[str, Any], body: bytes, checksum: str) -> bool:
    if there.get("ChecksumSHA256"):
        return bool(there["ChecksumSHA256"] == checksum)
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return bool(there["Size"] == len(body) and str(there["ETag"]).strip('"') == digest)
