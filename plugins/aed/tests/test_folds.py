"""Cross-validation: one pipeline with a branch per fold, in which no fold affects its own training."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from mlops_aed.config import AedConfig
from mlops_aed.data.clips import Clip, read_split, write_split
from mlops_aed.data.feature_store import DATA_FILE, HEADER_FILE, ROWS_FILE
from mlops_aed.data.synthetic import RATE_HZ, SOUNDS, make_clip, make_recording
from mlops_aed.pipeline_steps import model_reference, steps
from pydantic import ValidationError

import mlops_core
from mlops_core import DATASET, StepKind, row_digest
from mlops_core.cli import cli
from mlops_core.steps.context import StepRequest
from mlops_core.steps.execution import execute
from mlops_core.workspace.store import Store

EXAMPLES = Path(__file__).parents[1] / "examples"
PRETRAINED_TARGET, FROM_SCRATCH_TARGET = 0.96, 0.88
QUANTIZED = {"operation_mode": "chain_tqe"}


def config(**dataset):
    return AedConfig.model_validate({"general": QUANTIZED, "dataset": {"folds": [1, 2, 3], **dataset}})


def by_name(chosen):
    return {step.name: step for step in steps(chosen)}


def test_each_fold_has_a_branch_and_one_evaluation_covers_all():
    found = by_name(config())
    branches = [f"{name}-{fold}" for fold in (1, 2, 3) for name in ("train", "quantize", "score")]
    assert list(found) == ["split", "preprocess", *branches, "evaluate"]
    evaluations = [step for step in found.values() if step.kind is StepKind.EVALUATION]
    assert [step.name for step in evaluations] == ["evaluate"]
    assert model_reference(config()) == "quantize-3.model"


def test_branches_have_nothing_in_common_but_the_features_so_they_run_at_the_same_time():
    found = by_name(config())
    for fold in (1, 2, 3):
        for name in ("train", "quantize", "score"):
            read = set(found[f"{name}-{fold}"].inputs.values())
            own = {f"split.fold-{fold}", f"train-{fold}.model", f"quantize-{fold}.model"}
            assert read <= {"preprocess.features", *own}
            assert f"split.fold-{fold}" in read
    assert found["preprocess"].inputs == {"dataset": DATASET, "split": "split.clips"}


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"folds": [1]}, "at least 2"),
        ({"folds": [1, 1]}, "holds a fold twice"),
        ({"folds": [1, 2], "test_fold": 1}, "leave test_fold empty"),
        ({"folds": [1, 2], "strategy": "group"}, "set strategy to fold"),
        ({"folds": "some"}, "valid tuple"),
    ],
)
def test_invalid_folds_are_refused(dataset, message):
    with pytest.raises(ValidationError, match=message):
        AedConfig.model_validate({"dataset": dataset})


def test_all_folds_are_those_of_the_table(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("filename,fold,category\na.wav,4,x\nb.wav,2,x\n")
    assert AedConfig.model_validate({"dataset": {"folds": "all", "path": str(tmp_path)}}).dataset.folds == (2, 4)
    assert AedConfig.model_validate({"dataset": {"folds": "all"}}).dataset.folds == (1, 2, 3, 4, 5)


def request(step, folder, *, sections, inputs):
    (folder / "scratch").mkdir(parents=True)
    outputs = {name: folder / name for name in step.outputs}
    for path in outputs.values():
        path.mkdir()
    return StepRequest(
        use_case="AED",
        step=step,
        config=sections,
        parameters={},
        seed=0,
        inputs=inputs,
        outputs=outputs,
        scratch=folder / "scratch",
    )


def write_table(folder):
    """Ten recordings of two clips each in each of five folds; no audio."""
    (folder / "meta").mkdir(parents=True)
    names = [(f"{group}-{take}.wav", 1 + group % 5, "xy"[group // 25], group) for group in range(50) for take in (0, 1)]
    lines = ["filename,fold,category,src_file", *(",".join(map(str, row)) for row in names)]
    (folder / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")
    (folder / "audio").mkdir()
    for name, *_ in names:
        (folder / "audio" / name).touch()
    return folder


def test_no_clip_and_no_recording_of_a_fold_is_in_its_own_training_or_early_stopping(tmp_path):
    dataset = write_table(tmp_path / "data")
    chosen = config(folds=[1, 2, 3, 4, 5])
    sections = {"dataset": chosen.dataset.model_dump(mode="json")}
    execute(request(by_name(chosen)["split"], tmp_path / "split", sections=sections, inputs={"dataset": dataset}))
    tested = []
    for fold in (1, 2, 3, 4, 5):
        clips = read_split(tmp_path / "split" / f"fold-{fold}")
        assert {clip.part for clip in clips} == {"train", "validation", "test"}
        assert {clip.part for clip in clips if clip.fold == fold} == {"test"}
        groups = [{clip.group for clip in clips if clip.part == part} for part in ("train", "validation", "test")]
        assert sum(map(len, groups)) == len(set().union(*groups))
        tested += [clip.name for clip in clips if clip.part == "test"]
    assert sorted(tested) == sorted(clip.name for clip in clips)
    assert {clip.part for clip in read_split(tmp_path / "split" / "clips")} == {""}


def write_features(folder, *, spoiled):
    """Patches of 24 clips whose classes differ in level; those of the fold `spoiled` are NaN."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    clips = [
        Clip(name=f"{n}.wav", label="ab"[n % 2], group=str(n), fold=1 + n // 8, digest=row_digest([str(n)]))
        for n in range(24)
    ]
    patches = draw.normal(size=(24, 64, 96)) + np.arange(24)[:, None, None] % 2
    patches[[clip.fold == spoiled for clip in clips]] = np.nan
    patches.astype("<f4").tofile(folder / DATA_FILE)
    with (folder / ROWS_FILE).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("part", "label", "group", "clip", "patch"))
        writer.writerows(("", clip.label, clip.group, clip.name, 0) for clip in clips)
    header = {"patches": 24, "shape": (64, 96), "classes": ("a", "b"), "left_out": []}
    (folder / HEADER_FILE).write_text(json.dumps(header))
    return clips


