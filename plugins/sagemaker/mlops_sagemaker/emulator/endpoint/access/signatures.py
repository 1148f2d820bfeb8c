"""Verifies the signatures of requests: Signature Version 4 in headers or in a presigned URL, and presigned URLs of S3.

Canonical requests are computed by botocore's own signers, so the endpoint and boto3 cannot disagree about them.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest, HTTPHeaders
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Environ = dict[str, Any]
    SecretOf = Callable[[str], str | None]

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<scope>[^\s,]+)\s*,\s*SignedHeaders=(?P<headers>[^\s,]+)\s*,\s*"
    r"Signature=(?P<signature>[0-9a-f]{64})\s*\Z"
)
_SCOPE = re.compile(r"(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9.-]+)/aws4_request\Z")
_TIME = "%Y%m%dT%H%M%SZ"
_SKEW = dt.timedelta(minutes=15)
_LONGEST_EXPIRY_S = 7 * 24 * 3600
_UNSIGNED = ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_LARGEST_BODY = 64 * 1024 * 1024
"""Limit in bytes of a body that is read before its request is known to be signed."""


class DeniedError(Exception):
    """A request that is refused before any service sees it."""

    def __init__(self, code: str, message: str, *, status: int = 403) -> None:
        """Create a refusal with an error code of AWS."""
        self.code = code
        self.message = message
        self.status = status
        super().__init__(f"{code}: {message}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """What a verified signature says about its request."""

    access_key: str
    region: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A signature as the request states it."""

    scope: re.Match[str]
    headers: tuple[str, ...]
    signature: str
    timestamp: str
    is_presigned: bool = False


def verify(environ: Environ, secret_of: SecretOf) -> Signer:
    """Return who signed a request, for which region and service.

    A body with a digest is read, compared and put back.

    Args:
        environ: WSGI environment of the request.
        secret_of: returns the secret key of an access key; None if the key is unknown.

    Raises:
        DeniedError: the request is not signed, or its signature is not valid.
    """
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if authorization:
        return _verify(environ, _claim_of_header(environ, authorization), secret_of)
    if "X-Amz-Signature" in query:
        return _verify(environ, _claim_of_query(query), secret_of)
    if {"AWSAccessKeyId", "Signature", "Expires"} <= set(query):
        return _verify_version_2(environ, query, secret_of)
    raise DeniedError(
        "MissingAuthenticationToken", "the request is not signed; use the credentials that the endpoint printed"
    )


def _claim_of_header(environ: Environ, authorization: str) -> _Claim:
    match = _AUTHORIZATION.match(authorization)
    if not match:
        raise DeniedError("IncompleteSignature", "sign requests with Signature Version 4 (AWS4-HMAC-SHA256)")
    timestamp = environ.get("HTTP_X_AMZ_DATE", "")
    _require_fresh(_time(timestamp), _SKEW)
    return _Claim(
        scope=_scope(match["scope"]),
        headers=tuple(match["headers"].split(";")),
        signature=match["signature"],
        timestamp=timestamp,
    )


def _claim_of_query(query: Mapping[str, str]) -> _Claim:
    timestamp, expires = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
    if query.get("X-Amz-Algorithm") != _ALGORITHM:
        raise DeniedError("AuthorizationQueryParametersError", f"X-Amz-Algorithm must be {_ALGORITHM}", status=400)
    if not (expires.isascii() and expires.isdigit() and len(expires) < 8 and int(expires) <= _LONGEST_EXPIRY_S):
        raise DeniedError("AuthorizationQueryParametersError", "X-Amz-Expires must be 0 to 604800 seconds", status=400)
    start = _time(timestamp)
    now = dt.datetime.now(dt.UTC)
    if start - _SKEW > now or now > start + dt.timedelta(seconds=int(expires)):
        raise DeniedError("AccessDenied", "Request has expired")
    return _Claim(
        scope=_scope(query.get("X-Amz-Credential", "")),
        headers=tuple(query.get("X-Amz-SignedHeaders", "").split(";")),
        signature=query["X-Amz-Signature"],
        timestamp=timestamp,
        is_presigned=True,
    )


def _scope(text: str) -> re.Match[str]:
    match = _SCOPE.match(text)
    if not match:
        raise DeniedError("IncompleteSignature", "Credential must be <key>/<date>/<region>/<service>/aws4_request")
    return match


def _time(text: str) -> dt.datetime:
    try:
        return dt.datetime.strptime(text, _TIME).replace(tzinfo=dt.UTC)
    except ValueError:
        raise DeniedError("IncompleteSignature", "X-Amz-Date must be a time such as 20260101T000000Z") from None


def _require_fresh(time: dt.datetime, limit: dt.timedelta) -> None:
    if abs(dt.datetime.now(dt.UTC) - time) > limit:
        raise DeniedError("RequestTimeTooSkewed", "the time of the signature and the current time differ too much")


def _verify(environ: Environ, claim: _Claim, secret_of: SecretOf) -> Signer:
    scope = claim.scope
    secret = secret_of(scope["key"])
    if secret is None:
        raise _unknown_key(scope["service"])
    unsigned = {"host", *(("x-amz-target",) if "HTTP_X_AMZ_TARGET" in environ else ())} - set(claim.headers)
    if unsigned or not claim.timestamp.startswith(scope["date"]):
        raise _mismatch()
    payload = _payload(environ, claim)
    expected = _signature(environ, claim, secret=secret, payload=payload)
    if not hmac.compare_digest(expected.encode(), claim.signature.encode("utf-8", "replace")):
        raise _mismatch()
    if scope["service"] == "s3" and _DIGEST.match(payload) and payload != hashlib.sha256(_body(environ)).hexdigest():
        raise DeniedError(
            "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match", status=400
        )
    return Signer(access_key=scope["key"], region=scope["region"], service=scope["service"])


