"""The folder layouts of a container: one for processing jobs, one for training jobs."""

from __future__ import annotations

from enum import StrEnum


class Layout(StrEnum):
    """The folder layout of a container."""

    PROCESSING = "processing"
    TRAINING = "training"
