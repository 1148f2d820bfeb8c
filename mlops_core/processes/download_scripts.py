"""A data set that a script of the user's downloads: run by bash in an empty folder, confined as a step is.

The script writes what it downloads to ``./temp``, as the download commands of existing projects do. It is a file, never
a text of a configuration, and its content is part of the data set's identity.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import file_digest
from mlops_core.errors import DatasetError
from mlops_core.processes.confinement import kill_group

if TYPE_CHECKING:
    from mlops_core.datasets.catalogue import CommandSource

RESULT = "temp"
_LONGEST_S = 6 * 3600
_SHOWN_LINES = 3


def run_command_source(source: CommandSource, folder: Path, *, work: Path, name: str) -> None:
    """Run the script of a data set and move what it downloaded to `folder`.

    Args:
        source: the script and its digest.
        folder: empty folder for the files of the data set.
        work: folder for the run of the script; it is removed by the caller.
        name: of the data set.

    Raises:
        DatasetError: the script has changed, has Windows line endings, fails, takes longer than six hours, or leaves no
            ``temp`` folder.
    """
    script = Path(source.script)
    where = f"data set '{name}': {script}"
    try:
        if file_digest(script) != source.sha256:
            raise DatasetError(f"{where} was changed since this run was prepared; start it again")
        _require_line_endings(script, where=where)
        shutil.copyfile(script, work / "download.sh")
    except OSError as error:
        raise DatasetError(f"{where} cannot be read: {error.strerror}; name the script with --command-file") from None
    inside = work / "empty"
    inside.mkdir()
    output = work / "output.log"
    code = _run(work / "download.sh", inside, temporary=work, output=output)
    if code:
        lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
        shown = " / ".join(lines[-_SHOWN_LINES:]) or "it printed nothing"
        reason = "was ended after six hours" if code == -signal.SIGKILL else f"ended with {code}"
        raise DatasetError(f"{where} {reason}: {shown}")
    result = inside / RESULT
    if result.is_file() and not result.is_symlink():
        raise DatasetError(f"{where}: ./{RESULT} is a file, expected a folder with the files of the data set")
    if result.is_symlink() or not result.is_dir() or not any(result.iterdir()):
        raise DatasetError(f"{where} left no files in ./{RESULT}; expected it to download the data set there")
    for entry in result.iterdir():
        shutil.move(entry, folder / entry.name)


def _require_line_endings(script: Path, *, where: str) -> None:
    with script.open("rb") as stream:
        if stream.readline().endswith(b"\r\n"):
            raise DatasetError(f"{where} has Windows line endings (CRLF), which bash does not take; save it with LF")


def _run(script: Path, folder: Path, *, temporary: Path, output: Path) -> int:
    scratch = temporary / "tmp"
    scratch.mkdir()
    command = [sys.executable, "-m", "mlops_core.processes.confined_command", str(folder), str(scratch), "--"]
    with output.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603  the user's own script
            [*command, "bash", "-euo", "pipefail", str(script)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        try:
            return process.wait(timeout=_LONGEST_S)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            kill_group(process.pid)
            process.wait()
