"""Matching of detections with truth, and average precision."""
