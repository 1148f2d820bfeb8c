"""The credential of an endpoint: random, so that only who has read it can sign requests."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field

_KEY = string.ascii_uppercase + string.digits
_KEY_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """An access key and its secret."""

    access_key: str = field(default_factory=lambda: "AKIA" + "".join(secrets.choice(_KEY) for _ in range(_KEY_LENGTH)))
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which the AWS SDKs use the credential."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
