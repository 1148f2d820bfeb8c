"""What a step needs of a machine: `Resources`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a step needs of a machine, and how its failures are handled.

    Each engine maps the needs to its own machines: the smallest one that fits. The local runner ignores the first four.

    Attributes:
        cpus: processor cores.
        memory_gb: main memory, in GB.
        gpus: accelerators.
        disk_gb: disk space, in GB.
        timeout_s: seconds after which the step's whole process tree is killed.
        retries: number of further attempts after a failed one.
        memory_limit_mb: resident memory of all its processes, in MiB, at which they are killed; None for no limit.

    Example:
        >>> Resources(cpus=4, memory_gb=16, gpus=1, timeout_s=3600).disk_gb
        30
    """

    cpus: float = 2
    memory_gb: float = 8
    gpus: int = 0
    disk_gb: int = 30
    timeout_s: float = 86_400.0
    retries: int = 0
    memory_limit_mb: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that no machine can have.

        Raises:
            PipelineError: names the value.
        """
        sizes = {
            "cpus": self.cpus,
            "memory_gb": self.memory_gb,
            "disk_gb": self.disk_gb,
            "timeout_s": self.timeout_s,
            "memory_limit_mb": 1 if self.memory_limit_mb is None else self.memory_limit_mb,
        }
        for name, size in sizes.items():
            if not (math.isfinite(size) and size > 0):
                raise PipelineError(f"resources: {name}={size!r} is not a positive number")
        for name, count in (("gpus", self.gpus), ("retries", self.retries)):
            if count < 0:
                raise PipelineError(f"resources: {name}={count!r} is negative")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Resources:
        """Return the resources of a stored step, in the present or an earlier format."""
        values = dict(data)
        values.pop("instance_type", None)
        for old, new in (("volume_gb", "disk_gb"), ("memory_mb", "memory_limit_mb")):
            if old in values:
                values[new] = values.pop(old)
        return cls(**values)
