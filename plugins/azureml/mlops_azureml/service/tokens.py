"""Access tokens from azure-identity, which is imported on use: cached by scope, renewed before they expire.

`azure.identity.DefaultAzureCredential` decides how to sign in; ``AZURE_TOKEN_CREDENTIALS`` narrows what it tries. In
GitHub Actions the job's own OIDC token is exchanged instead, so that a long run outlives the login of the Azure CLI.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlops_core.runners import RunnerError, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_EARLY_S = 300.0
"""A token that expires within this time is replaced; one that lives less is used for half of its life."""
_LONGEST = 300
_PUBLIC_AUTHORITIES = (".microsoftonline.com", ".microsoftonline.us", ".chinacloudapi.cn")
_OIDC_VARIABLES = (
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
)


class Tokens:
    """The tokens of one identity, for any number of threads."""

    def __init__(self, *, tenant: str | None = None, credential: Any = None) -> None:
        """Sign in when the first token is needed.

        Args:
            tenant: id of the tenant to sign in to; None for the one of the identity.
            credential: a credential of azure-identity; None for the one that the environment determines.
        """
        self._tenant = tenant
        self._given = credential
        self._credential: Any = None
        self._tokens: dict[str, tuple[str, float, float]] = {}
        self._lock = threading.Lock()

    def get(self, scope: str) -> str:
        """Return a token for a scope such as ``https://ml.azure.com/.default``.

        Raises:
            RunnerError: azure-identity is not installed, or the sign-in failed.
        """
        return self.get_with_expiry(scope)[0]

    def get_with_expiry(self, scope: str) -> tuple[str, float]:
        """Return a token for a scope and when it should be replaced, in seconds since the epoch.

        Raises:
            RunnerError: as for `get`.
        """
        with self._lock:
            known = self._tokens.get(scope)
            if known is None or time.time() >= known[1]:
                known = self._new(scope)
                self._tokens[scope] = known
            return known[0], known[1]

    def renew(self, scope: str, *, refused: str) -> None:
        """Forget a token that a service refused, and how it was obtained; the next `get` signs in again."""
        with self._lock:
            if self._tokens.get(scope, ("",))[0] == refused:
                self._tokens.clear()
                self._credential = None

    def _new(self, scope: str) -> tuple[str, float, float]:
        azure_error = _azure_error()
        try:
            if self._credential is None:
                self._credential = self._given or _credential(self._tenant)
            token = self._credential.get_token(scope)
        except azure_error as error:
            raise RunnerError(_explain(str(error))) from error
        except (ValueError, OSError) as error:  # a wrong tenant, client or authority, or no such file of certificates
            fix = "check the variables AZURE_* and REQUESTS_CA_BUNDLE"
            raise RunnerError(f"cannot sign in to Azure: {_first_line(str(error))}; {fix}") from error
        now, expires = time.time(), float(token.expires_on)
        return token.token, max(expires - _EARLY_S, now + (expires - now) / 2), expires


def _azure_error() -> type[Exception]:
    """Return the base of azure-identity's errors, which it also logs in many lines: these are not shown."""
    try:
        from azure.core.exceptions import AzureError
    except ImportError as error:
        raise RunnerError(f"azure-identity cannot be imported: {error}; pip install 'mlops-azureml'") from error
    logging.getLogger("azure.identity").addHandler(logging.NullHandler())
    return AzureError


def _credential(tenant: str | None) -> Any:
    from azure.identity import DefaultAzureCredential

    environ = read_settings().environ
    options: dict[str, Any] = {}
    authority = urlsplit(environ.get("AZURE_AUTHORITY_HOST", "")).hostname or ""
    if authority and not authority.endswith(_PUBLIC_AUTHORITIES):
        options["disable_instance_discovery"] = True  # the public cloud does not know it
    if all(environ.get(name) for name in _OIDC_VARIABLES):
        from azure.identity import ClientAssertionCredential

        assertion = _github_assertion(environ)
        return ClientAssertionCredential(
            tenant or environ["AZURE_TENANT_ID"], environ["AZURE_CLIENT_ID"], assertion, **options
        )
    if environ.get("DEFAULT_IDENTITY_CLIENT_ID"):  # in a node, the identity that was assigned to its compute
        options["managed_identity_client_id"] = environ["DEFAULT_IDENTITY_CLIENT_ID"]
    if tenant:
        options["additionally_allowed_tenants"] = [tenant]
    return DefaultAzureCredential(**options)


def _github_assertion(environ: Mapping[str, str]) -> Callable[[], str]:
    """Return a function that asks GitHub Actions for an OIDC token of the job."""
    url, token = environ["ACTIONS_ID_TOKEN_REQUEST_URL"], environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]

    def ask() -> str:
        import requests

        try:
            answer = requests.get(
                f"{url}&audience=api://AzureADTokenExchange",
                headers={"Authorization": f"Bearer {token}"},
                timeout=30,
            )
            answer.raise_for_status()
            return str(answer.json()["value"])
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise RunnerError(
                f"GitHub Actions issued no OIDC token: {_first_line(str(error))}; the workflow needs "
                "permissions: id-token: write"
            ) from error

    return ask


def _explain(text: str) -> str:
    """Return why nobody is signed in: the reason that matters of the many that azure-identity lists."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if "AADSTS" in line or "Authentication failed" in line]
    if reasons:
        reason = reasons[0][max(reasons[0].find("Authentication failed"), 0) :]
        return f"Azure refuses the sign-in: {_first_line(reason)}; check the identity, or az login"
    return (
        f"not signed in to Azure: {_first_line(lines[0] if lines else text)}; az login, or set AZURE_CLIENT_ID, "
        "AZURE_TENANT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE"
    )


def _first_line(text: str) -> str:
    line = " ".join(text.split())
    return line[:_LONGEST].rstrip(". ")
