import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_core.settings import read_settings
from mlops_core.use_cases import assembly_cache
from mlops_core.use_cases.assembly import assemble
from mlops_core.use_cases.assembly_cache import AssemblyCache
from mlops_core.use_cases.discovery import find_use_case

MARGIN_NS = 100_000_000
"""Each process of these tests waits for less than core's margin, which they would wait for many times."""
POINTS = "[mlops.usecases]\nKEPT = kept_plugin.plugin\n"
PLUGIN = """\
from mlops_core import *
from mlops_core import hookimpl

_E, _UP = StepKind.EVALUATION, Direction.HIGHER


class DatasetSection(Section):
    name: str = "rows"
    path: str | None = None
class Training(Section):
    epochs: int = 3
    password: str = ""
    weights: str = ""
    sha256: str = ""
class Config(UseCaseConfig):
    dataset: DatasetSection = DatasetSection()
    training: Training = Training()

@hookimpl
def mlops_get_config_model(context):
    return Config
@hookimpl
def mlops_get_datasets(config, context):
    source = GeneratedSource(run="kept_plugin.plugin:make")
    return [Dataset(name="rows", title="rows", licence="CC0", sources=(source,))]
@hookimpl
def mlops_get_steps(config, context):
    code = "kept_plugin.plugin"
    return [
        Step(name="train", run=f"{code}:train", inputs={"d": DATASET}, outputs=("model",), config=("training",)),
        Step(name="evaluate", run=f"{code}:evaluate", inputs={"m": "train.model"}, outputs=("predictions",), kind=_E),
    ]
@hookimpl
def mlops_get_metrics(config, context):
    return [Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=_UP)]
@hookimpl
def mlops_compute_metrics(predictions, context):
    return MetricReport(values={})
@hookimpl
def mlops_get_gate(config, context):
    return Gate(Comparison(metric="acc", operator=Operator.AT_LEAST, threshold=0.5))
@hookimpl
def mlops_load_predictor(model, context):
    raise NotImplementedError
"""
SCRIPT = """\
import sys
from pathlib import Path
from mlops_core.settings import read_settings
from mlops_core.use_cases import assembly_cache
from mlops_core.use_cases.assembly import assemble
from mlops_core.use_cases.assembly_cache import AssemblyCache

assembly_cache._MARGIN_NS = MARGIN_NS
config = Path(sys.argv[2]) if sys.argv[2] else None
cache = AssemblyCache(Path(sys.argv[1]) / "assemblies")
made = assemble("KEPT", config=config, overrides=sys.argv[3:], environ=read_settings().environ, cache=cache)
is_imported = "kept_plugin.plugin" in sys.modules
print(is_imported, made.config.model.training.epochs, made.pipeline.metrics[0].name, made.dataset.entry.title)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed plugin, old enough that its assemblies are kept; a workspace is there."""
    site = tmp_path / "site"
    (site / "kept_plugin").mkdir(parents=True)
    (site / "kept_plugin" / "__init__.py").write_text("")
    (site / "kept_plugin" / "plugin.py").write_text(PLUGIN)
    (site / "kept_plugin" / "user_config.yaml").write_text("training:\n  epochs: 3\n")
    metadata = site / "kept_plugin-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: kept-plugin\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    (tmp_path / "workspace").mkdir()
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text(SCRIPT.replace("MARGIN_NS\n", f"{MARGIN_NS}\n"))
    monkeypatch.setenv("PYTHONPATH", str(site))
    wait_for_the_margin()
    return site / "kept_plugin"


def wait_for_the_margin():
    """Wait until files that were just written count as older than the next process."""
    time.sleep(MARGIN_NS / 1e9 + 0.1)


def assembled(tmp_path, *overrides, config="", environ=None):
    """Assemble in a process of its own; return (the plugin was imported, epochs, metric, title)."""
    command = [sys.executable, str(tmp_path / "script" / "script.py"), str(tmp_path / "workspace"), config, *overrides]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(command, check=False, capture_output=True, text=True, env={**variables, **(environ or {})})
    assert result.returncode == 0, result.stderr
    # The model is asked for after the assembly: what is printed first is whether the assembly itself imported it.
    is_imported, epochs, metric, title = result.stdout.split(maxsplit=3)
    return is_imported == "True", int(epochs), metric, title.strip()


def test_unchanged_use_case_is_not_imported_again(plugin, tmp_path):
    assert assembled(tmp_path) == (True, 3, "acc", "rows")
    assert assembled(tmp_path) == (False, 3, "acc", "rows")
    assert assembled(tmp_path, "training.epochs=7") == (True, 7, "acc", "rows")
    assert assembled(tmp_path, "training.epochs=7") == (False, 7, "acc", "rows")
    assert assembled(tmp_path) == (False, 3, "acc", "rows")


def change_code(plugin, _tmp_path):
    # Of another length: Python keeps bytecode by the second and the size of its source.
    text = (plugin / "plugin.py").read_text().replace('title="rows"', 'title="more rows"')
    (plugin / "plugin.py").write_text(text)
    return {}, "more rows"


def change_a_file_of_the_package(plugin, _tmp_path):
    (plugin / "user_config.yaml").write_text("training:\n  epochs: 4\n")
    return {}, "rows"


def add_a_file_to_a_folder_on_the_path(plugin, _tmp_path):
    (plugin.parent / "new_module.py").write_text("")
    return {}, "rows"


