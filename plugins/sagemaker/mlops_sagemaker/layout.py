"""The folders of a job's container: those of a processing job, and those of a training job."""

from __future__ import annotations

from enum import StrEnum


class Layout(StrEnum):
    """Where a container finds its files: as a processing job or as a training job."""

    PROCESSING = "processing"
    TRAINING = "training"
