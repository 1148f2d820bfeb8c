"""The container of the step ``ingest``: from the objects at an address to the data set of an execution.

``processing/input/source`` holds the objects below the address ``--uri``, ``processing/input/annotations`` those below
the prefix of annotations. The data set is written to ``processing/output/dataset``, what was done to
``processing/output/report/ingestion.json``, and the digest of the data set to ``output/message``.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from typing import TYPE_CHECKING, Protocol

from mlops_core import DatasetError, MlopsError
from mlops_core.datasets.ingestion import Ingestion, LabelTable, ingest
from mlops_core.runners import ExitCode, RunnerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FLAGS = ("--root", "--uri", "--version", "--labels")


class Reporting(Protocol):
    """Writes one line where the service reads the outcome."""

    def report(self, message: str, *, is_failure: bool) -> None:
        """Write the message."""


def run_ingestion(arguments: Sequence[str], root: Path, site: Reporting) -> int:
    """Make the data set and return the exit code."""
    try:
        made = _ingest(_read(arguments), root)
    except MlopsError as error:
        sys.stderr.write(f"mlops: error: {error}\n")
        site.report(str(error), is_failure=True)
        return int(error.exit_code)
    sys.stdout.write(f"{made.summary()}, digest {made.digest}\n")
    for conflict in made.conflicts:
        sys.stdout.write(f"conflict: {conflict}\n")
    site.report(made.digest, is_failure=False)
    return int(ExitCode.OK)


def _read(arguments: Sequence[str]) -> dict[str, str]:
    values = {}
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if name not in _FLAGS or not separator:
            raise RunnerError(f"unknown argument {argument[:80]!r}; expected {', '.join(_FLAGS)}, each with '=VALUE'")
        values[name] = value
    return values


def _ingest(values: dict[str, str], root: Path) -> Ingestion:
    folder = root / "processing"
    source = folder / "input" / "source"
    uri = values.get("--uri", "")
    name = uri.rpartition("/")[2]
    if name:  # an object; the service also delivers all objects whose keys begin like its key
        source = source / name
        if not source.is_file():
            raise DatasetError(f"no object {uri}; expected the one that arrived, or a prefix with a slash at its end")
    labels = json.loads(values["--labels"]) if values.get("--labels") else None
    output = folder / "output"
    work = root / "mlops-ingest"
    shutil.rmtree(work, ignore_errors=True)
    try:
        made = ingest(
            source,
            work,
            annotations=folder / "input" / "annotations",
            table=LabelTable(file=labels[0], sample=labels[1], label=labels[2]) if labels else None,
        )
        version = values.get("--version", "")
        if _DIGEST.fullmatch(version) and made.source_digest != version:
            raise DatasetError(
                f"the data at {uri} has the digest {made.source_digest[:12]}, but {version[:12]} was uploaded for this "
                "execution; something else has written there: upload again"
            )
        _publish(work, output / "dataset")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report = {"uri": uri, "version": version, **made.to_json()}
    (output / "report").mkdir(parents=True, exist_ok=True)
    (output / "report" / "ingestion.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return made


def _publish(work: Path, target: Path) -> None:
    """Move the data set to the folder that the service uploads, which exists and may be a mount."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in work.iterdir():
        shutil.move(entry, target / entry.name)