def _payload(environ: Environ, claim: _Claim) -> str:
    """Return the digest of the body, or what S3 allows in its place."""
    stated = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
    if claim.scope["service"] != "s3":
        return hashlib.sha256(_body(environ, limit=_LARGEST_BODY)).hexdigest()
    if not stated and claim.is_presigned:
        return "UNSIGNED-PAYLOAD"
    if stated in _UNSIGNED or _DIGEST.match(stated):
        return str(stated)
    raise DeniedError("NotImplemented", f"x-amz-content-sha256 {stated!r} is not supported here", status=501)


def _body(environ: Environ, *, limit: int | None = None) -> bytes:
    """Return the body of a request, and put it back."""
    stream = environ["wsgi.input"]
    if isinstance(stream, io.BytesIO):
        return stream.getvalue()
    length = environ.get("CONTENT_LENGTH", "")
    if length and not (length.isascii() and length.isdigit()):
        raise DeniedError("InvalidRequest", "Content-Length is not a number", status=400)
    is_chunked, size = environ.get("wsgi.input_terminated"), int(length or 0)
    if limit is not None and size > limit:
        raise _too_large(limit)
    content = stream.read(-1 if limit is None else limit + 1) if is_chunked else stream.read(size)
    if limit is not None and len(content) > limit:
        raise _too_large(limit)
    environ["wsgi.input"] = io.BytesIO(content)
    return bytes(content)


def _signature(environ: Environ, claim: _Claim, *, secret: str, payload: str) -> str:
    signed = HTTPHeaders()
    for name in claim.headers:
        value = environ.get(_variable(name))
        if value is None:
            raise _mismatch()
        signed[name] = _text(value)
    kind = S3SigV4Auth if claim.scope["service"] == "s3" else SigV4Auth  # S3 does not normalize paths
    signer = kind(Credentials(claim.scope["key"], secret), claim.scope["service"], claim.scope["region"])
    signer.headers_to_sign = lambda _: signed  # those of the request, not those that botocore would choose
    request = AWSRequest(method=environ["REQUEST_METHOD"], url=_url(environ), headers={"X-Amz-Content-SHA256": payload})
    request.context["timestamp"] = claim.timestamp
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))


def _variable(name: str) -> str:
    """Return the variable of WSGI with a header."""
    variable = name.upper().replace("-", "_")
    return variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"


def _url(environ: Environ) -> str:
    """Return the URL as it was signed: as it was sent, without the signature of a presigned URL."""
    path, _, query = str(environ["RAW_URI"]).partition("?")
    if "://" in path.partition("?")[0][:8]:
        path = urlsplit(path).path
    kept = "&".join(part for part in query.split("&") if part.partition("=")[0] != "X-Amz-Signature")
    return f"http://{environ['HTTP_HOST']}{path}" + (f"?{kept}" if kept else "")


def _text(value: str) -> str:
    """Return a header as text; WSGI decodes headers as Latin-1, botocore encodes them in UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


# --- Presigned URLs of Signature Version 2, which boto3 makes by default for S3 -----------------------------


def _verify_version_2(environ: Environ, query: Mapping[str, str], secret_of: SecretOf) -> Signer:
    key, expires = query["AWSAccessKeyId"], query["Expires"]
    secret = secret_of(key)
    if secret is None:
        raise _unknown_key("s3")
    if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
        raise DeniedError("AccessDenied", "Invalid date (should be seconds since epoch)")
    if int(expires) < dt.datetime.now(dt.UTC).timestamp():
        raise DeniedError("AccessDenied", "Request has expired")
    headers = HTTPHeaders()
    for name, variable in (("Content-MD5", "HTTP_CONTENT_MD5"), ("Content-Type", "CONTENT_TYPE")):
        if environ.get(variable):
            headers[name] = environ[variable]
    for variable, value in environ.items():
        if variable.startswith("HTTP_X_AMZ_"):
            headers[variable.removeprefix("HTTP_").replace("_", "-").lower()] = _text(value)
    auth = HmacV1QueryAuth(Credentials(key, secret), expires=expires)
    auth._get_date = lambda: expires  # noqa: SLF001  it takes the place of the date
    expected = auth.get_signature(environ["REQUEST_METHOD"], urlsplit(_url(environ)), headers)
    if not hmac.compare_digest(expected.encode(), query["Signature"].encode("utf-8", "replace")):
        raise _mismatch()
    return Signer(access_key=key, region="us-east-1", service="s3")


def _too_large(limit: int) -> DeniedError:
    return DeniedError("RequestEntityTooLarge", f"the body exceeds {limit:,} bytes", status=413)


def _unknown_key(service: str) -> DeniedError:
    message = "the access key is not one of this endpoint; use the credentials that it printed"
    return DeniedError("InvalidAccessKeyId" if service == "s3" else "UnrecognizedClientException", message)


def _mismatch() -> DeniedError:
    message = "the signature does not match the request; use the credentials that the endpoint printed"
    return DeniedError("SignatureDoesNotMatch", message)
