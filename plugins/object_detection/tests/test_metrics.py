"""Metrics from stored detections: means over measured classes, the operating point, the matrix, empty cases."""

import math
from dataclasses import replace

import pytest
from mlops_object_detection.declarations import declared_metrics
from mlops_object_detection.metrics import compute_metrics

from mlops_core import FoundBox, Prediction, Predictions, TrueBox

CLASSES = ("Valve/Gate", "Valve/Ball", "Pump")
FACTS = {"box_score_threshold": 0.3, "validation_iou_threshold": 0.5}


def row(sample, truth, found):
    """Boxes of 10 x 10 pixels: (class, left) and, where found, a score."""
    true = tuple(TrueBox(label=label, box=(x, 0.0, x + 10.0, 10.0)) for label, x in truth)
    boxes = tuple(FoundBox(label=label, box=(x, 0.0, x + 10.0, 10.0)) for label, x, _ in found)
    scores = tuple(score for *_, score in found)
    return Prediction(sample=sample, group=sample, label=len(true), scores=scores, truth=true, found=boxes)


ROWS = (
    row("a", [("Valve/Gate", 0), ("Valve/Gate", 20)], [("Valve/Gate", 0, 0.9), ("Valve/Gate", 50, 0.8)]),
    row("b", [("Pump", 0)], [("Pump", 0, 0.2), ("Valve/Ball", 60, 0.1)]),
    row("c", [("Valve/Gate", 0)], [("Pump", 0, 0.7)]),
    row("d", [], []),
)


def report(rows=ROWS, facts=FACTS):
    return compute_metrics(Predictions(classes=CLASSES, rows=tuple(rows), facts=facts, has_boxes=True))


def test_the_mean_is_over_the_classes_that_have_objects():
    found = report()
    gate = 34 / 101  # one of three objects, at a precision of 1
    pump = 0.5  # found, behind one that is none
    assert found.values["mean_average_precision"].value == pytest.approx((gate + pump) / 2)
    assert found.values["mean_average_precision_50_95"].value == pytest.approx((gate + pump) / 2)
    assert found.notes["classes that are not measured"] == "Valve/Ball"
    cells = {cells[0]: cells[1:] for cells in found.tables[0].rows}
    assert cells["Valve/Ball"] == (0, "not measured", "not measured", "not measured", "not measured")
    assert cells["Valve/Gate"][:2] == (3, round(gate, 4))
    categories = {cells[0]: cells[1:] for cells in found.tables[1].rows}
    assert categories == {"Pump": (1, 0.5), "Valve": (1, round(gate, 4))}


def test_precision_and_recall_are_those_of_the_operating_point():
    found = report().values
    assert found["precision"].value == pytest.approx(1 / 3)
    assert found["recall"].value == pytest.approx(1 / 4)
    lower = report(facts=FACTS | {"box_score_threshold": 0.15}).values
    assert lower["precision"].value == lower["recall"].value == pytest.approx(2 / 4)


def test_the_operating_point_also_has_an_overlap():
    shifted = [replace(ROWS[1], found=(FoundBox(label="Pump", box=(2.0, 0.0, 12.0, 10.0)),), scores=(0.9,))]
    assert report(shifted).values["recall"].value == 1
    assert report(shifted, facts=FACTS | {"validation_iou_threshold": 0.7}).values["recall"].value == 0


def test_the_matrix_has_a_class_for_nothing():
    matrix = report().confusion_matrices["test"]
    assert matrix.classes == (*CLASSES, "(nothing)")
    assert matrix.counts == ((1, 0, 1, 1), (0, 0, 0, 0), (0, 0, 0, 1), (1, 0, 0, 0))


def test_perfect_detections_are_perfect_and_none_are_zero():
    perfect = [
        replace(
            one,
            found=tuple(FoundBox(label=box.label, box=box.box) for box in one.truth),
            scores=(0.9,) * len(one.truth),
        )
        for one in ROWS
    ]
    assert {value.value for value in report(perfect).values.values()} == {1.0}
    assert {value.value for value in report(replace(one, found=(), scores=()) for one in ROWS).values.values()} == {0.0}


def test_without_any_object_nothing_is_measured():
    assert all(math.isnan(value.value) for value in report(ROWS[3:]).values.values())


