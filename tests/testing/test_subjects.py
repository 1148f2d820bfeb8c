"""The use cases that a check finds in a folder."""

import sys

from mlops_core.testing.use_cases.subjects import subjects


def project(folder, *, distribution):
    """Write a project whose package is `mlops_twins`, and which announces the use case `TWINS`."""
    (folder / "mlops_twins").mkdir(parents=True)
    (folder / "mlops_twins" / "__init__.py").write_text("")
    (folder / "mlops_twins" / "plugin.py").write_text(f'ORIGIN = "{folder.name}"\n')
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{distribution}"\nversion = "1"\n'
        '[project.entry-points."mlops.usecases"]\nTWINS = "mlops_twins.plugin"\n'
    )
    return folder


def origin(folder):
    """Return the folder that the package comes from while `folder` is checked."""
    with subjects(str(folder)) as (subject,):
        assert subject.installed.name == "TWINS"
        return __import__("mlops_twins.plugin").plugin.ORIGIN


def test_each_of_two_folders_with_one_package_is_checked_with_its_own_code(tmp_path, monkeypatch):
    first, second = (project(tmp_path / name, distribution=f"mlops-{name}") for name in ("first", "second"))
    monkeypatch.syspath_prepend(str(first))
    imported = __import__("mlops_twins.plugin").plugin
    assert origin(second) == "second"
    assert sys.modules["mlops_twins.plugin"] is imported
    assert origin(first) == "first"


def test_a_folder_is_checked_and_not_another_installation_of_its_distribution(tmp_path, monkeypatch):
    installed = project(tmp_path / "installed", distribution="mlops-twins")
    info = installed / "mlops_twins-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlops-twins\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mlops.usecases]\nTWINS = mlops_twins.plugin\n")
    monkeypatch.syspath_prepend(str(installed))
    assert origin(project(tmp_path / "changed", distribution="mlops-twins")) == "changed"
