"""Runners as plugins: discovery, the toy engine of docs/runners.md, and broken plugins."""

import subprocess
import sys
from pathlib import Path

import pytest

import mlops_core
from mlops_core.errors import ExitCode, PluginError, UsageError
from mlops_core.runners import Ability
from mlops_core.runners.discovery import command_groups, discover_runners, find_runner, load_runner, runners_that

TOY_RUNNER = Path(__file__).parents[1] / "toy_runner"
MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]


@pytest.fixture
def sequential(toy, monkeypatch):
    """The engine ``sequential`` is installed, here and in the processes that are started."""
    import os

    monkeypatch.syspath_prepend(str(TOY_RUNNER))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(TOY_RUNNER), os.environ["PYTHONPATH"])))
    return "sequential"


def install(monkeypatch, folder, entry_points, **modules):
    """Make a distribution with entry points and modules in `folder`."""
    info = folder / "mlops_other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlops-other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


def mlops(*arguments):
    return subprocess.run([*MLOPS, *arguments], capture_output=True, text=True, check=False)


def test_toy_engine_is_discovered_without_being_imported(sequential):
    assert find_runner("Sequential").distribution == "mlops-sequential"
    assert "sequential" in [runner.name for runner in discover_runners()]
    assert discover_runners()[0].name == "local"


def test_toy_engine_gives_the_result_of_the_local_runner(sequential, workspace):
    ours = mlops_core.run("TOY", workspace=workspace, runner=sequential)
    local = mlops_core.run("TOY", workspace=workspace / "other")
    assert (ours.status, ours.runner, ours.model_version) == ("accepted", "sequential", 1)
    assert [step.outputs for step in ours.steps] == [step.outputs for step in local.steps]
    assert ours.verdict == local.verdict


@pytest.mark.slow_suite
def test_toy_engine_rejects_fails_and_reports_like_the_local_runner(sequential, workspace):
    rejected = mlops_core.run(
        "TOY", workspace=workspace, runner=sequential, overrides=["training.bias=100"], parameters={"q_acc": "0.9"}
    )
    assert (rejected.status, rejected.exit_code, rejected.model_version) == ("rejected", ExitCode.REJECTED, None)
    failed = mlops_core.run("TOY", workspace=workspace, runner=sequential, overrides=["training.behaviour=raise"])
    assert (failed.status, failed.exit_code) == ("failed", ExitCode.STEP)
    assert failed.error.startswith("step 'train' failed: ZeroDivisionError: division by zero")
    assert (workspace / "runs" / failed.run_id / "logs" / "train.log").is_file()


def test_options_of_an_engine_are_shown_only_with_that_runner(sequential):
    plain, chosen = mlops("run", "--help"), mlops("run", "--runner", sequential, "--help")
    assert "--pause" not in plain.stdout
    assert "Options of the runner 'sequential':" in chosen.stdout
    assert "--pause" in chosen.stdout.partition("Options of the runner")[2]


def test_option_of_an_engine_without_its_runner_names_the_runner(sequential):
    done = mlops("run", "-u", "TOY", "--pause", "1")
    assert done.returncode == ExitCode.USAGE
    assert "--pause is an option of the runner 'sequential'; add --runner sequential" in done.stderr


def test_option_of_an_engine_reaches_it(sequential, workspace):
    done = mlops("--workspace", str(workspace), "run", "-u", "TOY", "--runner", sequential, "--pause", "0.01")
    assert done.returncode == 0, done.stderr
    assert mlops_core.open_run(workspace=workspace).runner == sequential


def test_runner_that_is_not_installed_is_suggested_by_its_name():
    with pytest.raises(
        UsageError, match="no runner 'kubeflow-local'.*a distribution of its own, which its documentation names$"
    ):
        load_runner("kubeflow-local")
    with pytest.raises(UsageError, match="did you mean 'local'"):
        load_runner("locl")


def test_broken_runner_affects_only_the_runs_that_select_it(toy, tmp_path, monkeypatch, workspace):
    entry_points = "[mlops.runners]\nbroken = mlops_broken_runner:PLUGIN\nnothing = mlops_nothing_runner:PLUGIN\n"
    modules = {"mlops_broken_runner": "import surely_not_installed\n", "mlops_nothing_runner": "PLUGIN = 3\n"}
    install(monkeypatch, tmp_path / "site", entry_points, **modules)
    assert mlops_core.run("TOY", workspace=workspace).status == "accepted"
    with pytest.raises(PluginError, match="runner 'broken' .*surely_not_installed.*reinstall mlops-other"):
        load_runner("broken")
    with pytest.raises(PluginError, match="is a int; expected an instance of mlops_core.runners.RunnerPlugin"):
        load_runner("nothing")
    assert "broken" not in runners_that(lambda plugin: plugin.runs_on_this_machine)


def test_local_cannot_be_taken_over(toy, tmp_path, monkeypatch):
    install(monkeypatch, tmp_path / "site", "[mlops.runners]\nlocal = mlops_thief:PLUGIN\n")
    assert [runner.distribution for runner in discover_runners() if runner.name == "local"] == ["mlops-usecases"]


def test_runner_provided_twice_is_refused(toy, tmp_path, monkeypatch, sequential):
    install(monkeypatch, tmp_path / "site", "[mlops.runners]\nsequential = mlops_thief:PLUGIN\n")
    with pytest.raises(PluginError, match="runner 'sequential' is provided by .* uninstall all but one"):
        load_runner("sequential")


def test_ability_that_an_engine_lacks_is_refused_by_name(sequential):
    plugin = load_runner("sequential")
    assert plugin.abilities == frozenset()
    with pytest.raises(UsageError, match="runner 'sequential' does not support 'compile'"):
        plugin.compile(None, None)
    done = mlops("package", "-u", "TOY", "--runner", "sequential")
    assert "runner 'sequential' does not support 'package'" in done.stderr
    assert done.returncode == ExitCode.USAGE


def test_engine_without_commands_of_its_own_has_no_group(sequential):
    assert "sequential" in command_groups()
    done = mlops("sequential", "check")
    assert (done.returncode, "has no commands of its own" in done.stderr) == (ExitCode.USAGE, True)


def test_local_runner_refuses_foreign_options(toy, workspace, sequential):
    from mlops_sequential import SequentialOptions

    with pytest.raises(UsageError, match="runner 'local' does not take SequentialOptions"):
        mlops_core.run("TOY", workspace=workspace, options=SequentialOptions(pause_s=1))
    assert Ability.CHECK in load_runner("local").abilities


def test_observer_that_raises_does_not_fail_the_run(toy, workspace):
    class Broken:
        def __getattr__(self, name):
            raise RuntimeError(name)

    with pytest.warns(UserWarning, match="receives no further events"):
        record = mlops_core.run("TOY", workspace=workspace, observer=Broken())
    assert record.status == "accepted"
