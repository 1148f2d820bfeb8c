"""Wheels of distributions that are installed from a folder: the build requirements are checked first."""

import importlib.metadata
import re
import subprocess
import sys
import zipfile

import pytest

from mlops_core import PluginError
from mlops_core.runners.container import packaging
from mlops_core.runners.container.packaging import lacking_build_requirements
from mlops_core.runners.container.wheels import hashed_requirements, write_installed_wheel


def source(folder, requires):
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(
        f'[build-system]\nrequires = {requires}\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "mine"\n'
        'version = "1"\n[tool.setuptools]\npackages = []\n'
    )
    return folder


@pytest.mark.parametrize(
    ("requires", "lacking"),
    [
        (["pytest"], []),
        (["pytest>=8"], []),
        (["pytest >= 8.2"], []),
        (["pytest>=999"], [("pytest>=999", pytest.__version__)]),
        (["pytest>=8,<9", "no-such-package"], [("no-such-package", "none")]),
        (["pytest[dev]>=8; python_version > '3'"], []),
    ],
)
def test_requirements_that_are_not_met_are_found(tmp_path, requires, lacking):
    assert lacking_build_requirements(source(tmp_path, requires)) == lacking


def test_a_folder_without_a_project_file_is_built_with_what_is_installed(tmp_path):
    assert lacking_build_requirements(tmp_path) == []


@pytest.fixture
def write_wheel(tmp_path):
    """Return a function that builds the wheel of a folder with pip cut off from every index."""

    def write(requires):
        folder = source(tmp_path / "source", requires)
        (tmp_path / "wheels").mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PIP_NO_INDEX", "1")
            patch.setattr(packaging, "_distribution", lambda name: name)
            patch.setattr(packaging, "folder_of", lambda _: folder)
            packaging.write_wheel("mine", tmp_path / "wheels")
        return [path.name for path in (tmp_path / "wheels").iterdir()]

    return write


def test_a_build_whose_requirements_are_met_needs_no_index(write_wheel):
    pytest.importorskip("setuptools", minversion="70.1")
    assert write_wheel(["setuptools>=40"]) == ["mine-1-py3-none-any.whl"]


@pytest.mark.slow_suite
def test_a_build_that_cannot_get_its_requirements_names_them(write_wheel):
    with pytest.raises(PluginError) as failed:
        write_wheel(["setuptools>=999"])
    message = str(failed.value)
    assert message.startswith("no wheel of mine: its build needs setuptools>=999 (installed: ")
    assert message.endswith("which pip could not fetch; pip install 'setuptools>=999'")
    assert sys.executable not in message


@pytest.fixture
def installed(write_wheel, tmp_path):
    """Return a distribution that was installed from a wheel, as a CI service has it."""
    pytest.importorskip("setuptools", minversion="70.1")
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "module.py").write_text("NUMBER = 1\n")
    (wheel,) = write_wheel(["setuptools>=40"])
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(tmp_path / "wheels" / wheel)], check=True)
    (distribution,) = importlib.metadata.distributions(name="mine", path=[str(site)])
    return distribution


def test_installed_distribution_is_packed_again_and_never_fetched(installed, tmp_path):
    (tmp_path / "again").mkdir()
    wheel = write_installed_wheel(installed, tmp_path / "again")
    assert wheel.name == "mine-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {"mine-1.dist-info/METADATA", "mine-1.dist-info/RECORD", "mine-1.dist-info/WHEEL"} <= set(names)
        assert not {"INSTALLER", "direct_url.json"} & {name.rpartition("/")[2] for name in names}
    line = hashed_requirements([wheel])
    assert re.fullmatch(r"mine==1 --hash=sha256:[0-9a-f]{64}\n", line)
    (tmp_path / "wheels.txt").write_text(line)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--require-hashes"]
    target = ["--target", str(tmp_path / "other"), "--find-links", str(tmp_path / "again")]
    subprocess.run([*pip, *target, "--requirement", str(tmp_path / "wheels.txt")], check=True)
    assert (tmp_path / "other" / "mine-1.dist-info" / "METADATA").is_file()
    assert write_installed_wheel(installed, tmp_path).read_bytes() == wheel.read_bytes()


@pytest.mark.slow_suite
def test_file_that_was_changed_after_the_installation_is_refused(installed, tmp_path):
    metadata = next(file for file in installed.files if file.name == "METADATA").locate()
    metadata.write_text(f"{metadata.read_text()}\nchanged\n")
    with pytest.raises(PluginError, match="METADATA was changed after the installation"):
        write_installed_wheel(installed, tmp_path)


def test_distribution_from_a_wheel_file_has_no_folder(installed):
    assert installed.read_text("direct_url.json")
    assert packaging.folder_of(installed) is None
