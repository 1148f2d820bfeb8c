"""The base image of step images, by version of Python: pinned by digest, so that a build never takes what a tag became.

The digests are those of ``python:<version>-slim`` on Docker Hub when it was Python 3.11.16, 3.12.14 and 3.13.14, as
public build logs record them; no build was made with them here. ``docker buildx imagetools inspect python:3.11-slim``
prints the present one; to use it, set MLOPS_BASE_IMAGE, or update this table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "MLOPS_BASE_IMAGE"
_DIGESTS = {
    "3.11": "9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7",
    "3.12": "78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea",
    "3.13": "6771159cd4fa5d9bba1258caf0b82e6b73458c694d178ad97c5e925c2d0e1a91",
}
_PINNED = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}\Z")


def base_image(python: str, *, environ: Mapping[str, str]) -> str:
    """Return the base image for a version of Python: that of MLOPS_BASE_IMAGE, or the recorded one.

    Args:
        python: version, for example ``3.11``.
        environ: the environment variables.

    Raises:
        UsageError: the variable has no digest, or none is recorded for this version.

    Example:
        >>> base_image("3.11", environ={}).partition("@")[0]
        'python:3.11-slim'
    """
    chosen = environ.get(VARIABLE, "")
    example = f"python:{python}-slim@sha256:<64 hexadecimal digits>"
    how = f"`docker buildx imagetools inspect python:{python}-slim` prints the digest"
    if chosen:
        if not _PINNED.match(chosen):
            raise UsageError(f"{VARIABLE}={chosen!r} is not pinned by a digest; expected {example}; {how}")
        return chosen
    if python not in _DIGESTS:
        raise UsageError(f"no base image is recorded for Python {python}; set {VARIABLE}={example}; {how}")
    return f"python:{python}-slim@sha256:{_DIGESTS[python]}"
