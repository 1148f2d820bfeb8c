"""Whole runs: a tiny one with everything that uses its detections, and the real drawings where they are available."""

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import mlops_core
from mlops_core import Detection, load_model, read_predictions
from mlops_core.cli import cli
from mlops_core.workspace.store import Store

DATA = Path(os.environ.get("MLOPS_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
TINY = Path(__file__).parents[1] / "examples" / "tiny_symbol_detection.yaml"
USE_CASE = "SYMBOL_DETECTION"


def mlops(workspace, *arguments):
    result = CliRunner().invoke(cli, ["--workspace", str(workspace), *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def accepted(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("workspace")
    record = mlops_core.run(USE_CASE, workspace=workspace, config=TINY)
    assert str(record.status) == "accepted", record.error
    return workspace, record


def artifact(accepted, step, output):
    workspace, record = accepted
    digest = next(one for one in record.steps if one.name == step).outputs[output]
    with Store(workspace) as store:
        return store.artifacts.path(digest)


@pytest.mark.slow_suite
def test_a_run_writes_detections_of_the_validation_and_of_the_test_part(accepted):
    counts = {}
    for step, output in (("train", "val_predictions"), ("evaluate", "predictions")):
        predictions = read_predictions(artifact(accepted, step, output))
        assert predictions.has_boxes
        assert predictions.facts["box_score_threshold"] == 0.3
        counts[step] = {row.sample for row in predictions.rows}
        assert sum(len(row.truth) for row in predictions.rows) > 10
    assert len(counts["evaluate"]) == 4
    assert not counts["train"] & counts["evaluate"]


@pytest.mark.slow_suite
def test_a_bundle_is_verified_with_its_metrics_computed_again(accepted, tmp_path):
    workspace, record = accepted
    mlops(workspace, "bundle", record.run_id, "-o", tmp_path / "bundle.tar")
    output = mlops(workspace, "verify", tmp_path / "bundle.tar", "--allow-unsigned", "--require-recomputed")
    assert re.search(r"ok +metrics +computed again: mean_average_precision", output)


@pytest.mark.slow_suite
def test_the_report_shows_the_worst_pages_with_their_boxes(accepted):
    workspace, record = accepted
    page = Path(mlops(workspace, "runs", "report", record.run_id).strip().splitlines()[-1]).read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "objects found" in text
    assert "missed red, invented blue" in text
    assert "average precision per class" in text
    assert page.count("data:image/jpeg") >= 2


@pytest.mark.slow_suite
def test_predictions_are_objects_as_json_lines_rows_and_pictures(accepted, tmp_path):
    workspace, _ = accepted
    sheet = next((workspace / "datasets").rglob("images/0.png"))
    model = load_model(USE_CASE, workspace=workspace)
    (answer,) = model.predict([sheet])
    assert isinstance(answer, Detection)
    assert answer.scores == tuple(sorted(answer.scores, reverse=True))
    best = json.loads(mlops(workspace, "predict", "--usecase", USE_CASE, "--json", sheet))[0]["objects"][0]
    assert best["label"] == answer.labels[0]
    assert best["box"] == list(answer.boxes[0])
    drawn = tmp_path / "drawn"
    options = ("predict", "--usecase", USE_CASE, "--min-score", 0.5)
    rows = mlops(workspace, *options, "--objects", "csv", "--picture", drawn, sheet).splitlines()
    assert rows[0] == "file,label,score,left,top,right,bottom"
    assert len(rows) - 1 == sum(score >= 0.5 for score in answer.scores) > 3
    line = json.loads(mlops(workspace, *options, "--objects", "jsonl", sheet).splitlines()[0])
    assert len(line["objects"]) == len(rows) - 1
    with Image.open(drawn / "0.png") as picture, Image.open(sheet) as original:
        assert picture.size == original.size
    table = mlops(workspace, "predict", "--usecase", USE_CASE, "--top", 2, sheet)
    assert answer.labels[0] in table


@pytest.mark.slow_suite
@pytest.mark.timeout(7200)
def test_objects_of_generated_photographs_are_found_with_the_default_configuration(tmp_path):
    record = mlops_core.run(USE_CASE, workspace=tmp_path, overrides=["dataset.name=SYMBOL_DETECTION_Photographs"])
    evaluation = json.loads((tmp_path / "runs" / record.run_id / "evaluation.json").read_text())
    assert evaluation["object_detection_metrics"]["mean_average_precision"]["value"] >= 0.8


@pytest.mark.real_data
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not (DATA / "pid-symbols").is_dir(), reason="MLOPS_TEST_DATA has no pid-symbols")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_symbols_of_real_drawings_are_found_on_pages_that_were_not_trained_on(seed, tmp_path):
    record = mlops_core.run(
        USE_CASE,
        workspace=tmp_path,
        overrides=[
            f"dataset.path={DATA / 'pid-symbols' / 'pages'}",
            "split.mandatory_test_filenames=[8.jpg, 9.jpg]",
            "split.validation_split=0",
        ],
        seed=seed,
    )
    evaluation = json.loads((tmp_path / "runs" / record.run_id / "evaluation.json").read_text())
    metrics = evaluation["object_detection_metrics"]
    assert metrics["mean_average_precision"]["value"] >= 0.97
    assert metrics["mean_average_precision_50_95"]["value"] >= 0.75
    assert str(record.status) == "accepted"
