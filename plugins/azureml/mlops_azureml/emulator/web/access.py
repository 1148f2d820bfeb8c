"""Who may use the endpoint: a random client secret, tokens that it buys, and signatures for blobs.

A page in a browser may not, see `mlops_azureml.emulator.web.http`. A process of a job gets a secret of its own, which
is worth nothing when the job has ended.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mlops_azureml.emulator.web.errors import CallError

if TYPE_CHECKING:
    from collections.abc import Mapping

MANAGEMENT, MACHINE_LEARNING, STORAGE = (
    "https://management.azure.com",
    "https://ml.azure.com",
    "https://storage.azure.com",
)
"""Audiences of tokens."""
FEDERATION = "api://AzureADTokenExchange"
"""Audience of an assertion that a workload presents instead of a secret."""
_SIGNATURE_S = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A service principal of the endpoint."""

    tenant: str = field(default_factory=lambda: str(uuid.uuid4()))
    client: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)

    def environment(self) -> dict[str, str]:
        """Return the variables with which azure-identity uses the credential."""
        return {
            "AZURE_TENANT_ID": self.tenant,
            "AZURE_CLIENT_ID": self.client,
            "AZURE_CLIENT_SECRET": self.secret,
        }


class Access:
    """Issues and verifies tokens and signatures.

    Attributes:
        credential: the service principal.
        lifetime_s: of new tokens, in seconds.
        own_audience: address of the endpoint, which azure-ai-ml takes for the audience of the Resource Manager.
    """

    def __init__(self, credential: Credential, *, lifetime_s: int = 3600) -> None:
        """Accept the tokens that are issued from now on."""
        self.credential = credential
        self.lifetime_s = lifetime_s
        self.own_audience = MANAGEMENT
        self._key = secrets.token_bytes(32)
        self._job_secrets: dict[str, str] = {}
        self._lock = threading.Lock()

    # --- Tokens -------------------------------------------------------------------------------------------

    def token(self, audience: str, *, subject: str = "") -> str:
        """Return a JSON web token that only this endpoint can verify."""
        now = int(time.time())
        claims = {
            "aud": audience,
            "iat": now,
            "nbf": now,
            "exp": now + self.lifetime_s,
            "tid": self.credential.tenant,
            "oid": subject or self.credential.client,
            "appid": self.credential.client,
        }
        text = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
        return f"{text}.{_text(self._sign(text))}"

    def exchange(self, form: Mapping[str, str], *, tenant: str) -> Mapping[str, Any]:
        """Return the token that a form of the client-credentials flow buys.

        Raises:
            CallError: the credential or the flow is wrong.
        """
        own = self.credential
        if form.get("grant_type") != "client_credentials":
            raise CallError(400, "unsupported_grant_type", f"grant_type {form.get('grant_type')!r} is not supported")
        if tenant != own.tenant or form.get("client_id") != own.client:
            raise CallError(401, "invalid_client", "AADSTS700016: the application was not found in the tenant")
        if "client_assertion" in form:
            self.require_token(f"Bearer {form['client_assertion']}", FEDERATION)
        elif not hmac.compare_digest(form.get("client_secret", "").encode(), own.secret.encode()):
            raise CallError(401, "invalid_client", "AADSTS7000215: Invalid client secret provided")
        audience = form.get("scope", "").removesuffix("/.default").rstrip("/")
        return self.issued(audience)

    def issued(self, audience: str) -> Mapping[str, Any]:
        """Return a token as the identity service answers.

        Raises:
            CallError: the audience is not one of the endpoint's.
        """
        if audience not in (MANAGEMENT, self.own_audience, MACHINE_LEARNING, STORAGE):
            raise CallError(400, "invalid_scope", f"AADSTS500011: the resource {audience!r} was not found")
        return {"token_type": "Bearer", "expires_in": self.lifetime_s, "access_token": self.token(audience)}

    def require_token(self, header: str, *audiences: str) -> None:
        """Check the value of an Authorization header.

        Raises:
            CallError: there is no valid token for one of the audiences.
        """
        kind, _, token = header.partition(" ")
        text, _, signature = token.strip().rpartition(".")
        if kind.lower() != "bearer" or not hmac.compare_digest(_text(self._sign(text)).encode(), signature.encode()):
            raise CallError(401, "InvalidAuthenticationToken", "the access token is missing or not of this endpoint")
        claims = json.loads(base64.urlsafe_b64decode(text.partition(".")[2] + "=="))
        if claims["exp"] < time.time():
            raise CallError(401, "ExpiredAuthenticationToken", "the access token has expired")
        if claims["aud"] not in audiences:
            raise CallError(
                401, "InvalidAuthenticationTokenAudience", f"the token is for {claims['aud']}, not {audiences[0]}"
            )

    # --- Jobs ---------------------------------------------------------------------------------------------

    def open_job(self, job: str) -> str:
        """Return a secret with which the processes of a job get tokens, as managed identities do."""
        with self._lock:
            return self._job_secrets.setdefault(job, secrets.token_urlsafe(24))

    def close_job(self, job: str) -> None:
        """Make the secret of a job worthless."""
        with self._lock:
            self._job_secrets.pop(job, None)

    def job_token(self, secret: str, resource: str) -> Mapping[str, Any]:
        """Return the token that the secret of a job buys, as the managed identity of a compute answers.

        Raises:
            CallError: the secret is not one of a running job.
        """
        with self._lock:
            known = list(self._job_secrets.values())
        if not any(hmac.compare_digest(secret.encode(), each.encode()) for each in known):
            raise CallError(401, "Unauthorized", "the secret is not one of a running job")
        issued = self.issued(resource.rstrip("/").removesuffix("/.default"))
        return {**issued, "expires_on": str(int(time.time()) + self.lifetime_s), "resource": resource}

    # --- Blobs --------------------------------------------------------------------------------------------

    def signature(self, container: str, *, lifetime_s: int = _SIGNATURE_S) -> str:
        """Return a shared access signature for a container, without its question mark."""
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + lifetime_s))
        values = {"sv": "2021-12-02", "sr": "c", "sp": "racwdl", "se": expiry}
        values["sig"] = base64.b64encode(self._sign(f"{container}\n{expiry}")).decode()
        return "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items())

    def require_blob_access(self, query: Mapping[str, str], header: str, *, container: str) -> None:
        """Check that a request for blobs has a signature of the container, or a token.

        Raises:
            CallError: it has neither.
        """
        if "sig" not in query:
            if header:
                self.require_token(header, STORAGE)
                return
            raise CallError(403, "AuthenticationFailed", "the request has neither a signature nor a token")
        expiry = query.get("se", "")
        expected = base64.b64encode(self._sign(f"{container}\n{expiry}"))
        if not hmac.compare_digest(expected, query["sig"].encode()):
            raise CallError(403, "AuthenticationFailed", "the signature is not one of this endpoint")
        if expiry < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()):
            raise CallError(403, "AuthenticationFailed", "the signature has expired")

    def _sign(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode(), hashlib.sha256).digest()


def _encoded(data: Mapping[str, Any]) -> str:
    return _text(json.dumps(data, separators=(",", ":")).encode())


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
