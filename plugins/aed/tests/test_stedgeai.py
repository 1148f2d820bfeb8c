"""ST's tool, if it is configured; a program with the same command line replaces it here."""

import json
import stat
import sys
from pathlib import Path

import pytest
from mlops_aed.config import AedConfig, StEdgeAi
from mlops_aed.export.stedgeai import analyze
from mlops_aed.pipeline_steps import steps
from mlops_aed.stm32.conversion import convert
from mlops_aed.stm32.layouts import Layout

from mlops_core import ConfigError, StepError
from mlops_core.config_files.loading import validate_sources
from mlops_core.config_files.yaml_source import read_yaml_text

# Takes what the real one takes, and measures the file that it is given.
TOOL = """
import argparse, json, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("command", choices=["analyze"])
for name in ("model", "target", "optimization", "output", "workspace"):
    parser.add_argument(f"--{{name}}", required=True)
given = parser.parse_args()
if given.target == "stm32x9":
    sys.exit("E010(InvalidArgument): unknown target")
size = len(pathlib.Path(given.model).read_bytes())
pathlib.Path(given.workspace, "temporary").write_text("x")
if given.target == "stm32z0":
    sys.exit(0)
info = {{"memory_footprint": {{"weights": size, "activations": 100, "io": [8]}}}}
pathlib.Path(given.output, "network_c_info.json").write_text(json.dumps(info))
pathlib.Path(given.output, "network_analyze_report.txt").write_text("model: m\\n macc               : 24,191,888\\n")
"""


@pytest.fixture
def tool(tmp_path):
    path = tmp_path / "stedgeai"
    code = tmp_path / "stedgeai.py"
    code.write_text(TOOL.format(), encoding="utf-8")
    path.write_text(
        f"#!/bin/sh\nexec '{sys.executable}' '{code}' \"$@\"\n", encoding="utf-8"
    )  # its path may have spaces
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def folders(tmp_path):
    for name in ("output", "workspace"):
        (tmp_path / name).mkdir()
    (tmp_path / "m.tflite").write_bytes(b"x" * 321)
    return tmp_path


def ask(folders, tool, **settings):
    given = StEdgeAi(path=str(tool), **settings)
    return analyze(folders / "m.tflite", given, output=folders / "output", workspace=folders / "workspace")


def test_the_numbers_of_the_tool_are_read(folders, tool):
    assert ask(folders, tool) == {"weights_bytes": 321, "activations_bytes": 100, "macc": 24_191_888}
    assert (folders / "output" / "network_analyze_report.txt").is_file()
    assert not (folders / "output" / "temporary").exists()


def test_errors_of_the_tool_are_reported(folders, tool):
    with pytest.raises(StepError, match=r"stedgeai analyze --target stm32x9 failed with 1: E010\(InvalidArgument\)"):
        ask(folders, tool, target="stm32x9")
    with pytest.raises(StepError, match=r"wrote no network_c_info\.json with a memory_footprint"):
        ask(folders, tool, target="stm32z0")
    with pytest.raises(ConfigError, match=r"stedgeai\.path: no file .*gone; expected the executable"):
        ask(folders, folders / "gone")
    tool.chmod(0o644)
    with pytest.raises(StepError, match="Permission denied"):
        ask(folders, tool)


@pytest.mark.parametrize("mode", ["training", "chain_tqe"])
def test_a_run_uses_the_tool_only_if_it_is_configured(mode):
    general = {"operation_mode": mode}
    without = AedConfig.model_validate({"general": general})
    configured = AedConfig.model_validate({"general": general, "stedgeai": {"path": "stedgeai"}})
    assert "analyze" not in [step.name for step in steps(without)]
    (step,) = (step for step in steps(configured) if step.name == "analyze")
    assert step.inputs == {"model": "train.model" if mode == "training" else "quantize.model"}


def test_a_file_of_the_zoo_sets_the_tool_if_it_is_on_this_machine(tool):
    text = (Path(__file__).parent / "stm32" / "v2.yaml").read_text(encoding="utf-8")
    there = text.replace("C:/ST/STEdgeAI/2.0/Utilities/windows/stedgeai.exe", str(tool))
    found = {}
    for name, given in (("there", there), ("elsewhere", text)):
        source = convert(read_yaml_text(given, name=name, environ={}, is_foreign=True), Layout.V2).source
        found[name] = validate_sources(AedConfig, [source]).model.stedgeai
    assert found["there"] == StEdgeAi(path=str(tool), target="stm32u5", optimization="balanced")
    assert found["elsewhere"].path is None


def test_the_step_writes_the_footprint_of_a_float_model_too(tmp_path, tool):
    keras = pytest.importorskip("keras")
    from mlops_aed.models import network
    from mlops_aed.steps.analyze import analyze as step_function

    from mlops_core import StepContext
    from mlops_core.steps.context import StepRequest

    for name in ("model", "footprint", "scratch"):
        (tmp_path / name).mkdir()
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    network.save(model, tmp_path / "model", {})
    config = AedConfig.model_validate({"stedgeai": {"path": str(tool), "optimization": "ram"}})
    request = StepRequest(
        use_case="AED",
        step=next(step for step in steps(config) if step.name == "analyze"),
        config={"stedgeai": config.stedgeai.model_dump()},
        parameters={},
        seed=0,
        inputs={"model": tmp_path / "model"},
        outputs={"footprint": tmp_path / "footprint"},
        scratch=tmp_path / "scratch",
    )
    step_function(StepContext(request))
    written = json.loads((tmp_path / "footprint" / "footprint.json").read_text())
    assert written["target"] == "stm32u5"
    assert written["optimization"] == "ram"
    assert written["weights_bytes"] == (tmp_path / "scratch" / "float_model.tflite").stat().st_size
