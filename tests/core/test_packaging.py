"""Wheels of distributions that are installed from a folder: the build requirements are checked first."""

import sys

import pytest

from mlops_core import PluginError
from mlops_core.runners.container import packaging
from mlops_core.runners.container.packaging import lacking_build_requirements


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
            patch.setattr(packaging, "_folder_of", lambda _: folder)
            packaging._write_wheel("mine", tmp_path / "wheels")
        return [path.name for path in (tmp_path / "wheels").iterdir()]

    return write


def test_a_build_whose_requirements_are_met_needs_no_index(write_wheel):
    pytest.importorskip("setuptools", minversion="70.1")
    assert write_wheel(["setuptools>=40"]) == ["mine-1-py3-none-any.whl"]


def test_a_build_that_cannot_get_its_requirements_names_them(write_wheel):
    with pytest.raises(PluginError) as failed:
        write_wheel(["setuptools>=999"])
    message = str(failed.value)
    assert message.startswith("no wheel of mine: its build needs setuptools>=999 (installed: ")
    assert message.endswith("which pip could not fetch; pip install 'setuptools>=999'")
    assert sys.executable not in message
