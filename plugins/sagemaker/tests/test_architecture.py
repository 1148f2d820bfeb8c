"""The architecture of mlops-sagemaker: it uses only public names of core, and its folders are small."""

import ast
from pathlib import Path

import mlops_core
import mlops_core.datasets.ingestion
import mlops_core.deployments
import mlops_core.runners
import mlops_core.serving
import mlops_core.watching

PACKAGE = Path(__file__).parents[1] / "mlops_sagemaker"
ROOMS = (
    "mlops_core.runners.container.",
    "mlops_core.runners.remote.",
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
    modules = (
        mlops_core,
        mlops_core.datasets.ingestion,
        mlops_core.deployments,
        mlops_core.runners,
        mlops_core.serving,
        mlops_core.watching,
    )
    public = {module.__name__: set(module.__all__) for module in modules}
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
        counts[path.parent] = counts.get(path.parent, 0) + 1
    assert {folder.name: count for folder, count in counts.items() if count > 15} == {}


def test_service_does_not_import_the_emulator():
    rooms = (PACKAGE / "service").rglob("*.py")
    assert [path.name for path in rooms if "mlops_sagemaker.emulator" in path.read_text()] == []
