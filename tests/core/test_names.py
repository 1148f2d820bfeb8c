"""One rule for every name that becomes a path or goes into a script."""

from dataclasses import replace

import pytest

from mlops_core import (
    DATASET,
    ConfigError,
    Dataset,
    Distribution,
    GeneratedSource,
    Parameter,
    ParameterType,
    PipelineError,
    PluginError,
    Source,
    Step,
    UsageError,
    prepare_run,
)
from mlops_core.names import name_fault, with_path
from mlops_core.runners.discovery import find_runner
from mlops_core.scaffolding import use_case_name
from mlops_core.use_cases.discovery import discover_use_cases, find_use_case
from mlops_core.workspace.model_moves import move_models
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

BAD = (
    "",
    "..",
    ".",
    "../up",
    "a/b",
    "a\\b",
    "/etc",
    "a..b",
    "a\0b",
    "a\n",
    "a\nb",
    "a b",
    "${{ secrets.Y }}",
    "X${{secrets.Y}}",
    "$(id)",
    "a;b",
    "-rf",
    ".hidden",
    "end.",
    "con",
    "NUL",
    "aux.txt",
    "Com1",
    "lpt9",
    "a" * 65,
    "caf\u00e9",
    "a\u202eb",
    "~root",
    "a:b",
    "a'b",
    '"a"',
)


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_no_path_or_word_everywhere_is_refused_by_every_kind(name, tmp_path):
    assert name_fault(name)
    source = GeneratedSource(run="mlops_toy.steps:generate")
    for kind, make in (
        ("data set", lambda: Dataset(name=name, title="t", licence="CC0", sources=(source,))),
        ("step", lambda: Step(name=name, run="m:f", inputs={"d": DATASET}, outputs=("o",))),
        ("output", lambda: Step(name="s", run="m:f", inputs={"d": DATASET}, outputs=(name,))),
        ("parameter", lambda: Parameter(name=name, type=ParameterType.STRING, default="")),
    ):
        with pytest.raises(PipelineError, match=kind):
            make()
    with pytest.raises(PluginError, match="distribution"):
        Distribution(name=name, title="t", labels=("a",), counts=(1,))
    with Store(tmp_path / "w") as store:
        with pytest.raises(UsageError, match="alias"):
            Registry(store).move_alias("TOY", name, version=1, expected=None, why="test")
        with pytest.raises(UsageError, match="use case"):
            move_models(store, "TOY", name, why="test")


@pytest.mark.parametrize("name", ["toy", "ROAD_SIGN", "esc10", "road-sign-2", "v1.2", "8k", "console", "a" * 64])
def test_a_portable_name_is_accepted(name):
    assert name_fault(name) == ""


@pytest.mark.parametrize("place", ["..", "../up", "/etc", "a/../..", "a//b", "a/nul"])
def test_a_source_stays_within_the_folder_of_its_data_set(place):
    source = Source(url="https://example.org/a.zip", to=place)
    with pytest.raises(PipelineError, match="data set 'words': the place"):
        Dataset(name="words", title="t", licence="CC0", sources=(source,))
    Dataset(name="words", title="t", licence="CC0", sources=(replace(source, to="train/Images_2"),))


@pytest.mark.parametrize("name", ["X${{secrets.Y}}", "..", "../up", "nul", "a" * 65])
def test_an_installed_use_case_or_runner_with_another_name_is_listed_but_not_used(toy, tmp_path, monkeypatch, name):
    info = tmp_path / "site" / "mlops_bad-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlops-bad\nVersion: 1.0\n")
    points = f"[mlops.usecases]\n{name} = bad\n[mlops.runners]\n{name} = bad:X\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert {use_case.name for use_case in discover_use_cases()} >= {"TOY", name}
    with pytest.raises(PluginError, match=r"mlops-bad 1\.0: the use case '"):
        find_use_case(name)
    with pytest.raises(PluginError, match=r"mlops-bad 1\.0: the runner '"):
        find_runner(name)
    assert find_use_case("TOY").name == "TOY"


@pytest.mark.parametrize("name", ["../../x", "a/b", "${{x}}", "nul"])
def test_the_configured_name_of_a_folder_of_data_is_refused_too(toy, tmp_path, name):
    """An engine stores the data of the folder under this name."""
    with pytest.raises(ConfigError, match="dataset.name:"):
        prepare_run(toy, overrides=[f"dataset.name='{name}'", f"dataset.path={tmp_path}"])


def test_a_new_plugin_is_not_named_after_a_device():
    with pytest.raises(UsageError, match="device on Windows"):
        use_case_name("nul")


@pytest.mark.parametrize(
    ("fault", "path", "named"),
    [
        ("a.wav cannot be decoded", "left/a.wav", "left/a.wav cannot be decoded"),
        ("left/a.wav cannot be decoded", "left/a.wav", "left/a.wav cannot be decoded"),
        ("a.wav: a.wav is empty", "left/a.wav", "left/a.wav: a.wav is empty"),
        ("no words", "left/a.wav", "no words"),
        ("", "left/a.wav", ""),
    ],
)
def test_a_fault_of_a_file_names_its_folder(fault, path, named):
    assert with_path(fault, path) == named
