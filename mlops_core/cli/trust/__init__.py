"""Commands for evidence: bundles, their verification, and keys."""
