"""The notebooks in `examples` run in a kernel, as their readers run them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))
EXECUTE = """
import sys
import nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=240).execute()
nbformat.write(notebook, sys.argv[2])
"""


def outputs(notebook, cell):
    (found,) = (each for each in notebook["cells"] if each["id"] == cell)
    return {kind: "".join(text) for output in found["outputs"] for kind, text in output.get("data", {}).items()}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_stored_without_outputs(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_the_example_runs_in_a_kernel_and_shows_the_run(tmp_path):
    """In a process of its own: the client's sockets and event loop are none of this process's."""
    (example,) = EXAMPLES
    executed = tmp_path / "executed.ipynb"
    command = [sys.executable, "-c", EXECUTE, str(example), str(executed)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    notebook = json.loads(executed.read_text())
    table = outputs(notebook, "first-run")["text/html"]
    assert "accepted" in table  # an update from the thread of the display reached the cell
    assert len(re.findall(r"</span> done</span>", table)) == 5
    assert '<polyline class="curve' in outputs(notebook, "show-record")["text/html"]
    assert "The gate rejected the model" in outputs(notebook, "second-run")["text/html"]
    assert "param.mse_threshold" in outputs(notebook, "frame")["text/html"]
    assert len(json.loads(outputs(notebook, "predictions")["text/plain"])) == 5
