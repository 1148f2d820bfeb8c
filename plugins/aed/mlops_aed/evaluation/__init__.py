"""Evaluation: metrics, votes over patches, figures, the files of an evaluation."""
