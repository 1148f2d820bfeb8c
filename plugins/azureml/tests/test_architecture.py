"""The architecture of mlops-azureml: public names of core only, small folders, nothing of Azure imported early."""

import ast
import subprocess
import sys
from pathlib import Path

import mlops_core
import mlops_core.runners

PACKAGE = Path(__file__).parents[1] / "mlops_azureml"
ROOMS = (
    "mlops_core.runners.container.",
    "mlops_core.runners.remote.",
    "mlops_core.deployments.",
    "mlops_core.serving.",
    "mlops_core.cli.options",
    "mlops_core.cli.output",
    "mlops_core.cli.streams",
)
"""Modules that core offers to engines, besides `mlops_core` and `mlops_core.runners`."""


def imports():
    """Yield (file, module, name) of each import from core."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mlops_core":
                yield from ((path.name, node.module, alias.name) for alias in node.names)


def test_engine_uses_only_public_names_of_core():
    public = {module.__name__: set(module.__all__) for module in (mlops_core, mlops_core.runners)}
    private = [
        f"{file}: from {module} import {name}"
        for file, module, name in imports()
        if name.startswith("_")
        or (module in public and name not in public[module])
        or (module not in public and not f"{module}.".startswith(ROOMS) and module not in ROOMS)
    ]
    assert private == []


def test_folders_have_at_most_15_modules():
    counts = {}
    for path in PACKAGE.rglob("*.py"):
        if path.name == "__init__.py":
            continue
        counts[path.parent] = counts.get(path.parent, 0) + 1
    assert {folder.name: count for folder, count in counts.items() if count > 15} == {}


def test_job_is_compiled_and_checked_without_a_package_of_azure(toy, tmp_path):
    code = (
        "import sys\n"
        "from mlops_core.api import prepare_run\n"
        "from mlops_core.runners import RunnerOptions\n"
        "from mlops_azureml.plugin import AZUREML\n"
        "assert not AZUREML.compile(prepare_run('TOY'), RunnerOptions()).faults\n"
        "heavy = {name.partition('.')[0] for name in sys.modules} & {'azure', 'msal', 'obstore', 'numpy', 'boto3'}\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
