"""An S3 bucket for the uploads of core: credentials from boto3, one-line errors, resumable uploads of large files.

Every upload carries its CRC-64/NVME, which S3 verifies before it stores the object. A SHA-256 of the body in the
signature would take half of the time and proves nothing more over TLS.
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
_PATTERNS = (_CODE, _MESSAGE, _STATUS)
_CREDENTIALS_TTL = dt.timedelta(minutes=5)


class S3Bucket(Bucket):
    """A bucket of an account."""

    def __init__(self, name: str, *, account: Account) -> None:
        """Open the bucket without sending a request.

        Raises:
            RunnerError: obstore is not installed, or no credentials were found.
        """
        self.name = name
        self._account = account
        super().__init__(_access(name, account))

    def send_large(
        self, file: LargeFile, *, receipts: Receipts, on_part: Callable[[int, int], None] | None = None
    ) -> str:
        """Upload a file in parts; parts from an earlier attempt are reused.

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
    """Return a credential provider for obstore that renews credentials through boto3.

    Raises:
        RunnerError: boto3 found no credentials.
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
            "expires_at": dt.datetime.now(dt.UTC) + _CREDENTIALS_TTL,  # obstore then calls this provider again
        }

    return provide


def fault_text(error: Exception, *, bucket: str) -> str:
    """Return an error of obstore, and its fix, in one line."""
    text = str(error)
    code, message, status = (match[1] if (match := pattern.search(text)) else "" for pattern in _PATTERNS)
    credential_message = credential_fault(code, message or code)
    if credential_message:
        return credential_message
    if code == "NoSuchBucket":
        return f"bucket '{bucket}' does not exist; create it, or pass another with --bucket"
    kind = type(error).__name__
    if code == "AccessDenied" or kind in ("PermissionDeniedError", "UnauthenticatedError", "PermissionError"):
        action = denied_action(message)
        return (
            f"access denied{f' ({action})' if action else ''}: mlops sagemaker policy prints the required permissions"
        )
    if code in ("PermanentRedirect", "AuthorizationHeaderMalformed") or "incorrectly configured region" in text:
        return f"bucket '{bucket}' is in another region: {message or 'S3 redirects'}; pass that region with --region"
    first = " ".join(text.partition("Debug source:")[0].split())
    answer = f"S3 answered {status}: {code} {message}".strip() if status else first
    return f"{answer[:400]}; gave up after {attempts()} attempts; uploaded files are kept, rerun the command"
