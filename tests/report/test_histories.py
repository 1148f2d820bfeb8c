"""Training histories: the format of history.csv and how long curves are thinned."""

import pytest

from mlops_core.errors import StepError
from mlops_core.report.histories import read_series, thinned


def history(tmp_path, text):
    path = tmp_path / "history.csv"
    path.write_text(text)
    return read_series(path)


def test_columns_with_the_same_name_after_their_prefix_share_a_quantity(tmp_path):
    x_label, series = history(
        tmp_path, "epoch,loss,val_loss,train_acc,validation_acc,nothing\n1,3,4,.1,.2,\n2,2,3,.3,.4,\n"
    )
    assert x_label == "epoch"
    assert [(column.name, column.quantity, column.is_held_out) for column in series] == [
        ("loss", "loss", False),
        ("val_loss", "loss", True),
        ("train_acc", "acc", False),
        ("validation_acc", "acc", True),
    ]
    assert series[1].points == ((1, 4), (2, 3))


def test_empty_cells_short_rows_and_non_finite_numbers_are_gaps(tmp_path):
    _, (loss, other) = history(tmp_path, "epoch,loss,other\n1,5,1\n2,,2\n3,nan,3\n\n4,inf,4\n5\n6,1,6\n")
    assert loss.points == ((1, 5), (6, 1))
    assert len(other.points) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no curve"),
        ("epoch\n1\n", "has no curve"),
        ("epoch,loss\n", "has no curve"),
        ("epoch,loss\n1,2\nlast,3\n", r"\(line 3\): 'last' is not a number"),
        ("epoch,loss\n,3\n", r"\(line 2\): '' is not a step"),
    ],
)
def test_error_in_a_history_names_the_line(tmp_path, text, message):
    with pytest.raises(StepError, match=message):
        history(tmp_path, text)


def test_thinned_curve_keeps_its_ends_and_extremes():
    points = [(float(epoch), 0.0) for epoch in range(100_000)]
    points[54_321] = (54_321.0, 9.0)
    points[777] = (777.0, -9.0)
    kept = thinned(points)
    assert len(kept) <= 400
    assert {points[0], points[-1], points[54_321], points[777]} <= set(kept)
    assert kept == sorted(kept)
