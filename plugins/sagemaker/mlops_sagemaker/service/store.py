"""One bucket of S3 as core's uploads see it: credentials from boto3, errors explained, large files resumed.

Every body that is sent carries its CRC-64/NVME, which S3 compares before it keeps the object; a SHA-256 of each body in
the signature would take half of the time, and proves nothing more on a connection with TLS.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from mlops_core.runners import RunnerError
from mlops_core.runners.remote.object_store import Bucket, StoreAccess
from mlops_sagemaker.service import parts
from mlops_sagemaker.service.account import attempts, credential_fault, denied_action

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.runners.remote.object_store import LargeFile
    from mlops_core.runners.remote.upload_index import Receipts
    from mlops_sagemaker.service.account import Account

_CODE = re.compile(r"<Code>(.*?)</Code>")
_MESSAGE = re.compile(r"<Message>(.*?)</Message>")
_STATUS = re.compile(r"\b(?:status|status code|code)[: ]+(\d{3})\b")
_CREDENTIALS_TTL = dt.timedelta(minutes=5)


class S3Bucket(Bucket):
    """One bucket of an account."""

    def __init__(self, name: str, *, account: Account) -> None:
        """Open the bucket; nothing is sent yet.

        Raises:
            RunnerError: obstore is not installed, or there are no credentials.
        """
        self.name = name
        self._account = account
        super().__init__(_access(name, account))

    def send_large(
        self, file: LargeFile, *, receipts: Receipts, on_part: Callable[[int, int], None] | None = None
    ) -> str:
        """Send a file in parts; parts that arrived in an earlier attempt are not sent again.

        Raises:
            RunnerError: S3 refuses.
        """
        target = parts.Target(account=self._account, bucket=self.name)
        return parts.send_in_parts(file, target, receipts=receipts, on_part=on_part)


def _access(name: str, account: Account) -> StoreAccess:
    endpoint = str(account.client("s3").meta.endpoint_url)
    config: dict[str, Any] = {
        "region": account.region,
        "checksum_algorithm": "CRC64NVME",
        "unsigned_payload": True,
    }
    if not re.search(r"\.amazonaws\.com(\.cn)?$", endpoint):
        config["endpoint"] = endpoint
    return StoreAccess(
        url=f"s3://{name}",
        config=config,
        credentials=_credentials(account),
        allow_http=endpoint.startswith("http://"),
        attempts=attempts(),
        explain=lambda error: fault_text(error, bucket=name),
    )


def _credentials(account: Account) -> Callable[[], Any]:
    """Return obstore's credential provider: boto3 renews the credentials that it hands out.

    Raises:
        RunnerError: boto3 finds no credentials.
    """
    if account.session.get_credentials() is None:
        raise RunnerError(
            "unable to locate credentials; sign in, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )

    def provide() -> dict[str, Any]:
        frozen = account.session.get_credentials().get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": dt.datetime.now(dt.UTC) + _CREDENTIALS_TTL,  # asked again after that
        }

    return provide


def fault_text(error: Exception, *, bucket: str) -> str:
    """Return what an error of obstore says, and what to do, in one line."""
    text = str(error)
    code = found[1] if (found := _CODE.search(text)) else ""
    said = found[1] if (found := _MESSAGE.search(text)) else ""
    known = credential_fault(code, said or code)
    if known:
        return known
    if code == "NoSuchBucket":
        return f"there is no bucket '{bucket}'; create it, or name another with --bucket"
    kind = type(error).__name__
    if code == "AccessDenied" or kind in ("PermissionDeniedError", "UnauthenticatedError", "PermissionError"):
        action = denied_action(said)
        return f"access denied{f' ({action})' if action else ''}: mlops sagemaker policy prints what is needed"
    if code in ("PermanentRedirect", "AuthorizationHeaderMalformed") or "incorrectly configured region" in text:
        return f"bucket '{bucket}' is in another region: {said or 'S3 redirects'}; pass that one with --region"
    status = found[1] if (found := _STATUS.search(text)) else ""
    first = " ".join(text.partition("Debug source:")[0].split())
    answer = f"S3 answers {status}: {code or ''} {said}".strip() if status else first
    return f"{answer[:400]}; {attempts()} attempts were made; what was sent is kept: repeat the command"
