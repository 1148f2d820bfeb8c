"""What commands import: a budget of module names, which says the same on every machine, unlike a time."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_core import ConfigError, run
from mlops_core.processes.pool import ProcessPool
from mlops_core.runners.local.plugin import LocalRunnerPlugin

HEAVY = (
    "asyncio",
    "importlib.metadata",
    "email",
    "http",
    "logging",
    "multiprocessing",
    "numpy",
    "obstore",
    "pluggy",
    "pydantic",
    "rich",
    "sqlite3",
    "ssl",
    "subprocess",
    "traceback",
    "yaml",
)
"""Modules that no command needs to start."""
MAIN = """\
import json, sys
from mlops_core.cli import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=open(sys.argv[0], "w"))
"""


def imported(tmp_path, *arguments):
    """Return the names of the modules that a command has imported at its end, from a process of its own."""
    report = tmp_path / "modules.json"
    code = f"import sys; sys.argv = [{str(report)!r}, *sys.argv[1:]]\n{MAIN}"
    command = [sys.executable, "-c", code, *arguments]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=environ)
    return set(json.loads(report.read_text()))


def heavy(modules, *, besides=()):
    return {name for name in HEAVY if name in modules} - set(besides)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_no_heavy_module(tmp_path, arguments):
    modules = imported(tmp_path, *arguments)
    allowed = {"importlib.metadata", "email"} if arguments == ["--version"] else set()  # click asks for the version
    assert heavy(modules, besides=allowed) == set()
    assert not {name for name in modules if name.startswith(("mlops_core.workspace", "mlops_core.steps"))}


def test_list_imports_a_handful_of_our_modules_and_no_plugin(tmp_path):
    modules = imported(tmp_path, "list")
    assert heavy(modules) == set()
    plugins = {path.parent.name for path in (Path(__file__).parents[2] / "plugins").glob("*/mlops_*/__init__.py")}
    assert not plugins & modules
    assert {name for name in modules if name.startswith("mlops_core")} <= {
        "mlops_core",
        "mlops_core.cli",
        "mlops_core.cli.options",
        "mlops_core.cli.output",
        "mlops_core.cli.runner_options",
        "mlops_core.cli.streams",
        "mlops_core.cli.use_case",
        "mlops_core.cli.use_case.list",
        "mlops_core.installed",
        "mlops_core.installed.distributions",
        "mlops_core.installed.plugins",
        "mlops_core.errors",
        "mlops_core.control_characters",
        "mlops_core.names",
        "mlops_core.quantities",
        "mlops_core.use_cases",
        "mlops_core.use_cases.discovery",
    }


def test_run_in_which_nothing_has_changed_imports_neither_plugin_nor_pydantic(tmp_path, toy):
    run = ("--workspace", str(tmp_path / "ws"), "run", "--usecase", "TOY")
    imported(tmp_path, *run)
    assert {"mlops_toy.plugin", "pydantic"} <= imported(tmp_path, *run)  # the first one with a workspace keeps it
    modules = imported(tmp_path, *run)
    assert heavy(modules, besides={"logging", "sqlite3", "subprocess", "traceback"}) == set()
    assert not {name for name in modules if name.startswith("mlops_toy")}


def test_runner_starts_before_a_changed_use_case_is_imported(toy, workspace, monkeypatch, core_may_change):
    begun = []

    @contextlib.contextmanager
    def start_early(self):
        begun.append("mlops_toy.plugin" in sys.modules)
        yield
        begun.append("ended")

    monkeypatch.setattr(LocalRunnerPlugin, "start_early", start_early)
    # The toy plugin may have been imported by another test of this process.
    monkeypatch.delitem(sys.modules, "mlops_toy.plugin", raising=False)
    run("TOY", workspace=workspace)
    assert begun == [False, "ended"]


def test_refused_run_ends_what_was_started_early(toy, workspace, monkeypatch, core_may_change):
    started = []
    start = ProcessPool.start
    monkeypatch.setattr(ProcessPool, "start", lambda self: (start(self), started.append(self)))
    with pytest.raises(ConfigError):
        run("TOY", overrides=["features.no_such_key=1"], workspace=workspace)
    (pool,) = started
    assert pool.wait(10) == 0
    assert not workspace.exists()
