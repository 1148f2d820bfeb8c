"""CI, pre-commit and the Makefile run the same commands."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"


def make_targets(target):
    """Return the prerequisites of a target of the Makefile."""
    return re.search(rf"^{target}: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()


def commands(workflow):
    jobs = yaml.safe_load((WORKFLOWS / workflow).read_text())["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def test_pre_commit_runs_exactly_the_checks_of_make_check():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"] for hook in repo["hooks"]] == [f"make {target}" for target in make_targets("check")]
    assert all(hook["always_run"] and not hook["pass_filenames"] for hook in repo["hooks"])


def test_the_workflows_run_what_a_developer_runs():
    assert commands("ci.yml") == [".ci/run"]
    assert commands("nightly.yml") == ["make test-all", "make site"]
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if line.startswith("make ")] == ["make check", "make test"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_ci_tests_the_python_versions_that_the_metadata_claims():
    matrix = yaml.safe_load((WORKFLOWS / "ci.yml").read_text())["jobs"]["run"]["strategy"]["matrix"]["python"]
    for project in (ROOT, *(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))):
        classifiers = tomllib.loads((project / "pyproject.toml").read_text())["project"]["classifiers"]
        versions = [c.rpartition(" ")[2] for c in classifiers if c.startswith("Programming Language :: Python :: 3.")]
        assert versions == matrix, project.name


def test_shell_scripts_of_ci_are_clean():
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shellcheck = shutil.which("shellcheck", path=path) or pytest.skip("shellcheck is not installed")
    subprocess.run([shellcheck, ROOT / ".ci" / "run"], check=True)


def test_every_distribution_has_the_same_licence():
    for project in ROOT.glob("plugins/*/pyproject.toml"):
        assert (project.parent / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes(), project.parent.name


def test_the_suite_for_every_change_leaves_out_what_belongs_to_test_all():
    makefile = (ROOT / "Makefile").read_text()
    assert 'pytest -n auto --reruns 1 -rR -m "not real_data and not slow_suite"' in makefile
    assert "test-all: $(STAMP)" in makefile


def test_core_and_plugins_do_not_require_packages_of_other_authors():
    """`mlops` and `mlops-core` on the public index are not ours."""
    ours = {"mlops-usecases"}
    ours |= {tomllib.loads(p.read_text())["project"]["name"] for p in ROOT.glob("plugins/*/pyproject.toml")}
    for path in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        extras = project.get("optional-dependencies", {}).values()
        requirements = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
        names = {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}
        assert {name for name in names if name.startswith("mlops")} <= ours, path