def test_detections_in_a_crowd_count_neither_as_right_nor_as_wrong():
    crowd = TrueBox(label="Pump", box=(100.0, 0.0, 200.0, 100.0), is_crowd=True)
    boxes = tuple(FoundBox(label="Pump", box=(100.0 + 20 * n, 20.0, 115.0 + 20 * n, 40.0)) for n in range(4))
    one = row("b", [("Pump", 0)], [("Pump", 0, 0.9)])
    crowded = replace(one, truth=(*one.truth, crowd), found=(*one.found, *boxes), scores=(0.9, *(0.95,) * 4))
    found = report([crowded])
    assert {value.value for value in found.values.values()} == {1.0}
    assert found.confusion_matrices["test"].counts[-1] == (0, 0, 0, 0)


def test_every_declared_metric_is_computed_in_any_order_of_rows():
    found = report(reversed(ROWS)).values
    assert set(found) == {metric.name for metric in declared_metrics()}
    assert found == report().values


def test_rows_of_other_models_do_not_count():
    other = replace(ROWS[0], model="other", found=(), scores=())
    assert report([*ROWS, other]).values == report().values


def square(label, side, *, left=0.0):
    return {"label": label, "box": (left, 0.0, left + side, side)}


def test_precision_is_also_per_size_and_per_class_and_size():
    truth = [square("Pump", 20), square("Pump", 50, left=100), square("Valve/Gate", 200, left=300)]
    found = [truth[0], square("Pump", 200, left=700), truth[2]]
    one = Prediction(
        sample="a",
        group="a",
        label=3,
        scores=(0.9, 0.95, 0.8),
        truth=tuple(TrueBox(**box) for box in truth),
        found=tuple(FoundBox(**box) for box in found),
    )
    tables = {table.title: table for table in report([one]).tables}
    sizes = {cells[0]: cells[2:] for cells in tables["average precision per size"].rows}
    assert sizes == {"small": (1, 1, 1.0, 1.0), "medium": (1, 1, 0.0, 0.0), "large": (1, 1, 1.0, 1.0)}
    assert tables["AP 50-95 per class and size"].rows == (
        ("Valve/Gate", "not measured", "not measured", 1.0),
        ("Pump", 1.0, 0.0, "not measured"),
    )


def test_sizes_without_objects_are_not_measured():
    tables = {table.title: table for table in report(ROWS[3:]).tables}
    assert all(
        cells[2:] == (0, 0, "not measured", "not measured") for cells in tables["average precision per size"].rows
    )
    assert not tables["AP 50-95 per class and size"].rows


def test_the_mean_of_a_curve_is_the_average_precision():
    found = report()
    (curves,) = found.curves
    assert list(curves.lines) == ["all classes", "Pump", "Valve/Gate"]
    values = {name: sum(y for _, y in points) / len(points) for name, points in curves.lines.items()}
    cells = {cells[0]: cells[2] for cells in found.tables[0].rows}
    assert values["Pump"] == pytest.approx(cells["Pump"], abs=1e-4)
    assert values["Valve/Gate"] == pytest.approx(cells["Valve/Gate"], abs=1e-4)
    assert values["all classes"] == pytest.approx(found.values["mean_average_precision"].value, abs=1e-4)


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (["Pump"], ["all classes"]),
        ([f"Valve/{n}" for n in range(4)] + ["Pump/a", "Pump/b"], ["all classes", "Pump", "Valve"]),
        ([f"c{n}" for n in range(9)], ["all classes", "c5", "c6", "c7", "c8", "other classes"]),
    ],
    ids=["one", "categories", "many"],
)
def test_many_classes_are_drawn_in_groups_the_worst_by_themselves(names, lines):
    """The first five classes are found, the others are not."""
    rows = [row(name, [(name, 0)], [(name, 0, 0.9)] if number < 5 else []) for number, name in enumerate(names)]
    found = compute_metrics(Predictions(classes=tuple(names), rows=tuple(rows), facts=FACTS, has_boxes=True))
    (curves,) = found.curves
    assert list(curves.lines) == lines
    if "other classes" in lines:
        assert {y for _, y in curves.lines["c8"]} == {0.0}
        assert {y for _, y in curves.lines["other classes"]} == {1.0}


def test_without_any_object_there_is_no_curve():
    assert report(ROWS[3:]).curves == ()
