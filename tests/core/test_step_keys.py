"""Keys: what counts, and only what counts."""

import pytest

from mlops_core import Step, step_keys
from mlops_core.errors import PluginError
from mlops_core.step_keys import code_digests, step_key


@pytest.fixture
def package(tmp_path, monkeypatch):
    name = f"pkg_{tmp_path.name}".replace("-", "_")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "steps.py").write_text("import os\nfrom . import helper\ndef f(context):\n    from .deep import g\n")
    (folder / "helper.py").write_text("X = 1\n")
    (folder / "deep.py").write_text("raise RuntimeError('never imported')\ndef g(): ...\n")
    (folder / "other.py").write_text("Y = 1\n")
    (folder / "README.md").write_text("text\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    step_keys._source_path.cache_clear()
    step_keys._package_root.cache_clear()


def key(package, **changes):
    fields = {"config": {"a": "1"}, "parameters": {"p": 1}, "inputs": {"i": "d"}, "seed": 0, **changes}
    return step_key(Step(name="s", run=f"{package.name}.steps:f", outputs=("o",), packages=("pluggy",)), **fields)


def test_code_is_followed_through_imports_without_being_imported(package):
    assert [name.partition(".")[2] for name in code_digests(f"{package.name}.steps")] == ["", "deep", "helper", "steps"]


@pytest.mark.parametrize(
    ("file", "counts"),
    [("helper.py", True), ("deep.py", True), ("steps.py", True), ("other.py", False), ("README.md", False)],
)
def test_a_changed_module_counts_if_the_step_imports_it(package, file, counts):
    before = key(package)
    (package / file).write_text((package / file).read_text() + "# changed\n")
    after = key(package)
    assert (after.digest != before.digest) is counts
    expected = (f"code {package.name}.{file[:-3]}",) if counts else ()
    assert after.changes_since(before.components) == expected


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"config": {"a": "2"}}, "config a"),
        ({"parameters": {"p": 2}}, "parameter p"),
        ({"inputs": {"i": "e"}}, "input i"),
        ({"seed": 1}, "seed"),
    ],
)
def test_each_component_counts_and_is_named(package, change, name):
    assert key(package, **change).changes_since(key(package).components) == (name,)


def test_a_step_without_source_is_refused():
    with pytest.raises(PluginError, match="no source that can be found"):
        code_digests("no_such_package.steps")
