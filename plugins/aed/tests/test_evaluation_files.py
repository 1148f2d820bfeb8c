"""Results of an evaluation: numbers with the names that existing systems read, pictures, all values as JSON."""

import json
import math
from dataclasses import replace

import pytest
from mlops_aed.config import AedConfig
from mlops_aed.data.clips import Clip, write_split
from mlops_aed.evaluation.figures import draw_matrix
from mlops_aed.evaluation.files import write
from mlops_aed.evaluation.metrics import compute_metrics, declared_metrics, gate
from mlops_aed.evaluation.votes import sample_name
from mlops_aed.pipeline_steps import steps
from mlops_aed.plugin import mlops_get_sample_preview
from PIL import Image

from mlops_core import ConfusionMatrix, Prediction, Predictions, StepContext, row_digest
from mlops_core.evaluation.evaluation_file import read_evaluation, write_evaluation
from mlops_core.evaluation.metrics import check_report
from mlops_core.predictions import digest_test_set
from mlops_core.steps.context import StepRequest

CLASSES = ("cat", "dog")
COST = {
    "flash_bytes": 102_400,
    "weights_bytes": 90_000,
    "activations_bytes": 40_960,
    "multiplications": 2_000_000,
    "input_clipping_rate": 0.25,
}
QUANTIZED = {"general": {"operation_mode": "chain_tqe"}}


def row(sample, label, first, *, part=0, group="g", model=""):
    return Prediction(sample=sample, part=part, group=group, label=label, scores=(first, 1 - first), model=model)


def two_models():
    """Four clips, of which the quantized model gets three right and the float one all; the first has two patches."""
    quantized = [
        row("a", "cat", 0.9),
        row("a", "cat", 0.4, part=1),
        row("b", "cat", 0.3),
        row("c", "dog", 0.2),
        row("d", "dog", 0.1),
    ]
    original = [row(item.sample, item.label, item.scores[0], part=item.part, model="float") for item in quantized]
    original[2] = row("b", "cat", 0.6, model="float")
    return Predictions(classes=CLASSES, rows=(*quantized, *original), facts=COST)


def request(tmp_path):
    step = steps(AedConfig())[-1]
    for name in step.outputs:
        (tmp_path / name).mkdir()
    (tmp_path / "split").mkdir()
    write_split(
        tmp_path / "split",
        [
            Clip(name=name, label="cat", group=name, fold=1, part=part, digest=row_digest([name]))
            for name, part in (("a", "train"), ("b", "test"))
        ],
    )
    return StepRequest(
        use_case="AED",
        step=step,
        config={},
        parameters={},
        seed=7,
        inputs={"split": tmp_path / "split"},
        outputs={name: tmp_path / name for name in step.outputs},
        scratch=tmp_path,
    )


def evaluate(tmp_path, predictions):
    context = StepContext(request(tmp_path))
    write(context, predictions, splits={"": context.input("split")})
    return tmp_path / "figures"


def test_accuracy_lost_by_quantization_is_the_difference_of_the_two_models():
    values = compute_metrics(two_models()).values
    assert values["clip_acc"].value == 0.75
    assert values["float_clip_acc"].value == 1.0
    assert values["int8_clip_acc_drop"].value == 0.25
    assert values["int8_patch_acc_drop"].value == pytest.approx(0.2)
    assert values["clip_agreement"].value == 0.75
    assert values["model_flash_kib"].value == 100
    assert values["activations_kib"].value == 40
    assert values["mega_macs"].value == 2
    assert values["input_clipping_rate"].value == 0.25


def test_agreement_is_reported_per_class():
    (table,) = compute_metrics(two_models()).tables
    assert table.columns == ("class", "clips", "right, quantized", "right, float", "same class", "agreement")
    assert table.rows == (("cat", 2, 1, 2, 1, 0.5), ("dog", 2, 2, 2, 2, 1.0))


@pytest.mark.parametrize(
    ("limits", "passed"),
    [
        ({}, True),
        ({"max_accuracy_drop": 0.25, "max_flash_kib": 100}, True),
        ({"max_accuracy_drop": 0.24}, False),
        ({"max_flash_kib": 99}, False),
    ],
)
def test_a_gate_refuses_a_quantized_model_above_its_limits(limits, passed):
    config = AedConfig.model_validate({**QUANTIZED, "quantization": limits})
    thresholds = {"q_clip_level_acc_threshold": 0.5, "q_patch_level_acc_threshold": 0.5}
    report = compute_metrics(two_models())
    verdict = gate(config).evaluate(report, metrics=declared_metrics(config), parameters=thresholds)
    assert verdict.accepted is passed


def test_each_metric_of_a_comparison_is_declared_and_in_range(tmp_path):
    config = AedConfig.model_validate(QUANTIZED)
    report, declared = compute_metrics(two_models()), declared_metrics(config)
    assert check_report(report, declared) == ()
    write_evaluation(tmp_path, report, declared)
    data = json.loads((tmp_path / "evaluation.json").read_text())
    assert data["multiclass_classification_metrics"]["clip_acc"]["value"] == 0.75
    assert data["multiclass_classification_metrics"]["patch_acc"]["value"] == pytest.approx(0.6)
    assert data["model_cost"]["model_flash_kib"]["value"] == 100
    assert read_evaluation(tmp_path, declared).tables == report.tables


