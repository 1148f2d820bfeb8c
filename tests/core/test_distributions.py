import importlib.metadata
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mlops_core
from mlops_core.installed import distributions
from mlops_core.installed.distributions import entry_points, load_object, version_of


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
    assert load_object("mlops_core.installed.distributions") is distributions
    assert load_object("mlops_core.installed.distributions:EntryPoint.__name__ [extra]") == "EntryPoint"
    with pytest.raises(ValueError, match="is not of the form module:attribute"):
        load_object("not a module")
    with pytest.raises(AttributeError):
        load_object("mlops_core.installed.distributions:missing")


def test_importlib_metadata_is_not_imported():
    code = (
        "import sys\nfrom mlops_core.installed.distributions import entry_points, version_of\n"
        "entry_points('mlops.usecases'), version_of('pytest')\n"
        "assert 'importlib.metadata' not in sys.modules and 'email' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def provider(parent, name, *, has_package=True, package="mlops_core"):
    """Write a distribution that provides a package."""
    folder = metadata_folder(parent, name)
    (folder / "RECORD").write_text(f"{package}/__init__.py,,\n{folder.name}/RECORD,,\n")
    if has_package:
        (parent / package).mkdir()
        (parent / package / "__init__.py").write_text("")
    return folder


@pytest.mark.parametrize("name", ["mlops-core", "mlops", "something-else"])
def test_another_distribution_with_the_package_of_core_is_found(tmp_path, monkeypatch, name):
    own = str(Path(mlops_core.__file__).parent)
    assert distributions.other_providers(own, of="mlops-usecases") == ()
    provider(tmp_path / "site", name)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert distributions.other_providers(own, of="mlops-usecases") == (name,)


def test_a_copy_of_this_project_and_other_packages_are_no_other_providers(tmp_path, monkeypatch):
    provider(tmp_path / "1", "mlops-usecases")
    provider(tmp_path / "2", "mlops-birds", package="mlops_birds")
    monkeypatch.syspath_prepend(str(tmp_path / "1"))
    monkeypatch.syspath_prepend(str(tmp_path / "2"))
    assert distributions.other_providers(str(Path(mlops_core.__file__).parent), of="mlops-usecases") == ()


def test_a_command_warns_of_another_distribution_and_goes_on(tmp_path):
    provider(tmp_path / "site", "mlops-core", has_package=False)
    code = "import sys; sys.argv[1:] = ['list']; from mlops_core.cli import main; main()"
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    assert done.stderr == (
        "mlops: warning: the distribution mlops-core provides mlops_core, too, which is the import name of "
        "mlops-usecases; uninstall it: pip uninstall mlops-core\n"
    )


BROKEN = {
    "not UTF-8": (b"[mlops.usecases]\nA = a\xff\n", "cannot be read: it is not UTF-8"),
    "merge conflict": (b"[mlops.usecases]\n<<<<<<< HEAD\nB = b.plugin\n", "has the entry '<<<<<<< HEAD'"),
    "no value": (b"[mlops.usecases]\nA =\n", "has the entry 'A ='"),
    "no name": (b"[mlops.usecases]\n= a\n", "has the entry '= a'"),
    "not a module": (b"[mlops.usecases]\nA = ../../a b\n", "has the entry 'A = ../../a b'"),
    "binary": (b"[mlops.usecases]\n\0\1\2 = a\n", "has the entry"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("with_zip", [False, True], ids=["folders", "importlib"])
def test_a_broken_list_of_entry_points_is_named_and_hides_no_other(tmp_path, monkeypatch, kind, with_zip):
    content, message = BROKEN[kind]
    folder = metadata_folder(tmp_path / "1", "broken-plugin")
    (folder / "entry_points.txt").write_bytes(content)
    metadata_folder(tmp_path / "1", "whole-plugin", points="[mlops.usecases]\nWHOLE = whole.plugin\n")
    paths = [str(tmp_path / "1")]
    if with_zip:
        zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
        paths.append(str(tmp_path / "empty.zip"))
    monkeypatch.setattr(sys, "path", paths)
    assert ("WHOLE", "whole.plugin", "whole-plugin", "1.0") in by_us("mlops.usecases")
    (fault,) = distributions.broken_entry_points("mlops.usecases")
    assert f"{folder}/entry_points.txt {message}" in fault
    assert distributions.broken_entry_points("another.group") == ((fault,) if kind == "not UTF-8" else ())


def test_a_pipe_or_a_folder_in_place_of_metadata_is_named_and_does_not_block(tmp_path, monkeypatch):
    for number, make in enumerate((os.mkfifo, os.mkdir)):
        folder = metadata_folder(tmp_path / "1", f"broken{number}")
        for name in ("entry_points.txt", "METADATA"):
            (folder / name).unlink()
            make(folder / name)
    metadata_folder(tmp_path / "1", "whole-plugin", points="[mlops.usecases]\nWHOLE = whole.plugin\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "1")])
    assert by_us("mlops.usecases") == {("WHOLE", "whole.plugin", "whole-plugin", "1.0")}
    faults = sorted(distributions.broken_entry_points("mlops.usecases"))
    assert [fault.partition("cannot be read: ")[2] for fault in faults] == ["it is not a regular file"] * 2


def test_mlops_list_shows_the_rest_and_names_the_broken_distribution(tmp_path):
    folder = metadata_folder(tmp_path, "broken-plugin", points="[mlops.usecases]\n>>>>>>> theirs\n")
    metadata_folder(tmp_path, "whole-plugin", points="[mlops.usecases]\nWHOLE = whole.plugin\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "WHOLE" in done.stdout
    assert f"{folder.name}/entry_points.txt has the entry '>>>>>>> theirs'" in done.stderr
