"""Emitting an Azure ML job as a whole command, and the import of the engine, against fixed limits.

Usage: ``python benchmarks/emit_azure.py --ours .venv/bin``
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from pathlib import Path

from measuring import Ratio, medians, report, timed_command

EMIT_S, IMPORT_S = 0.4, 0.1
REPETITIONS = 7


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=Path, required=True, help="folder with mlops and python")
    ours = parser.parse_args().ours.absolute()
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder:
        emit = [str(ours / "mlops"), "compile", "-u", "ABALONE", "--runner", "azureml", "--image", "r.io/steps:1"]
        emit += ["-o", f"{folder}/job.yml"]
        start = [str(ours / "python"), "-c", "pass"]
        package = [str(ours / "python"), "-c", "import mlops_azureml"]
        commands = (emit, package, start)
        measures = [functools.partial(timed_command, command, cwd=folder) for command in commands]
        emitted, imported, started = medians(measures, repetitions=REPETITIONS)
    times = {"emit": emitted, "import": imported, "python": started}
    print("processor time:", ", ".join(f"{name} {timing.processor_s:.3f} s" for name, timing in times.items()))
    return report(
        [
            Ratio(name="emit, whole command", ours=emitted, peer="limit", peer_time=EMIT_S, target=1.0),
            Ratio(name="python and import of the engine", ours=imported, peer="limit", peer_time=IMPORT_S, target=1.0),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
