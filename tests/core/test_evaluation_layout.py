"""The result file in the layout that existing systems read."""

import json

from mlops_core.metrics import ConfusionMatrix, MetricReport, read_evaluation, write_evaluation


def test_a_confusion_matrix_stands_class_by_class_in_the_section_that_it_names_and_is_read_back(tmp_path):
    matrix = ConfusionMatrix(
        classes=("cat", "dog"), counts=((3, 1), (0, 2)), section="multiclass_classification_metrics"
    )
    write_evaluation(tmp_path, MetricReport(values={}, confusion_matrices={"test": matrix}), [])
    data = json.loads((tmp_path / "evaluation.json").read_text())
    assert data["multiclass_classification_metrics"]["confusion_matrix"] == {
        "cat": {"cat": 3, "dog": 1},
        "dog": {"cat": 0, "dog": 2},
    }
    assert read_evaluation(tmp_path, []).confusion_matrices == {"test": matrix}


def test_a_confusion_matrix_without_a_section_stands_only_among_the_matrices(tmp_path):
    matrix = ConfusionMatrix(classes=("cat", "dog"), counts=((3, 1), (0, 2)))
    write_evaluation(tmp_path, MetricReport(values={}, confusion_matrices={"test": matrix}), [])
    assert set(json.loads((tmp_path / "evaluation.json").read_text())) == {"format", "confusion_matrices", "notes"}