def branch(folder, *, spoiled):
    """Return a function that executes a step of the branch with test fold 1 and validation fold 2."""
    clips = write_features(folder, spoiled=spoiled)
    parts = {1: "test", 2: "validation", 3: "train"}
    (folder / "split").mkdir()
    write_split(folder / "split", [replace(clip, part=parts[clip.fold]) for clip in clips])
    training = {"model": {"filters": [4, 4]}, "steps": 2, "batch_size": 4}
    chosen = AedConfig.model_validate({"general": QUANTIZED, "training": training, "dataset": {"folds": [1, 2]}})
    inputs = {"features": folder, "split": folder / "split"}

    def execute_step(name):
        sections = chosen.model_dump(mode="json")
        execute(request(by_name(chosen)[name], folder / name, sections=sections, inputs=inputs))
        inputs["model"] = folder / name / "model"
        return inputs["model"]

    return execute_step


@pytest.mark.filterwarnings("ignore")  # TensorFlow's own
def test_the_test_fold_does_not_affect_weights_statistics_and_calibration(tmp_path):
    execute_step = branch(tmp_path / "test", spoiled=1)
    model = execute_step("train-1")
    with np.load(model / "weights.npz") as weights:
        assert all(np.isfinite(weights[name]).all() for name in weights.files)
    described = json.loads((execute_step("quantize-1") / "metadata.json").read_text())
    assert np.isfinite([described["mean"], described["deviation"], described["input"]["scale"]]).all()


@pytest.mark.slow_suite
@pytest.mark.filterwarnings("ignore")
def test_the_training_folds_affect_the_weights(tmp_path):
    """Proves that the test above would detect an effect of the test fold."""
    described = branch(tmp_path / "training", spoiled=3)("train-1") / "metadata.json"
    assert np.isnan(json.loads(described.read_text())["mean"])


