"""What the Makefile does before it installs anything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OTHER_VERSION = """#!/bin/sh
exec "{python}" -c '
import runpy, sys
sys.version_info = {version}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
' "$@"
"""


def make(*arguments, cwd=ROOT):
    return subprocess.run(["make", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def interpreter(tmp_path):
    """A function that writes an interpreter which takes itself for another version."""

    def write(version):
        path = tmp_path / "an interpreter"
        path.write_text(OTHER_VERSION.format(python=sys.executable, version=version))
        path.chmod(0o755)
        return path

    return write


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 14, 0)])
def test_make_names_the_tested_versions_under_an_untested_one(interpreter, tmp_path, version):
    done = make("run", f"PYTHON={interpreter(version)}", f"VENV={tmp_path}/venv")
    line = done.stderr.splitlines()[0]
    assert done.returncode != 0
    assert f"works with Python 3.11, 3.12 or 3.13, not with {version[0]}.{version[1]}" in line
    assert "make PYTHON=python3.1" in line
    assert not (tmp_path / "venv").exists()


def test_make_refuses_an_environment_of_another_version(interpreter, tmp_path):
    other = (3, 13 if sys.version_info[:2] != (3, 13) else 12, 0)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    done = make("run", f"PYTHON={interpreter(other)}", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    line = done.stderr.splitlines()[0]
    assert f"has Python {sys.version_info[0]}.{sys.version_info[1]}, not {other[0]}.{other[1]}" in line
    assert "make clean" in line


def test_help_names_every_target_for_users():
    lines = make("help").stdout.splitlines()
    targets = [line.split()[1] for line in lines if line.startswith("make ")]
    assert targets == [
        "run",
        "test",
        "test-all",
        "check",
        "format",
        "docs",
        "site",
        "dist",
        "bench",
        "figures",
        "clean",
    ]
    for target in targets:
        done = make("--dry-run", target)
        assert done.returncode == 0, target
        assert "Nothing to be done" not in done.stdout, target
