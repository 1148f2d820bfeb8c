"""Every distribution as its users get it: built, and installed where nothing else is installed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.timeout(3600)

ROOT = Path(__file__).parents[2]
PROJECTS = (ROOT, *(path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))))
ENTRY_POINTS = """
import importlib.metadata, json
found = importlib.metadata.entry_points()
points = [p for group in found.groups if group.startswith("mlops.") for p in found.select(group=group)]
print(json.dumps([[p.group, p.name, p.load() is not None] for p in points]))
"""


def metadata(project):
    return tomllib.loads((project / "pyproject.toml").read_text())


def name(project):
    return metadata(project)["project"]["name"]


def package(project):
    return next(path.parent for path in project.glob("*/py.typed")).name


def call(*command, cwd, **environ):
    """Return what a command prints; the process sees neither this environment's packages nor its settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MLOPS_", "VIRTUAL_ENV", "COVERAGE"))}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**kept, **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the project without what is built or ignored: building writes into its folder."""
    copy = tmp_path_factory.mktemp("tree") / "project"
    for path in call("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0"):
        if path and (ROOT / path).exists():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, copy / path)
    return copy


@pytest.fixture(scope="module")
def dist(tree):
    """The folder that `make dist` writes."""
    call("make", f"--assume-old={sys.prefix}/.installed", "dist", f"VENV={sys.prefix}", cwd=tree)
    return tree / "dist"


@pytest.fixture(scope="module")
def environment(dist, tmp_path_factory):
    """The `bin` folder of an environment with every wheel, and what they require, installed."""
    folder = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    wheels = sorted(dist.glob("*.whl"))
    call(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", *wheels, cwd=folder)
    return python.parent


@pytest.mark.slow_suite
def test_each_distribution_has_one_wheel_and_one_sdist(dist):
    files = {re.sub(r"-0\.1\.0(-py3-none-any)?", "", path.name) for path in dist.iterdir()}
    assert files == {f"{name(p).replace('-', '_')}{suffix}" for p in PROJECTS for suffix in (".whl", ".tar.gz")}


@pytest.mark.slow_suite
@pytest.mark.parametrize("project", PROJECTS, ids=name)
def test_a_wheel_holds_every_file_of_its_package_and_no_other(project, tree, dist):
    """Templates, tables, default configurations and py.typed are files of the package, too."""
    (wheel,) = dist.glob(f"{name(project).replace('-', '_')}-*.whl")
    source = tree / project.relative_to(ROOT)
    expected = {
        path.relative_to(source).as_posix()
        for path in (source / package(project)).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {n for n in names if ".dist-info/" not in n} == expected
    assert any(n.endswith("/licenses/LICENSE") for n in names)


@pytest.mark.slow_suite
@pytest.mark.parametrize("project", PROJECTS, ids=name)
def test_an_sdist_holds_the_project_and_no_environment(project, dist):
    (sdist,) = dist.glob(f"{name(project).replace('-', '_')}-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.partition("/")[2] for member in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", f"{package(project)}/py.typed"} <= names
    assert not [n for n in names if n.startswith((".venv", ".mlops", "dist/", "build/"))]


@pytest.mark.slow_suite
def test_what_is_installed_fits_together(environment, tmp_path):
    assert "No broken requirements" in call(environment / "python", "-m", "pip", "check", cwd=tmp_path)


@pytest.mark.slow_suite
def test_every_entry_point_is_installed_and_loads(environment, tmp_path):
    expected = {
        (group, point)
        for project in PROJECTS
        for group, points in metadata(project)["project"].get("entry-points", {}).items()
        for point in points
        if group.startswith("mlops.")
    }
    installed = json.loads(call(environment / "python", "-c", ENTRY_POINTS, cwd=tmp_path))
    assert {(group, point) for group, point, is_loaded in installed if is_loaded} == expected
    assert {"mlops.usecases", "mlops.runners"} <= {group for group, _ in expected}


@pytest.mark.slow_suite
def test_every_command_is_installed_and_prints_its_help(environment, tmp_path):
    for project in PROJECTS:
        for script in metadata(project)["project"].get("scripts", {}):
            assert "usage" in call(environment / script, "--help", cwd=tmp_path).lower(), script


@pytest.mark.slow_suite
def test_the_installed_command_lists_runs_and_scaffolds(environment, tmp_path):
    use_cases = [
        point for p in PROJECTS for point in metadata(p)["project"].get("entry-points", {}).get("mlops.usecases", ())
    ]
    listing = call(environment / "mlops", "list", cwd=tmp_path)
    assert all(use_case in listing for use_case in use_cases)
    call(environment / "mlops", "run", "--usecase", "ABALONE", cwd=tmp_path)
    assert (tmp_path / ".mlops" / "runs").is_dir()
    call(environment / "mlops", "plugin", "new", "BIRD_CALLS", "--kind", "audio", cwd=tmp_path)
    assert (tmp_path / "mlops-bird-calls" / "pyproject.toml").is_file()


def install_lines():
    buildspec = yaml.safe_load((ROOT / "entrypoints" / "buildspec.yml").read_text())
    workflow = yaml.safe_load((ROOT / "entrypoints" / "github-workflow.yml").read_text())
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    for commands in (buildspec["phases"]["install"]["commands"], steps):
        yield [line for line in commands if line.startswith("pip install")]


def test_the_install_lines_take_this_project_from_its_own_folders():
    """A name such as `mlops-core` on the public index may belong to somebody else."""
    for lines in install_lines():
        (line,) = lines
        words = shlex.split(line.replace("--constraint constraints.txt", ""))[2:]
        requirements = [word for word in words if not word.startswith("-")]
        assert {".", "./plugins/sagemaker"} < set(requirements), line
        assert all(word == "." or (ROOT / word / "pyproject.toml").is_file() for word in requirements), line


@pytest.mark.slow_suite
def test_the_scripts_of_existing_projects_start_after_the_install_line(tree, tmp_path):
    """In an environment that holds nothing but pip, as a CI service has it."""
    ((line,), _) = install_lines()
    call(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    path = f"{tmp_path}/venv/bin{os.pathsep}{os.environ['PATH']}"
    call("bash", "-euo", "pipefail", "-c", line, cwd=tree, PATH=path)
    for script in ("run-pipeline", "get-pipeline-definition"):
        assert "--module-name" in call(tmp_path / "venv" / "bin" / script, "--help", cwd=tmp_path)
    assert "AED" in call(tmp_path / "venv" / "bin" / "mlops", "list", cwd=tmp_path)