def small(folder):
    """Three kinds of sound, four recordings of each in each of two folds, one clip of a recording."""
    (folder / "audio").mkdir(parents=True)
    (folder / "meta").mkdir()
    rows = ["filename,fold,category,src_file"]
    for label in ("rain", "siren", "knock"):
        for source in range(8):
            draw = np.random.default_rng([len(label), source])
            name = f"{label}{source}.wav"
            soundfile.write(folder / "audio" / name, make_clip(SOUNDS[label], make_recording(draw), draw), RATE_HZ)
            rows.append(f"{name},{1 + source % 2},{label},{label}{source}")
    (folder / "meta" / "esc50.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.slow_suite
@pytest.mark.timeout(900)
def test_a_cross_validation_is_one_run_with_a_table_of_its_folds_and_is_not_computed_twice(tmp_path):
    overrides = [
        "dataset.folds=all",
        f"dataset.path={small(tmp_path / 'data')}",
        "general.operation_mode=chain_tqe",
        "training.steps=20",
        "training.model.filters=[4, 8]",
        "quantization.export_onnx=true",
        "quantization.onnx_int8=true",
    ]
    thresholds = {"q_clip_level_acc_threshold": "0", "q_patch_level_acc_threshold": "0"}
    workspace = tmp_path / "w"
    record = mlops_core.run("AED", workspace=workspace, overrides=overrides, parameters=thresholds)
    assert record.exit_code == 0, record.error
    folder = workspace / "runs" / record.run_id
    _check_evaluation(json.loads((folder / "evaluation.json").read_text()))
    assert "Test folds" in (folder / "report.html").read_text()
    figures = artifact(workspace, record, "evaluate", "figures")
    assert len(list(figures.glob("*_confusion_matrix_test_set.png"))) == 8
    assert set(json.loads((figures / "evaluation_full.json").read_text())["splits"]) == {"1", "2"}
    model = artifact(workspace, record, "quantize-2", "model")
    assert {path.name for path in model.iterdir()} >= {
        "quantized_model.tflite",
        "model.onnx",
        "quantized_model.onnx",
        "C_header",
    }
    shown = CliRunner().invoke(cli, ["--workspace", str(workspace), "runs", "show"])
    assert "Test folds\nfold" in shown.stdout
    refused = mlops_core.run(
        "AED", workspace=workspace, overrides=[*overrides, "quantization.max_flash_kib=1"], parameters=thresholds
    )
    assert refused.exit_code == 3
    assert {str(step.status) for step in refused.steps if step.name.startswith(("train", "pre"))} == {"reused"}


def _check_evaluation(evaluation):
    folds, classes = evaluation["tables"]
    assert [row[0] for row in folds["rows"]] == ["1", "2", "mean", "standard deviation"]
    assert sum(row[1] for row in classes["rows"]) == evaluation["notes"]["clips"] == 24
    values = {name: entry["value"] for name, entry in evaluation["multiclass_classification_metrics"].items()}
    assert values["onnx_clip_agreement"] == 1
    assert values["onnx_int8_clip_agreement"] >= 0.75
    assert abs(values["onnx_int8_clip_acc"] - values["clip_acc"]) <= 0.25
    assert values["fold_clip_acc_mean"] == pytest.approx(sum(row[3] for row in folds["rows"][:2]) / 2, abs=1e-4)
    assert evaluation["model_cost"]["model_flash_kib"]["value"] > 1


def artifact(workspace, record, step, output):
    digest = next(found for found in record.steps if found.name == step).outputs[output]
    with Store(workspace) as store:
        return store.artifacts.path(digest)


def test_the_option_folds_selects_all_folds(tmp_path):
    given = ("--workspace", str(tmp_path / "w"), "plan", "--usecase", "AED")
    shown = CliRunner().invoke(cli, [*given, "--folds"])
    assert [f"train-{fold}" in shown.output for fold in range(7)] == [False, True, True, True, True, True, False]
    narrowed = CliRunner().invoke(cli, [*given, "--set", "dataset.folds=[2,4]", "--folds"])
    assert [f"train-{fold}" in narrowed.output for fold in range(6)] == [False, False, True, False, True, False]


def test_a_use_case_without_folds_refuses_the_option(tmp_path):
    shown = CliRunner().invoke(cli, ["--workspace", str(tmp_path / "w"), "plan", "--usecase", "ABALONE", "--folds"])
    assert "dataset.folds" in str(shown.exception or shown.output)


def fold_means(record, workspace):
    """Return the means over the folds of the clip accuracy, quantized and float."""
    assert record.exit_code == 0, record.error
    evaluation = json.loads((workspace / "runs" / record.run_id / "evaluation.json").read_text())
    print(*evaluation["tables"][0]["rows"], sep="\n")  # noqa: T201  the figures are what it is run for
    mean = {row[0]: row for row in evaluation["tables"][0]["rows"]}["mean"]
    return mean[3], mean[5]


@pytest.mark.real_data
@pytest.mark.timeout(7200)
def test_the_pretrained_example_reaches_its_mean_over_the_folds_of_esc_10_quantized_and_not(
    tmp_path, esc10, yamnet_256
):
    overrides = [f"dataset.path={esc10}", "dataset.folds=all", f"training.model.weights={yamnet_256}"]
    record = mlops_core.run("AED", config=EXAMPLES / "esc10_yamnet.yaml", workspace=tmp_path, overrides=overrides)
    quantized, original = fold_means(record, tmp_path)
    assert quantized >= PRETRAINED_TARGET
    assert abs(original - quantized) <= 0.01


@pytest.mark.real_data
@pytest.mark.timeout(7200)
def test_the_example_from_random_weights_reaches_its_mean_over_the_folds_of_esc_10_quantized_and_not(tmp_path, esc10):
    overrides = [f"dataset.path={esc10}", "dataset.folds=all"]
    record = mlops_core.run("AED", config=EXAMPLES / "esc10_from_scratch.yaml", workspace=tmp_path, overrides=overrides)
    quantized, original = fold_means(record, tmp_path)
    assert quantized >= FROM_SCRATCH_TARGET
    assert abs(original - quantized) <= 0.01
