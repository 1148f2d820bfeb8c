"""The calibration of a server's drift detector, in a process of its own with a low priority.

It takes seconds of a core. In a thread of the front it would hold up every request by the interpreter's lock; at the
priority of the workers it would take a core from them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError, StepError
from mlops_core.processes.confinement import end_with_parent
from mlops_core.serving.drift.opening import prepare
from mlops_core.serving.drift.policy import DriftPolicy
from mlops_core.settings import environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.serving.drift.preparation import PreparedReference
    from mlops_core.serving.drift.reference import DriftReference

_PRIORITY = 10
"""A tenth of the share of a worker where the cores are used up, all of a core where they are not."""
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def prepare_apart(reference: DriftReference, policy: DriftPolicy, folder: Path | None) -> PreparedReference:
    """Return what `mlops_core.serving.drift.prepare` does; a calibration that is not kept yet is made by a process.

    Raises:
        StepError: that process was ended.
        UsageError, DatasetError, ConfigError, StoreError: see `mlops_core.serving.drift.prepare`.
    """
    from mlops_core.serving.drift.preparation import read_preparation

    kept = read_preparation(reference, policy, folder)
    if kept is not None:
        return kept
    if folder is not None:
        _calibrate_into(folder, reference, policy)
        return prepare(reference, policy, folder)
    with tempfile.TemporaryDirectory(prefix="mlops-drift-") as temporary:
        _calibrate_into(Path(temporary), reference, policy)
        return prepare(reference, policy, Path(temporary))


def _calibrate_into(folder: Path, reference: DriftReference, policy: DriftPolicy) -> None:
    """Have ``calibration.json`` written; an error of the process is left to the caller, who meets the same one."""
    order = {
        "features": list(reference.features),
        "vectors": [list(vector) for vector in reference.vectors],
        "groups": list(reference.groups),
        "source": reference.source,
        "policy": asdict(policy),
    }
    done = subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-P", "-m", __name__, str(folder), str(os.getpid())],
        input=json.dumps(order).encode(),
        stdout=2,  # nothing of it may look like a line of the log
        check=False,
        env={**environment(), **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        process_group=0,  # Ctrl-C reaches the front only
    )
    if done.returncode < 0:
        raise StepError(f"drift: the process that calibrates was ended by signal {-done.returncode}; start again")


@dataclass(frozen=True, slots=True, kw_only=True)
class _OrderedReference:
    """The reference of an order."""

    features: tuple[str, ...]
    vectors: Sequence[Sequence[float]]
    groups: tuple[str, ...]
    source: str


def main(folder: Path, parent: int) -> int:
    """Calibrate what standard input orders; return the exit code."""
    end_with_parent()
    if os.getppid() != parent:  # it ended before this process could ask to end with it
        return 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_PRIORITY)
    order: Mapping[str, Any] = json.loads(sys.stdin.buffer.read())
    reference = _OrderedReference(
        features=tuple(order["features"]),
        vectors=order["vectors"],
        groups=tuple(order["groups"]),
        source=order["source"],
    )
    windows = order["policy"]["windows"]
    policy = DriftPolicy(**{**order["policy"], "windows": None if windows is None else tuple(windows)})
    try:
        prepare(reference, policy, folder)
    except MlopsError as error:
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
