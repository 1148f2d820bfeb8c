"""What the documentation says is what the code does."""

import importlib.util
import re
from pathlib import Path

import pytest

import mlops_core
from mlops_core import hookspecs
from mlops_core.manager import REQUIRED_HOOKS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
HOOKS = [name for name in vars(hookspecs) if name.startswith("mlops_")]


def test_the_page_of_hooks_is_the_specifications():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "hooks.md").read_text() == module.hooks_page(), "run: make docs"
    assert (DOCS / "cli.md").read_text() == module.cli_page(), "run: make docs"


@pytest.mark.parametrize("name", HOOKS)
def test_each_hook_says_when_it_is_called_and_what_it_returns(name):
    hook = getattr(hookspecs, name)
    for word in (
        "Called ",
        ":returns:",
        ":param context:",
        "Since 0.",
        "Required." if name in REQUIRED_HOOKS else "Optional:",
    ):
        assert word in hook.__doc__
    arguments = hook.__code__.co_varnames[: hook.__code__.co_argcount]
    assert len(arguments) <= 3
    assert arguments[-1] == "context"
    for argument in arguments:
        assert f":param {argument}:" in hook.__doc__


def test_the_tutorial_is_a_whole_plugin_that_runs(tmp_path, monkeypatch):
    blocks = re.findall(r"```(?:python|toml|yaml) title=(\S+)\n(.*?)```", (DOCS / "plugins.md").read_text(), re.DOTALL)
    folder = tmp_path / "words"
    for name, text in blocks:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    info = folder / "mlops_words-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlops-words\nVersion: 0.1.0\n")
    entry = re.search(r'\[project.entry-points."mlops.usecases"\]\n(.*)\n', dict(blocks)["pyproject.toml"])[1]
    (info / "entry_points.txt").write_text(f"[mlops.usecases]\n{entry.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    record = mlops_core.run("WORDS", workspace=tmp_path / "w")
    assert (record.status, record.error, record.model_version) == ("accepted", "", 1)


def test_no_page_links_to_what_does_not_exist():
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("plugins/*/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_public_name_is_documented():
    for name in mlops_core.__all__:
        thing = getattr(mlops_core, name)
        if callable(thing):
            assert thing.__doc__, name


def test_constraints_are_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.+!-]+", line), line
