"""What the documentation says is what the code does."""

import contextlib
import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import mlops_core
from mlops_core import hookspecs
from mlops_core.cli import cli
from mlops_core.testing import ContractSession, all_checks
from mlops_core.testing.use_cases.declaration import capability_flags
from mlops_core.testing.use_cases.subjects import subjects
from mlops_core.use_cases.registration import REQUIRED_HOOKS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
HOOKS = [name for name in vars(hookspecs) if name.startswith("mlops_")]


def test_the_pages_of_hooks_and_commands_are_what_the_code_says(tmp_path):
    """In a process of its own: click keeps the help option that a command was first called with."""
    code = (
        "import runpy, pathlib, sys\n"
        "names = runpy.run_path(sys.argv[1])\n"
        "for page in ('hooks', 'cli'):\n"
        "    (pathlib.Path(sys.argv[2]) / f'{page}.md').write_text(names[f'{page}_page']())\n"
    )
    subprocess.run([sys.executable, "-c", code, str(DOCS / "generate.py"), str(tmp_path)], check=True)
    for page in ("hooks.md", "cli.md"):
        assert (DOCS / page).read_text() == (tmp_path / page).read_text(), "run: make docs"


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


def _tutorial(folder):
    """Write the files of the tutorial into `folder`."""
    blocks = re.findall(r"```(?:python|toml|yaml) title=(\S+)\n(.*?)```", (DOCS / "plugins.md").read_text(), re.DOTALL)
    for name, text in blocks:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_the_tutorial_is_a_whole_plugin_that_runs(tmp_path):
    _tutorial(tmp_path / "words")
    with subjects(str(tmp_path / "words")):
        record = mlops_core.run("WORDS", workspace=tmp_path / "w")
    assert (record.status, record.error, record.model_version) == ("accepted", "", 1)


def test_the_tutorial_adds_an_output_to_predict(tmp_path, capsys):
    _tutorial(tmp_path / "words")
    line = re.search(r"`(from mlops_words\.lengths import \w+)`", (DOCS / "plugins.md").read_text())[1]
    plugin = tmp_path / "words" / "mlops_words" / "plugin.py"
    plugin.write_text(f"{plugin.read_text()}\n{line}\n")
    words = [tmp_path / f"{word}.txt" for word in ("tea", "sandwich")]
    for word in words:
        word.touch()
    with subjects(str(tmp_path / "words")):
        mlops_core.run("WORDS", workspace=tmp_path / "w")
        capsys.readouterr()
        command = ["--workspace", str(tmp_path / "w"), "predict", "-u", "WORDS", "--lengths", "table"]
        cli.main([*command, "--least", "4", *map(str, words)], standalone_mode=False)
        assert capsys.readouterr().out == "   8  sandwich\n"
        cli.main([*command, "--json", *map(str, words)], standalone_mode=False)
        assert json.loads(capsys.readouterr().out) == {"tea": 3, "sandwich": 8}


def test_the_examples_for_larger_use_cases_run(tmp_path):
    """The functions of the sharded step give the same for one, two and three shards."""
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "plugins.md").read_text(), re.DOTALL):
        exec(block, names)
    assert names["mlops_get_sample_preview"]("word", tmp_path, None).kind == "text"

    @dataclasses.dataclass
    class Context:
        shard: mlops_core.Shard
        folder: Path

        def input(self, name):
            return tmp_path / name

        def output(self, name):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            return self.folder / name

        def parts(self, name):
            return [folder / name for folder in sorted(self.folder.parent.glob("part*"))]

    (tmp_path / "data").mkdir()
    for number in range(5):
        (tmp_path / "data" / f"{number}.txt").write_text("x" * number)
    merged = set()
    for count in (1, 2, 3):
        folder = tmp_path / str(count)
        for index in range(count):
            names["measure"](Context(mlops_core.Shard(index=index, count=count), folder / f"part{index}"))
        whole = Context(mlops_core.Shard(), folder / "whole")
        names["merge"](whole)
        merged.add((whole.output("sizes") / "sizes.csv").read_text())
    assert merged == {"0,0\n1,1\n2,2\n3,3\n4,4\n"}


@pytest.mark.slow_suite
@pytest.mark.slow
def test_the_tutorial_keeps_the_contract(tmp_path, contract_processes):
    _tutorial(tmp_path / "words")
    with subjects(str(tmp_path / "words")) as (subject,):
        session = ContractSession(subject.declaration, processes=contract_processes, folder=tmp_path / "session")
        session.folder.mkdir()
        found = {outcome.check: outcome.violations for outcome in session.outcomes() if not outcome.is_good}
    assert found == {}


@pytest.mark.slow
def test_the_first_commands_of_the_tutorial_lead_to_a_registered_model(tmp_path):
    """Installing is left out: the folder is put on the search path instead."""
    block = re.search(r"```console\n(.*?)```", (DOCS / "plugins.md").read_text(), re.DOTALL)[1]
    lines = [shlex.split(line) for line in block.splitlines()]
    assert [line[0] for line in lines] == ["mlops", "pip", "mlops", "mlops", "mlops"]

    def mlops(line):
        code = "from mlops_core.cli import main; main()"
        command = [sys.executable, "-c", code, *line[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    mlops(lines[0])
    folder = tmp_path / lines[1][-1].removesuffix("[test]")
    with subjects(str(folder)):
        assert "model BIRD_CALLS version 1, PendingManualApproval" in mlops(lines[2])
        assert "BIRD_CALLS" in mlops(lines[3])
        assert "failed" not in mlops(lines[4])


def test_the_page_of_the_contract_lists_every_check_with_its_rule():
    page = (DOCS / "contract_tests.md").read_text()
    for check in all_checks().values():
        assert f"| `{check.name}` | {check.rule} |" in page


def test_the_page_of_the_contract_lists_every_capability():
    page = (DOCS / "contract_tests.md").read_text()
    for name in (*capability_flags(), "expected_failures"):
        assert f"`{name}`" in page or f"{name} =" in page


def test_no_page_links_to_what_does_not_exist():
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("plugins/*/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _command_lines():
    for page in [ROOT / "README.md", *DOCS.glob("*.md"), *ROOT.glob("plugins/*/README.md")]:
        for block in re.findall(r"```(?:console|sh|bash)?\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(r"mlops [a-z]", line):
                    yield pytest.param(line, id=f"{page.name}: {line}")


@pytest.mark.parametrize("line", [*_command_lines()])
def test_a_command_in_the_documentation_exists_with_its_options(line, tmp_path):
    """Names of files and runs need not exist, so the meaning of a value is not checked."""
    arguments = shlex.split(line.split("|")[0], comments=True)[1:]
    command, parent = cli, click.Context(cli, obj={"workspace": tmp_path}, **cli.context_settings)
    while isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(parent, arguments)
        parent = click.Context(command, info_name=name, parent=parent)
    reason = ""
    try:
        with contextlib.suppress(click.BadParameter):
            command.make_context(command.name, arguments, parent=parent)
    except mlops_core.UsageError as error:
        reason = str(error)
    assert reason.startswith("no run") or not reason


def test_every_public_name_is_documented():
    for name in mlops_core.__all__:
        thing = getattr(mlops_core, name)
        if callable(thing):
            assert thing.__doc__, name


def test_constraints_are_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.+!-]+", line), line
