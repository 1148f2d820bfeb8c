"""The result file in the layout that existing systems read."""

import json

import pytest

from mlops_core.datasets.inspections import FactTable
from mlops_core.evaluation.metrics import ConfusionMatrix, MetricReport, read_evaluation, write_evaluation


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


def test_tables_are_written_beside_the_values_and_read_back(tmp_path):
    table = FactTable(title="Folds", columns=("fold", "accuracy"), rows=(("1", 0.5), ("mean", 0.5)))
    write_evaluation(tmp_path, MetricReport(values={}, tables=(table,)), [])
    assert json.loads((tmp_path / "evaluation.json").read_text())["tables"] == [
        {"title": "Folds", "columns": ["fold", "accuracy"], "rows": [["1", 0.5], ["mean", 0.5]]}
    ]
    assert read_evaluation(tmp_path, []).tables == (table,)


@pytest.mark.parametrize("damaged", ["x", 3, [{"title": "x"}], [{"title": "x", "columns": ["a"], "rows": [[1, 2]]}]])
def test_tables_that_were_changed_by_hand_are_left_out(tmp_path, damaged):
    (tmp_path / "evaluation.json").write_text(json.dumps({"tables": damaged}))
    assert read_evaluation(tmp_path, []).tables == ()
