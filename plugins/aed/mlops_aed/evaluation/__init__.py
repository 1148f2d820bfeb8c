"""Evaluation: metrics, votes over patches, figures, files."""