def change_the_environment(_plugin, _tmp_path):
    return {"SOMETHING": "else"}, "rows"


def change_the_version(plugin, _tmp_path):
    path = plugin.parent / "kept_plugin-1.dist-info" / "METADATA"
    path.write_text(path.read_text().replace("Version: 1", "Version: 2"))
    return {}, "rows"


def damage_what_was_kept(_plugin, tmp_path):
    for path in (tmp_path / "workspace" / "assemblies").iterdir():
        path.write_text(path.read_text()[:-20])
    return {}, "rows"


@pytest.mark.representatives(3)
@pytest.mark.parametrize(
    "change",
    [
        change_code,
        change_a_file_of_the_package,
        add_a_file_to_a_folder_on_the_path,
        change_the_environment,
        change_the_version,
        damage_what_was_kept,
    ],
)
def test_changed_use_case_is_imported_again(plugin, tmp_path, change):
    assembled(tmp_path)
    assert not assembled(tmp_path)[0]
    environ, title = change(plugin, tmp_path)
    is_imported, *_, new_title = assembled(tmp_path, environ=environ)
    assert is_imported
    assert new_title == title


def test_changed_configuration_file_is_read_again(plugin, tmp_path):
    config = tmp_path / "user_config.yaml"
    config.write_text("training:\n  epochs: 5\n")
    wait_for_the_margin()
    assert [assembled(tmp_path, config=str(config))[:2] for _ in range(2)] == [(True, 5), (False, 5)]
    config.write_text("training:\n  epochs: 6\n")
    assert assembled(tmp_path, config=str(config))[:2] == (True, 6)


def test_changed_file_that_the_configuration_names_is_read_again(plugin, tmp_path):
    weights = tmp_path / "weights.h5"
    named = f"training.weights={weights}"
    assert [assembled(tmp_path, named)[0] for _ in range(2)] == [True, False]
    weights.write_bytes(b"one")
    wait_for_the_margin()
    assert [assembled(tmp_path, named)[0] for _ in range(2)] == [True, False]
    weights.write_bytes(b"two")
    assert assembled(tmp_path, named)[0]


def test_configuration_with_the_digest_of_a_folder_is_not_kept(plugin, tmp_path):
    noted = f"training.weights={tmp_path / 'model'}", f"training.sha256={'ab' * 32}"
    (tmp_path / "model").mkdir()
    assert [assembled(tmp_path, *noted)[0] for _ in range(2)] == [True, True]


def test_file_that_changed_while_the_process_was_running_prevents_keeping(plugin, tmp_path):
    (plugin / "plugin.py").write_text(PLUGIN)
    assert assembled(tmp_path)[0]
    assert not list((tmp_path / "workspace").iterdir())


def test_configuration_with_a_secret_is_not_kept(plugin, tmp_path):
    config = tmp_path / "user_config.yaml"
    config.write_text("training:\n  password: ${KEPT_PASSWORD}\n")
    wait_for_the_margin()
    assembled(tmp_path, config=str(config), environ={"KEPT_PASSWORD": "hunter2"})
    assert not list((tmp_path / "workspace").iterdir())


def test_kept_assembly_of_toy_equals_a_fresh_one(toy, tmp_path, monkeypatch):
    """Everything that a run reads is equal; the model is validated again when it is asked for."""
    monkeypatch.setattr(assembly_cache, "_process_start_ns", time.time_ns)
    monkeypatch.setattr(assembly_cache, "_MARGIN_NS", MARGIN_NS)
    (tmp_path / "workspace").mkdir()
    missed = []
    cache = AssemblyCache(tmp_path / "workspace" / "assemblies", on_miss=lambda: missed.append("miss"))
    environ = read_settings().environ
    fresh = assemble("TOY", overrides=["training.bias=0.5"], environ=environ, cache=None)
    wait_for_the_margin()
    cache.save(fresh, config=None, overrides=["training.bias=0.5"], environ=environ)
    kept = cache.find(find_use_case("TOY"), config=None, overrides=["training.bias=0.5"], environ=environ)
    assert kept is not None
    assert missed == []
    assert cache.find(find_use_case("TOY"), config=None, overrides=[], environ=environ) is None
    assert missed == ["miss"]
    assert (kept.pipeline, kept.dataset, kept.use_case.name) == (fresh.pipeline, fresh.dataset, fresh.use_case.name)
    assert kept.config.sections() == fresh.config.sections()
    assert kept.config.comparable_sections() == fresh.config.comparable_sections()
    assert kept.config.to_yaml() == fresh.config.to_yaml()
    assert kept.config.model == fresh.config.model
    hook = "mlops_compute_metrics"
    assert kept.use_case.implementation_module(hook) == fresh.use_case.implementation_module(hook) == "mlops_toy.plugin"


def test_old_assemblies_are_removed(plugin, tmp_path):
    folder = tmp_path / "workspace" / "assemblies"
    folder.mkdir()
    for number in range(assembly_cache._KEPT + 5):
        path = folder / f"{number}.json"
        path.write_text("{}")
        os.utime(path, (number, number))
    assembled(tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert len(names) == assembly_cache._KEPT
    assert "0.json" not in names
    assert "54.json" in names


def test_workspace_that_does_not_exist_is_not_created(plugin, tmp_path):
    Path(tmp_path / "workspace").rmdir()
    assembled(tmp_path)
    assert not (tmp_path / "workspace").exists()
