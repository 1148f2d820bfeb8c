"""Keys: what counts, and only what counts."""

from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from mlops_core import Step
from mlops_core.errors import PluginError
from mlops_core.steps.keys import Change, step_key
from mlops_core.steps.source_code import CodeIndex


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
    return folder


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
    "text",
    [
        "from pathlib import Path\nX = (Path(__file__).parent / 'data' / 'classes.json').read_text()\n",
        "from importlib.resources import files\nX = files(__package__).joinpath('data/classes.json').read_text()\n",
        "import pkgutil\nX = pkgutil.get_data(__package__, 'data/classes.json')\n",
    ],
)
def test_a_file_that_a_module_reads_from_its_package_counts(package, text):
    (package / "data").mkdir()
    (package / "data" / "classes.json").write_text("1")
    alone = key(package)
    (package / "data" / "classes.json").write_text("2")
    assert key(package).digest == alone.digest  # no module of the step looks beside itself
    (package / "deep.py").write_text(text)
    before = key(package)
    (package / "data" / "classes.json").write_text("3")
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "deep.cpython-311.pyc").write_bytes(b"x")
    expected = [f"code {package.name}/data/classes.json"]
    assert [change.component for change in key(package).changes_since(before.components)] == expected


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


# --- Code beside the step's own package -------------------------------------------------------------------


@pytest.fixture
def install(package, tmp_path):
    """Put a module or package beside the step's; with a distribution's name, as an installer does."""

    def put(name, text, distribution=""):
        path = package.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if distribution:
            folder = package.parent / f"{distribution}-1.0.dist-info"
            folder.mkdir(exist_ok=True)
            (folder / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.0\n")
            with (folder / "RECORD").open("a") as stream:
                stream.write(f"{name},sha256=x,1\n")
        return path

    return put


def changed_code(package, path, **arguments):
    before = key(package, **arguments)
    path.write_text(path.read_text() + "# changed\n")
    return [change.component for change in key(package, **arguments).changes_since(before.components)]


def name_for(package, suffix):
    return f"{package.name}_{suffix}"


def test_a_package_beside_the_plugin_counts_and_what_it_imports(package, install):
    second, third = name_for(package, "second"), name_for(package, "third")
    (package / "helper.py").write_text(f"from {second}.inner import x\n")
    install(f"{second}/__init__.py", "")
    install(f"{second}/inner.py", f"import {third}\n")
    deepest = install(f"{third}.py", "Y = 1\n")
    assert changed_code(package, deepest) == [f"code {third}"]


def test_an_installed_distribution_does_not_count_by_its_content(package, install):
    library = name_for(package, "library")
    (package / "helper.py").write_text(f"import {library}\n")
    path = install(f"{library}/__init__.py", "", distribution="a-library")
    assert changed_code(package, path) == []


def test_an_editable_installation_counts(package, install):
    library = name_for(package, "editable")
    (package / "helper.py").write_text(f"import {library}\n")
    install("__editable__.a_library-1.0.pth", "/somewhere\n", distribution="a-library")
    path = install(f"{library}/__init__.py", "")
    assert changed_code(package, path) == [f"code {library}"]


def test_the_second_package_of_the_steps_own_distribution_counts(package, install):
    second = name_for(package, "second")
    (package / "helper.py").write_text(f"import {second}\n")
    install(f"{package.name}/steps.py", (package / "steps.py").read_text(), distribution="a-plugin")
    path = install(f"{second}/__init__.py", "", distribution="a-plugin")
    assert changed_code(package, path) == [f"code {second}"]


def test_both_parts_of_a_namespace_package_count(package, install, tmp_path, monkeypatch):
    space = name_for(package, "space")
    install(f"{space}/one.py", "")
    other = tmp_path / "other"
    (other / space).mkdir(parents=True)
    (other / space / "two.py").write_text("")
    monkeypatch.syspath_prepend(str(other))
    (package / "helper.py").write_text(f"from {space} import one, two\n")
    assert changed_code(package, package.parent / space / "one.py") == [f"code {space}.one"]
    assert changed_code(package, other / space / "two.py") == [f"code {space}.two"]


def test_compiled_code_beside_the_plugin_counts(package, install):
    name = name_for(package, "native")
    path = install(f"{name}{EXTENSION_SUFFIXES[0]}", "machine code")
    (package / "helper.py").write_text(f"import {name}\n")
    assert changed_code(package, path) == [f"code {name}"]


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("import importlib\nimportlib.import_module('{name}.other')\n", "other.py"),
        ("from importlib import import_module\nimport_module('.other', __package__)\n", "other.py"),
        ("import importlib\ndef f(kind):\n    return importlib.import_module(f'{name}.{{kind}}')\n", "other.py"),
    ],
)
def test_imports_by_name_count_and_computed_ones_cover_the_package(package, text, file):
    (package / "helper.py").write_text(text.format(name=package.name))
    assert changed_code(package, package / file) == [f"code {package.name}.other"]


def test_a_function_that_the_configuration_names_counts(package, install):
    name = name_for(package, "custom")
    path = install(f"{name}.py", "def build(): ...\n")
    config = {"a": {"model": [{"code": f"{name}:build"}], "b": "http://x:y", "c": "no.such:thing", "d": "json:loads"}}
    assert changed_code(package, path, config=config) == [f"code {name}"]


def test_a_module_that_appears_during_a_session_counts(package):
    before = key(package)
    (package / "helper.py").unlink()
    (package / "helper").mkdir()
    (package / "helper" / "__init__.py").write_text("X = 2\n")
    assert [change.component for change in key(package).changes_since(before.components)] == [
        f"code {package.name}.helper"
    ]


def test_code_that_cannot_be_parsed_counts_by_its_content(package):
    (package / "helper.py").write_text("def broken(:\n")
    assert f"code {package.name}.helper" in key(package).components
