"""Readers of raw layouts, a module per layout; `mlops_object_detection.data.raw` chooses among them."""
