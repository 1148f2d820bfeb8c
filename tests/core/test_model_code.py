"""Models of another version of a plugin: read with the code that was kept with them, or refused with what to do."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mlops_core
from mlops_core.datasets.digests import digest_tree
from mlops_core.errors import DatasetError, PluginError
from mlops_core.use_cases.discovery import InstalledUseCase
from mlops_core.use_cases.model_code import KeptPredictor, find_plugin_code
from mlops_core.workspace.maintenance.housekeeping import find_garbage
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

TOY = Path(__file__).parents[1] / "toy"
ORIGIN = "model TOY version 1 was made by mlops-toy 0.1.0; mlops-toy 0.2.0 is installed"
ADVICE = "to use it, make a virtual environment with Python "


def install(folder, version, *, load=""):
    """Install the toy use case in `folder` with another version and further code in front of its predictor."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(TOY / "mlops_toy", folder / "mlops_toy", ignore=shutil.ignore_patterns("__pycache__"))
    information = folder / f"mlops_toy-{version}.dist-info"
    shutil.copytree(TOY / "mlops_toy-0.1.0.dist-info", information)
    metadata = information / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 0.1.0", f"Version: {version}"))
    plugin = folder / "mlops_toy" / "plugin.py"
    marker = "def mlops_load_predictor(model, context):\n"
    assert marker in plugin.read_text()
    plugin.write_text(plugin.read_text().replace(marker, f"{marker}    {load or 'pass'}\n"))


@pytest.fixture
def mlops(tmp_path, workspace):
    """A function that runs a command with the toy use case in `tmp_path` / "site"; returns code, output and errors."""
    install(tmp_path / "site", "0.1.0")

    def run(*arguments):
        command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(workspace)]
        done = subprocess.run(
            [*command, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)},
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def word(tmp_path):
    path = tmp_path / "aaaaaaaaa"
    path.touch()
    return path


def test_a_model_of_an_earlier_version_answers_with_its_own_code(mlops, tmp_path, word):
    assert mlops("run", "-u", "TOY")[0] == 0
    install(tmp_path / "site", "0.2.0", load="{}['offset']")
    code, output, errors = mlops("predict", "-u", "TOY", "--json", word)
    assert (code, [answer["scores"] for answer in json.loads(output)]) == (0, [{"long": 1.0, "short": 0.0}])
    assert f"{ORIGIN}: its answers come from the code that was kept with it" in errors


@pytest.mark.slow_suite
def test_without_its_code_the_error_names_both_versions_and_an_environment(mlops, tmp_path, word, workspace):
    assert mlops("run", "-u", "TOY")[0] == 0
    install(tmp_path / "site", "0.2.0", load="{}['offset']")
    with Store(workspace) as store:
        store.artifacts.discard(Registry(store).version("TOY").code)
    code, output, errors = mlops("predict", "-u", "TOY", word)
    assert (code, output) == (6, "")
    assert "KeyError: 'offset'" in errors
    assert f"{ORIGIN}; {ADVICE}" in errors
    assert "pip install mlops-toy==0.1.0 mlops-usecases==" in errors


def test_without_its_code_answers_of_another_version_come_with_a_warning(mlops, tmp_path, word, workspace):
    assert mlops("run", "-u", "TOY")[0] == 0
    install(tmp_path / "site", "0.2.0")
    with Store(workspace) as store:
        store.artifacts.discard(Registry(store).version("TOY").code)
    code, _, errors = mlops("predict", "-u", "TOY", word)
    assert code == 0
    assert f"{ORIGIN}, which may read it in another way; {ADVICE}" in errors


def test_the_version_that_made_the_model_is_used_as_it_is(mlops, word):
    assert mlops("run", "-u", "TOY")[0] == 0
    code, _, errors = mlops("predict", "-u", "TOY", word)
    assert (code, errors) == (0, "")


@pytest.mark.slow_suite
def test_an_output_of_the_plugin_needs_the_version_that_made_the_model(mlops, tmp_path, word):
    assert mlops("run", "-u", "TOY")[0] == 0
    install(tmp_path / "site", "0.2.0")
    code, output, errors = mlops("predict", "-u", "TOY", "--spelling", "lines", word)
    assert (code, output) == (6, "")
    assert f"--spelling needs the version of the plugin that made the model: {ORIGIN}; {ADVICE}" in errors


# --- The predictor ----------------------------------------------------------------------------------------


@pytest.fixture
def kept(toy, workspace):
    """The kept code and the model of a run of TOY, and where they are."""
    mlops_core.run("TOY", workspace=workspace)
    with Store(workspace) as store:
        version = Registry(store).version("TOY")
        return store.artifacts.path(version.code), store.artifacts.path(version.artifact)


@pytest.mark.slow_suite
def test_kept_code_answers_file_by_file_and_names_a_file_that_it_cannot_use(kept, word, tmp_path):
    predictor = KeptPredictor(*kept, advice="do this")
    assert predictor.classes == ("long", "short")
    assert isinstance(predictor, mlops_core.Predictor)
    assert [answer.scores for answer in predictor.predict([word, word])] == [(1.0, 0.0)] * 2
    bad = tmp_path / "b.bad"
    bad.touch()
    with pytest.raises(DatasetError, match=r"b\.bad: no word"):
        list(predictor.predict([bad]))
    assert [answer.path for answer in predictor.predict([word])] == [str(word)]
    predictor.close()
    with pytest.raises(PluginError, match="process of the model has ended; do this"):
        list(predictor.predict([word]))


@pytest.mark.slow_suite
def test_code_that_cannot_load_the_model_is_an_error_with_the_advice(kept, tmp_path):
    with pytest.raises(PluginError, match="do this$"):
        KeptPredictor(kept[0], tmp_path / "no-model", advice="do this")


def test_code_of_a_model_is_kept_by_housekeeping(kept, workspace):
    with Store(workspace) as store:
        assert kept[0].name not in find_garbage(store, keep=0).artifacts


def test_compiled_or_missing_code_is_not_kept(tmp_path, monkeypatch):
    package = tmp_path / "site" / "compiled_plugin"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(package.parent))
    installed = InstalledUseCase(name="X", target="compiled_plugin", distribution="x", version="1")
    code = find_plugin_code(installed)
    (tmp_path / "kept").mkdir()
    code.copy_to(tmp_path / "kept")
    assert (tmp_path / "kept" / "code" / "compiled_plugin" / "__init__.py").is_file()
    assert digest_tree(tmp_path / "kept") == code.digest()
    (package / "fast.so").touch()
    assert find_plugin_code(installed) is None
    gone = InstalledUseCase(name="X", target="no_such_plugin.hooks", distribution="x", version="1")
    assert find_plugin_code(gone) is None
