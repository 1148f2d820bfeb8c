"""ST Edge AI Core's command line, if it is installed: its estimate of a model's needs on a microcontroller.

Its ``analyze`` writes ``network_c_info.json`` (with ``memory_footprint``, in bytes) and a report with the number of
multiply-accumulates ("macc"); see https://stedgeai-dc.st.com/assets/embedded-docs/command_line_interface.html.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core import ConfigError, StepError, normalise_path

if TYPE_CHECKING:
    from mlops_aed.config import StEdgeAi

INFO_FILE = "network_c_info.json"
REPORT_FILE = "network_analyze_report.txt"
_FOOTPRINT = ("weights", "activations")
_MACC = re.compile(r"^\s*macc\s*:\s*([\d,]+)", re.MULTILINE)
_TIMEOUT_S = 1800


def analyze(model: Path, settings: StEdgeAi, *, output: Path, workspace: Path) -> dict[str, int]:
    """Return the tool's results: ``weights_bytes``, ``activations_bytes`` and, if reported, ``macc``.

    Args:
        model: a ``.tflite`` or ``.onnx`` file.
        settings: tool, target and optimization.
        output: folder for the tool's reports.
        workspace: folder for its temporary files.

    Raises:
        ConfigError: the tool does not exist.
        StepError: it failed, took more than half an hour, or wrote no report.
    """
    tool = Path(normalise_path(str(settings.path))).expanduser()
    if not tool.is_file():
        raise ConfigError(f"stedgeai.path: no file {tool}; expected the executable of ST Edge AI Core")
    command = [str(tool), "analyze", "--model", str(model), "--target", settings.target]
    command += ["--optimization", settings.optimization, "--output", str(output), "--workspace", str(workspace)]
    try:
        done = subprocess.run(  # noqa: S603  no shell; the user's configuration names the program
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, cwd=workspace
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StepError(f"{tool.name} analyze: {' '.join(str(error).split())[:300]}") from error
    (output / "stedgeai.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise StepError(f"{tool.name} analyze --target {settings.target} failed with {done.returncode}: {last}")
    return _numbers(output, done.stdout, tool=tool.name)


def _numbers(output: Path, printed: str, *, tool: str) -> dict[str, int]:
    try:
        info: dict[str, Any] = json.loads((output / INFO_FILE).read_text(encoding="utf-8"))
        numbers = {f"{key}_bytes": int(info["memory_footprint"][key]) for key in _FOOTPRINT}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StepError(
            f"{tool} analyze wrote no {INFO_FILE} with a memory_footprint ({type(error).__name__})"
        ) from error
    report = output / REPORT_FILE
    text = report.read_text(encoding="utf-8", errors="replace") if report.is_file() else printed
    macc = _MACC.search(text)
    return {**numbers, "macc": int(macc[1].replace(",", ""))} if macc else numbers
