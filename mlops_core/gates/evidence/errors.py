"""The error of a gate that has nothing to decide on."""

from __future__ import annotations

from mlops_core.errors import MlopsError


class EvidenceError(MlopsError):
    """A clause cannot be decided on what there is; the gate then rejects the model, with this message."""
