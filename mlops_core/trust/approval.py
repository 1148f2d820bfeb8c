"""Approving with evidence: verifies a bundle and returns what the registry compares with the model version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.config_files.workspace_settings import read_workspace_settings
from mlops_core.errors import NotVerifiedError, UsageError
from mlops_core.trust.bundles.keys import read_trust_file
from mlops_core.trust.bundles.verification import verify_bundle
from mlops_core.workspace.model_versions import ApprovalEvidence

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.trust.bundles.keys import TrustedKeys


def verified_evidence(
    bundle: Path, home: Path, *, keys: TrustedKeys | None = None
) -> tuple[ApprovalEvidence, tuple[str, ...]]:
    """Return the evidence of a bundle that is verified, and the names of the checks that could not be made.

    Args:
        bundle: the bundle's file.
        home: folder of the workspace, whose settings may name a trust file.
        keys: the trusted keys; None for those of the workspace.

    Raises:
        NotVerifiedError: it is not verified; the first mismatch is named.
        UsageError: there are no trusted keys, or the file cannot be read.
        ConfigError: ``workspace.yaml`` or the trust file is not well formed.
    """
    if keys is None:
        trust = read_workspace_settings(home).trust
        if not trust:
            raise UsageError(f"{bundle} cannot be verified: give --key or --trust, or set trust in workspace.yaml")
        keys = read_trust_file(home / trust)
    report = verify_bundle(bundle, keys=keys, is_hashed=True)
    if not report.is_verified:
        raise NotVerifiedError(f"{bundle} is not verified: {report.mismatch}; nothing was approved")
    evidence = ApprovalEvidence(
        sha256=report.sha256, use_case=report.use_case, run_id=report.run_id, artifact=report.artifact
    )
    return evidence, tuple(name for name in report.not_checked if name != "model files")
