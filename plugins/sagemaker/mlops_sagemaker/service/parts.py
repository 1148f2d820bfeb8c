"""Uploads a large file to S3 in parallel parts with checksums; an interrupted upload is resumed."""

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
_MAX_PARTS = 10_000
_MAX_PARALLEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A bucket, and the account to access it with."""

    account: Account
    bucket: str


def send_in_parts(
    file: LargeFile, target: Target, *, receipts: Receipts, on_part: Callable[[int, int], None] | None = None
) -> str:
    """Upload a file and return the ETag of the object.

    Args:
        file: the file and its key.
        target: the bucket.
        receipts: index of interrupted uploads.
        on_part: called after each part with the number of uploaded parts and of all parts.

    Raises:
        RunnerError: S3 refuses. Uploaded parts are kept, and the next call resumes the upload.
    """
    size = max(_PART_BYTES, -(-file.size // _MAX_PARTS))
    count = -(-file.size // size)
    upload_id, uploaded = _resume(file, target, receipts=receipts)
    parts: dict[int, dict[str, Any]] = {}

    def send(number: int) -> None:
        parts[number] = _part(file, number, size, upload_id, uploaded.get(number), target)
        if on_part:
            on_part(len(parts), count)

    with ThreadPoolExecutor(max_workers=_MAX_PARALLEL) as pool:
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
        MultipartUpload={"Parts": [parts[number] for number in sorted(parts)]},
    )
    receipts.end_upload(file.name)
    return str(result["ETag"]).strip('"')


def _resume(file: LargeFile, target: Target, *, receipts: Receipts) -> tuple[str, dict[int, Any]]:
    """Return the ID and the uploaded parts of the file's open upload, or of a new one."""
    previous = receipts.open_upload(file.name)
    place = {"Bucket": target.bucket, "Key": file.key}
    if previous and previous[0] == file.sha256:
        try:
            parts = target.account.pages("s3", "list_parts", "Parts", **place, UploadId=previous[1])
            return previous[1], {part["PartNumber"]: part for part in parts}
        except RunnerError as error:
            if code_of(error) != "NoSuchUpload":
                raise
    upload_id = target.account.call("s3", "create_multipart_upload", **place, ChecksumAlgorithm="SHA256")["UploadId"]
    receipts.begin_upload(file.name, sha256=file.sha256, upload_id=upload_id)
    return str(upload_id), {}


def _part(
    file: LargeFile, number: int, size: int, upload_id: str, uploaded: dict[str, Any] | None, target: Target
) -> dict[str, Any]:
    with file.path.open("rb") as stream:
        stream.seek((number - 1) * size)
        body = stream.read(size)
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    if uploaded and _is_same(uploaded, body, checksum):
        return {"PartNumber": number, "ETag": uploaded["ETag"], "ChecksumSHA256": checksum}
    response = target.account.call(
        "s3",
        "upload_part",
        Bucket=target.bucket,
        Key=file.key,
        UploadId=upload_id,
        PartNumber=number,
        Body=body,
        ChecksumSHA256=checksum,
    )
    return {"PartNumber": number, "ETag": response["ETag"], "ChecksumSHA256": checksum}


def _is_same(part: dict[str, Any], body: bytes, checksum: str) -> bool:
    if part.get("ChecksumSHA256"):
        return bool(part["ChecksumSHA256"] == checksum)
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return bool(part["Size"] == len(body) and str(part["ETag"]).strip('"') == digest)