def test_an_exported_model_is_measured_beside_the_original():
    given = two_models()
    exported = [row(item.sample, item.label, 0.45, part=item.part, model="onnx") for item in given.rows[:5]]
    found = compute_metrics(
        Predictions(classes=CLASSES, rows=(*given.rows, *exported), facts={**COST, "onnx_bytes": 512})
    )
    assert found.values["onnx_clip_acc"].value == 0.5
    assert found.values["onnx_clip_agreement"].value == 0.5
    assert found.values["onnx_kib"].value == 0.5
    config = AedConfig.model_validate({**QUANTIZED, "quantization": {"export_onnx": True}})
    assert check_report(found, declared_metrics(config)) == ()
    quantized = tuple(replace(item, model="onnx_int8") for item in given.rows if item.model == "float")
    facts = {**COST, "onnx_bytes": 512, "onnx_int8_bytes": 256}
    found = compute_metrics(Predictions(classes=CLASSES, rows=(*given.rows, *exported, *quantized), facts=facts))
    assert (found.values["onnx_int8_clip_acc"].value, found.values["onnx_int8_clip_agreement"].value) == (1, 1)
    assert found.values["onnx_int8_kib"].value == 0.25
    config = AedConfig.model_validate({**QUANTIZED, "quantization": {"export_onnx": True, "onnx_int8": True}})
    assert check_report(found, declared_metrics(config)) == ()


def test_folds_are_reported_one_by_one_with_mean_and_deviation():
    rows = (
        row("fold-1//a", "cat", 0.9),
        row("fold-1//b", "dog", 0.9),
        row("fold-2//a", "cat", 0.9),
        row("fold-10//a", "cat", 0.9),
    )
    found = compute_metrics(Predictions(classes=CLASSES, rows=rows))
    (table,) = found.tables
    assert [line[0] for line in table.rows] == ["1", "2", "10", "mean", "standard deviation"]
    assert table.rows[0] == ("1", 2, 2, 0.5, 0.5)
    assert found.values["fold_clip_acc_mean"].value == pytest.approx(2.5 / 3)
    assert found.values["fold_clip_acc_mean"].standard_deviation == pytest.approx(math.sqrt(1 / 12))
    assert found.values["clip_acc"].value == 0.75


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("a.wav", ("", "a.wav")),
        ("float/a.wav", ("", "float/a.wav")),
        ("fold-12//b/a.wav", ("12", "b/a.wav")),
        ("fold-12/a.wav", ("", "fold-12/a.wav")),
        ("fold-x//a.wav", ("", "fold-x//a.wav")),
    ],
)
def test_the_name_of_a_sample_holds_its_fold(sample, expected):
    found = sample_name(sample)
    assert (found.fold, found.clip) == expected


def test_folders_called_like_a_model_or_a_fold_are_clips_of_the_evaluated_model():
    rows = (row("float/a", "cat", 0.9), row("onnx/b", "cat", 0.1), row("fold-1/c", "dog", 0.1))
    found = compute_metrics(Predictions(classes=CLASSES, rows=rows))
    assert found.values["clip_acc"].value == pytest.approx(2 / 3)
    assert found.notes["clips"] == 3
    assert not found.values.keys() & {"float_clip_acc", "onnx_clip_acc", "fold_clip_acc_mean"}


def test_a_quantized_model_has_the_test_set_of_the_float_model_alone():
    both = two_models()
    alone = Predictions(
        classes=CLASSES, rows=tuple(replace(item, model="") for item in both.rows if item.model == "float")
    )
    other_patches = Predictions(classes=CLASSES, rows=tuple(item for item in alone.rows if item.part == 0))
    assert digest_test_set(both) == digest_test_set(alone) == digest_test_set(other_patches)


def test_a_sample_of_any_fold_has_a_preview(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.ogg").write_bytes(b"sound")
    assert mlops_get_sample_preview("fold-2//a.ogg", tmp_path, None).data == b"sound"
    assert mlops_get_sample_preview("a.ogg", tmp_path, None).data == b"sound"


def test_pictures_have_the_names_of_the_model_zoo(tmp_path):
    figures = evaluate(tmp_path, two_models())
    assert {path.name for path in figures.glob("*.png")} == {
        f"{model}_model_{level}_confusion_matrix_test_set.png"
        for model in ("float", "quant")
        for level in ("clip", "patch")
    }


def test_a_picture_is_darkest_where_all_of_a_class_are(tmp_path):
    draw_matrix(ConfusionMatrix(classes=CLASSES, counts=((4, 0), (2, 2))), tmp_path / "m.png", title="m")
    with Image.open(tmp_path / "m.png") as picture:
        top, bottom = (
            [sum(picture.getpixel((155 + 56 * column, 45 + 56 * line))) for column in (0, 1)] for line in (0, 1)
        )
    assert top[0] < bottom[0] == bottom[1] < top[1]


def test_the_full_evaluation_has_both_models_with_counts_classes_loss_and_split(tmp_path):
    account = json.loads((evaluate(tmp_path, two_models()) / "evaluation_full.json").read_text())
    assert account["seed"] == 7
    assert account["models"]["quant"]["clip"]["accuracy"]["count"] == 4
    found = account["models"]["quant"]["clip"]["classes"]["cat"]
    assert found == {"count": 2, "precision": 1.0, "recall": 0.5, "f1": 0.666667}
    assert account["models"]["float"]["patch"]["confusion_matrix"]["dog"] == {"cat": 0, "dog": 2}
    expected = -sum(map(math.log, (0.9, 0.4, 0.6, 0.8, 0.9))) / 5
    assert account["models"]["float"]["loss"] == pytest.approx(expected, abs=1e-5)
    assert account["splits"]["all"]["train"] == account["splits"]["all"]["test"] == 1
    assert len(account["splits"]["all"]["sha256"]) == 64


def test_a_relative_mlflow_folder_is_relative_to_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = AedConfig.model_validate({"mlflow": {"uri": "./experiments_outputs\\mlruns"}})
    assert config.mlflow.uri == str(tmp_path / "experiments_outputs" / "mlruns")
    assert AedConfig.model_validate({"mlflow": {"uri": "http://h:5000"}}).mlflow.uri == "http://h:5000"
