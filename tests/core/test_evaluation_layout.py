"""The result file in the layout that existing systems read."""

import json
import random

import pytest

from mlops_core import MetricCurves
from mlops_core.datasets.inspections import FactTable
from mlops_core.errors import PluginError
from mlops_core.evaluation.confusion import ConfusionMatrix, matrices_from_json
from mlops_core.evaluation.evaluation_file import read_evaluation, write_evaluation
from mlops_core.evaluation.metrics import MetricReport


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


def many_classes(density):
    names = tuple(f"class-{number:04d}" for number in range(1000))
    draw = random.Random(density)
    counts = tuple(tuple(draw.randrange(1, 10) if draw.random() < density else 0 for _ in names) for _ in names)
    return ConfusionMatrix(classes=names, counts=counts, section="classification_metrics")


@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
def test_a_matrix_of_a_thousand_classes_is_written_once_and_compactly_and_read_back(tmp_path, density):
    matrix = many_classes(density)
    write_evaluation(tmp_path, MetricReport(values={}, confusion_matrices={"test": matrix}), [])
    path = tmp_path / "evaluation.json"
    assert path.stat().st_size <= 3_000_000
    data = json.loads(path.read_text())
    assert "classification_metrics" not in data
    assert len(data["confusion_matrices"]["test"]["rows"]) == 1000
    assert len(path.read_text().splitlines()) < 3000
    assert read_evaluation(tmp_path, []).confusion_matrices == {"test": matrix}


def test_rows_of_a_large_matrix_hold_counts_or_the_cells_that_are_not_0():
    size = 101
    counts = [[0] * size for _ in range(size)]
    counts[0][3], counts[0][100] = 12, 1
    counts[1] = list(range(size))
    counts[2][0] = 0.5
    matrix = ConfusionMatrix(classes=tuple(map(str, range(size))), counts=tuple(map(tuple, counts)))
    rows = matrix.to_json()["rows"]
    assert rows[0] == "3:12 100:1"
    assert rows[1] == " ".join(map(str, range(size)))
    assert (rows[2], rows[3]) == ("0:0.5", "")
    assert matrices_from_json({"test": matrix.to_json()}) == {"test": matrix}


@pytest.mark.parametrize("rows", [["0:x"], ["-1:3"], ["2:1"], 3, [None]])
def test_a_large_matrix_that_was_changed_by_hand_is_left_out(rows):
    assert matrices_from_json({"test": {"classes": ["a", "b"], "rows": rows}}) == {}


CURVES = MetricCurves(
    title="ROC",
    x_label="false",
    y_label="true",
    lines={"all": ((0.0, 0.0), (0.5, 0.9), (1.0, 1.0)), "b": ((0.0, 1.0),)},
)


def test_curves_are_written_beside_the_values_and_read_back(tmp_path):
    write_evaluation(tmp_path, MetricReport(values={}, curves=(CURVES,)), [])
    assert json.loads((tmp_path / "evaluation.json").read_text())["curves"][0]["lines"]["b"] == [[0.0, 1.0]]
    assert read_evaluation(tmp_path, []).curves == (CURVES,)


@pytest.mark.parametrize(
    "damaged", ["x", 3, [{}], [{"title": "t", "x_label": "x", "y_label": "y", "lines": {"a": [[1, "?"]]}}]]
)
def test_curves_that_were_changed_by_hand_are_left_out(tmp_path, damaged):
    (tmp_path / "evaluation.json").write_text(json.dumps({"curves": damaged}))
    assert read_evaluation(tmp_path, []).curves == ()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({}, "0 lines"),
        ({str(n): ((0.0, 1.0),) for n in range(7)}, "7 lines"),
        ({"a": ()}, "'a' has no points"),
        ({"a": ((1.0, 0.0), (0.0, 0.0))}, "in order of x"),
        ({"a": ((0.0, float("nan")),)}, "not finite"),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(lines, words):
    with pytest.raises(PluginError, match=words):
        MetricCurves(title="t", x_label="x", y_label="y", lines=lines)
