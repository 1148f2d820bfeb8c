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


@pytest.mark.parametrize(
    "text",
    [
        "from importlib import import_module as load\ndef f(kind):\n    return load('.' + kind, __package__)\n",
        "from functools import partial\nfrom importlib import import_module\nload = partial(import_module)\n",
        "import importlib\nload = importlib.import_module\n",
        "import importlib\nimportlib.import_module('.other', '{name}')\n",
        "__import__('{name}', fromlist=['other'])\n",
        "__import__('{name}', globals(), locals(), ['other'], 0)\n",
        "__import__('other', globals(), locals(), [], 1)\n",
        "import pkgutil\ndef f(name):\n    return pkgutil.resolve_name(name)\n",
        "import runpy, pathlib\nrunpy.run_path(str(pathlib.Path(__file__).with_name('other.py')))\n",
        "from importlib.util import spec_from_file_location\nspec = spec_from_file_location('x', '/x')\n",
        "import pathlib\nexec(pathlib.Path(__file__).with_name('other.py').read_text())\n",
        "import subprocess, sys\nsubprocess.run([sys.executable, __file__.replace('helper', 'other')])\n",
        "import subprocess\nsubprocess.run(['python', '-m', '{name}.other'])\n",
        "import sys, os\nsys.path.insert(0, os.path.dirname(__file__))\nimport other\n",
    ],
)
def test_code_that_is_found_in_another_way_than_by_an_import_counts(package, text):
    (package / "helper.py").write_text(text.format(name=package.name))
    assert changed_code(package, package / "other.py") == [f"code {package.name}.other"]


@pytest.mark.parametrize(
    "text",
    [
        "import importlib\ndef f(kind):\n    return importlib.import_module(f'{name}.{{kind}}')\n",
        "import importlib\ndef f(kind):\n    return importlib.import_module('{name}.%s' % kind)\n",
        "import importlib\ndef f(kind):\n    return importlib.import_module('.' + kind, '{name}')\n",
        "import importlib\nKINDS = dict(a='{name}.inner')\ndef f(k):\n    return importlib.import_module(KINDS[k])\n",
    ],
)
def test_a_computed_import_covers_the_other_package_that_it_names(package, install, text):
    second = name_for(package, "second")
    install(f"{second}/__init__.py", "")
    path = install(f"{second}/inner.py", "")
    (package / "helper.py").write_text(text.format(name=second))
    assert changed_code(package, path) == [f"code {second}.inner"]


def test_what_an_import_of_everything_imports_counts(package):
    (package / "inner").mkdir()
    (package / "inner" / "__init__.py").write_text("__all__ = ['part']\n")
    (package / "inner" / "part.py").write_text("")
    (package / "helper.py").write_text("from .inner import *\n")
    assert changed_code(package, package / "inner" / "part.py") == [f"code {package.name}.inner.part"]


def test_compiled_code_counts_before_the_source_beside_it_and_imports_what_that_imports(package):
    (package / "helper.py").write_text("from . import other\n")
    compiled = package / f"helper{EXTENSION_SUFFIXES[0]}"
    compiled.write_text("machine code")
    assert changed_code(package, compiled) == [f"code {package.name}.helper"]
    assert changed_code(package, package / "other.py") == [f"code {package.name}.other"]


def test_compiled_packages_count(package):
    (package / "inner").mkdir()
    compiled = package / "inner" / f"__init__{EXTENSION_SUFFIXES[0]}"
    compiled.write_text("machine code")
    (package / "helper.py").write_text("from . import inner\n")
    assert changed_code(package, compiled) == [f"code {package.name}.inner"]


@pytest.mark.parametrize(
    "text",
    [
        "from importlib import metadata, resources\nX = resources.files(__package__)\n",
        "from importlib import (\n    metadata,\n    resources,\n)\nX = resources.files(__package__)\n",
        "import pkg_resources\nX = pkg_resources.resource_string(__name__, 'classes.json')\n",
        "import inspect\nX = inspect.getfile(lambda: 0)\n",
        "X = __spec__.origin\n",
    ],
)
def test_every_way_to_find_the_own_place_makes_the_other_files_count(package, text):
    path = package / "classes.json"
    path.write_text("{}")
    (package / "helper.py").write_text(text)
    assert changed_code(package, path) == [f"code {package.name}/classes.json"]


@pytest.mark.parametrize(
    "text",
    [
        "import {name}, pathlib\nX = pathlib.Path({name}.__file__).with_name('classes.json').read_text()\n",
        "from importlib.resources import files\nX = files('{name}').joinpath('classes.json').read_text()\n",
        "import pkgutil\nX = pkgutil.get_data('{name}', 'classes.json')\n",
    ],
)
def test_a_file_that_a_module_reads_from_another_package_counts(package, install, text):
    second = name_for(package, "second")
    install(f"{second}/__init__.py", "")
    path = install(f"{second}/classes.json", "{}")
    (package / "helper.py").write_text(text.format(name=second))
    assert changed_code(package, path) == [f"code {second}/classes.json"]


@pytest.mark.parametrize("inner", ["classes.json", "tables/classes.json"])
def test_a_file_that_a_single_module_reads_beside_itself_counts(package, install, inner):
    name = name_for(package, "single")
    folder = "" if inner == "classes.json" else " / 'tables'"
    install(f"{name}.py", f"import pathlib\nX = (pathlib.Path(__file__).parent{folder} / 'classes.json').read_text()\n")
    path = install(inner, "{}")
    (package / "helper.py").write_text(f"import {name}\n")
    assert changed_code(package, path) == [f"code {name}/{inner}"]


def test_a_named_file_above_the_package_counts(package, install):
    path = install("tables/classes.json", "{}")
    (package / "helper.py").write_text(
        "import pathlib\nX = (pathlib.Path(__file__).parent.parent / 'tables' / 'classes.json').read_text()\n"
    )
    assert changed_code(package, path) == [f"code {package.name}/../tables/classes.json"]


def test_a_linked_folder_of_the_package_counts_and_a_circle_of_links_ends(package, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "classes.json"
    path.write_text("{}")
    (package / "data").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(package)
    (package / "helper.py").write_text("X = __file__\n")
    assert changed_code(package, path) == [f"code {package.name}/data/classes.json"]


@pytest.mark.parametrize("name", ["license_plates.txt", "readme_labels.json", "CHANGELOG.tflite", "licences"])
def test_a_file_counts_unless_its_whole_name_is_that_of_a_text_for_people(package, name):
    (package / name).write_text("1")
    (package / "helper.py").write_text("X = __file__\n")
    assert changed_code(package, package / name) == [f"code {package.name}/{name}"]


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
