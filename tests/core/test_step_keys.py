"""Keys: what counts, and only what counts."""

import pytest

from mlops_core import Step
from mlops_core.errors import PluginError
from mlops_core.steps import keys as step_keys
from mlops_core.steps.keys import Change, CodeIndex, step_key


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


def key(package, declared=None, **changes):
    fields = {"config": {"a": {"b": 1}}, "parameters": {"p": 1}, "inputs": {"i": "d"}, "seed": 0, **changes}
    step = Step(name="s", run=f"{package.name}.steps:f", outputs=("o",), packages=("pluggy",), **declared or {})
    return step_key(step, code=CodeIndex(), **fields)


def test_code_is_followed_through_imports_without_being_imported(package):
    assert [name.partition(".")[2] for name in CodeIndex().digests(f"{package.name}.steps")] == [
        "",
        "deep",
        "helper",
        "steps",
    ]


@pytest.mark.parametrize(
    ("file", "counts"),
    [("helper.py", True), ("deep.py", True), ("steps.py", True), ("other.py", False), ("README.md", False)],
)
def test_a_changed_module_counts_if_the_step_imports_it(package, file, counts):
    before = key(package)
    (package / file).write_text((package / file).read_text() + "# changed\n")
    after = key(package)
    assert (after.digest != before.digest) is counts
    expected = [f"code {package.name}.{file[:-3]}"] if counts else []
    assert [change.component for change in after.changes_since(before.components)] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"config": {"a": {"b": 2}}}, Change(component="config a.b", old="1", new="2")),
        ({"config": {"a": {"b": 1, "c": "x"}}}, Change(component="config a.c", old="", new='"x"')),
        ({"parameters": {"p": 2}}, Change(component="parameter p", old="1", new="2")),
        ({"inputs": {"i": "e"}}, Change(component="input i", old="d", new="e")),
        ({"seed": 1}, Change(component="seed", old="0", new="1")),
    ],
)
def test_each_component_counts_and_is_named_with_its_values(package, change, expected):
    assert key(package, **change).changes_since(key(package).components) == (expected,)


def test_a_change_is_shown_with_short_digests():
    change = Change(component="code a.b", old="ab" * 32, new="cd" * 32)
    assert str(change) == "code a.b: abababababab -> cdcdcdcdcdcd"
    assert str(Change(component="config a.b", old="", new="3")) == "config a.b: nothing -> 3"


def test_the_number_of_shards_does_not_count_and_the_merge_does(package):
    (package / "join.py").write_text("def join(context): ...\n")
    assert key(package, declared={"shards": 4}).digest == key(package).digest
    names = [
        change.component
        for change in key(package, declared={"merge": f"{package.name}.join:join"}).changes_since(
            key(package).components
        )
    ]
    assert names == [f"code {package.name}.join", "merge"]


def test_a_step_without_source_is_refused():
    with pytest.raises(PluginError, match="no source that can be found"):
        CodeIndex().digests("no_such_package.steps")
