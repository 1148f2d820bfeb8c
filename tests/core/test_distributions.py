import importlib.metadata
import subprocess
import sys
import zipfile

import pytest

from mlops_core.use_cases import distributions
from mlops_core.use_cases.distributions import entry_points, load_object, version_of


def metadata_folder(parent, name, *, version="1.0", suffix=".dist-info", points=""):
    folder = parent / f"{name.replace('-', '_')}-{version}{suffix}"
    folder.mkdir(parents=True)
    (folder / ("METADATA" if suffix == ".dist-info" else "PKG-INFO")).write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: 9 is not a header\n"
    )
    (folder / "entry_points.txt").write_text(points)
    return folder


def by_importlib(group):
    return {
        (entry.name, entry.value, entry.dist.name, entry.dist.version)
        for entry in importlib.metadata.entry_points(group=group)
    }


def by_us(group):
    return {(entry.name, entry.value, entry.distribution, entry.version) for entry in entry_points(group)}


@pytest.mark.parametrize("group", ["mlops.usecases", "mlops.runners", "console_scripts", "pytest11", "no.such.group"])
def test_entry_points_of_this_environment_equal_those_of_importlib(group):
    assert by_us(group) == by_importlib(group)


def test_versions_of_this_environment_equal_those_of_importlib():
    names = {distribution.name for distribution in importlib.metadata.distributions()}
    assert {name: version_of(name) for name in names} == {name: importlib.metadata.version(name) for name in names}
    assert version_of("MLOPS.usecases") == version_of("mlops-usecases") is not None
    assert version_of("no-such-distribution") is None


@pytest.mark.parametrize("suffix", [".dist-info", ".egg-info"])
def test_folder_that_comes_first_shadows_a_later_one(tmp_path, monkeypatch, suffix):
    points = "# comment\n[other]\nA = a\n\n[mlops.usecases]\nX = first.plugin\nY=second:object [extra]\n"
    metadata_folder(tmp_path / "1", "some-plugin", version="2.0", suffix=suffix, points=points)
    metadata_folder(tmp_path / "2", "some-plugin", version="1.0", suffix=suffix, points="[mlops.usecases]\nZ = z\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "1"), str(tmp_path / "2"), str(tmp_path / "missing")])
    assert by_us("mlops.usecases") == by_importlib("mlops.usecases")
    assert by_us("mlops.usecases") == {
        ("X", "first.plugin", "some-plugin", "2.0"),
        ("Y", "second:object [extra]", "some-plugin", "2.0"),
    }
    assert version_of("some_plugin") == importlib.metadata.version("some_plugin") == "2.0"


def test_zip_file_on_the_path_is_left_to_importlib(tmp_path, monkeypatch):
    archive = tmp_path / "plugin.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("zipped-3.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 3\n")
        stream.writestr("zipped-3.dist-info/entry_points.txt", "[mlops.usecases]\nZIPPED = zipped\n")
    monkeypatch.setattr(sys, "path", [str(archive), *sys.path])
    assert ("ZIPPED", "zipped", "zipped", "3") in by_us("mlops.usecases")
    assert version_of("zipped") == "3"


def test_finder_of_another_package_is_asked(monkeypatch):
    class Finder:
        @staticmethod
        def find_spec(*_):
            return None

        @staticmethod
        def find_distributions(_context):
            return iter(())

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    assert distributions._needs_importlib()
    assert by_us("mlops.usecases") == by_importlib("mlops.usecases")


def test_value_of_an_entry_point_is_loaded():
    assert load_object("mlops_core.use_cases.distributions") is distributions
    assert load_object("mlops_core.use_cases.distributions:EntryPoint.__name__ [extra]") == "EntryPoint"
    with pytest.raises(ValueError, match="is not of the form module:attribute"):
        load_object("not a module")
    with pytest.raises(AttributeError):
        load_object("mlops_core.use_cases.distributions:missing")


def test_importlib_metadata_is_not_imported():
    code = (
        "import sys\nfrom mlops_core.use_cases.distributions import entry_points, version_of\n"
        "entry_points('mlops.usecases'), version_of('pytest')\n"
        "assert 'importlib.metadata' not in sys.modules and 'email' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
