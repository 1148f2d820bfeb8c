"""Every dependency of a distribution is declared, and docs/dependencies.md says why it is there."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = {
    path.parent.name if path.parent != ROOT else "core": path.parent
    for path in (ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml")))
}
OWN = re.compile(r"mlops[-_]")
BROUGHT = {
    "botocore": "boto3",
    "h11": "uvicorn",
    "h5py": "tensorflow",
    "keras": "tensorflow",
    "werkzeug": "moto",
}
"""Imported packages that are parts of another one, by which they are installed in a version that fits."""
OPTIONAL = {"IPython", "h5py", "pandas"}
"""Used where they are installed: a notebook, what shows its tables, and what reads the weights of a network."""
NAME = re.compile(r"[A-Za-z0-9._-]+")


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(folder, *, is_runtime):
    """Return the names of the dependencies; for running only, or with tests, checks and documentation."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    listed = list(project["dependencies"])
    for extra, entries in project.get("optional-dependencies", {}).items():
        if not (is_runtime and extra in ("test", "check", "docs", "all")):
            listed += entries
    return {normalized(NAME.match(each)[0]) for each in listed} - {"mlops-usecases"}


def explained():
    """Return the names of the first column of the table."""
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    words = (re.sub(r"\(.*?\)", "", row) for row in rows)
    return {normalized(name.strip()) for row in words for name in row.split(",")}


def imported(folder):
    """Return top-level modules that the distribution's packages import, anywhere in their code -> a file."""
    found = {}
    for package in sorted(folder.glob("mlops_*")):
        for path in sorted(package.rglob("*.py")):
            if "testing" in path.parts or "templates" in path.parts:
                continue  # the contract tests use what those who run them have installed
            names = re.findall(
                r"^ *(?:from|import) ([A-Za-z_]\w*)[\w.]*(?: import| as| *#|,|$)", path.read_text(), re.MULTILINE
            )
            found.update(dict.fromkeys(names, path.relative_to(ROOT)))
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names and not OWN.match(name)}


@pytest.mark.parametrize("project", PROJECTS)
def test_dependency_is_explained(project):
    missing = requirements(PROJECTS[project], is_runtime=True) - explained()
    assert not {name for name in missing if not OWN.match(name)}, "add a line to docs/dependencies.md"


@pytest.mark.parametrize("project", PROJECTS)
def test_imported_distribution_is_declared(project):
    declared = requirements(PROJECTS[project], is_runtime=True) | requirements(ROOT, is_runtime=True)
    owners = packages_distributions()
    undeclared = {
        name: str(path)
        for name, path in imported(PROJECTS[project]).items()
        if name not in OPTIONAL
        and not {normalized(owner) for owner in (*owners.get(name, [name]), BROUGHT.get(name, name))} & declared
    }
    assert undeclared == {}
