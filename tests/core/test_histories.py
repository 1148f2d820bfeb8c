"""The format of ``history.csv``: what is written is read back, and damaged files are refused with file and line."""

import math

import pytest

from mlops_core import HistoryRow, StepError, read_history, write_history
from mlops_core.steps.histories import HISTORY_FILE, read_history_header


def row(step, /, **values):
    return HistoryRow(step=step, values=values)


def test_rows_survive_a_round_trip_exactly(tmp_path):
    rows = [
        row(1, loss=0.1 + 0.2, accuracy=1.0),
        row(2, loss=-1e-300, accuracy=math.inf),
        row(10, loss=7, accuracy=-0.0),
    ]
    write_history(tmp_path, rows)
    assert list(read_history(tmp_path / HISTORY_FILE)) == rows
    assert math.copysign(1, list(read_history(tmp_path / HISTORY_FILE))[2].values["accuracy"]) == -1


def test_nan_stays_nan(tmp_path):
    write_history(tmp_path, [row(1, loss=math.nan, validation_loss=2.5)])
    (only,) = read_history(tmp_path / HISTORY_FILE)
    assert math.isnan(only.values["loss"])
    assert only.values["validation_loss"] == 2.5


def test_the_file_has_the_name_of_the_steps_and_whole_numbers_in_its_first_column(tmp_path):
    write_history(tmp_path, [row(1, loss=3.5, val_loss=4), row(2.0, loss=math.nan, val_loss=3)], step_name="epoch")
    assert (tmp_path / HISTORY_FILE).read_text() == "epoch,loss,val_loss\n1,3.5,4.0\n2,nan,3.0\n"
    assert read_history_header(tmp_path / HISTORY_FILE) == ("epoch", "loss", "val_loss")


def test_numbers_of_numpy_are_written_as_plain_numbers(tmp_path):
    numpy = pytest.importorskip("numpy")
    write_history(tmp_path, [row(numpy.int64(3), loss=numpy.float32(0.5))])
    assert (tmp_path / HISTORY_FILE).read_text() == "step,loss\n3,0.5\n"


def test_names_with_commas_survive_a_round_trip(tmp_path):
    rows = [HistoryRow(step=1, values={"loss, weighted": 1.0, 'the "other"': 2.0})]
    write_history(tmp_path, rows)
    assert list(read_history(tmp_path / HISTORY_FILE)) == rows


def test_a_training_without_measurements_writes_a_header_only(tmp_path):
    write_history(tmp_path, [], step_name="epoch")
    assert read_history_header(tmp_path / HISTORY_FILE) == ("epoch",)
    assert list(read_history(tmp_path / HISTORY_FILE)) == []


def test_empty_cells_short_and_blank_rows_are_gaps(tmp_path):
    (tmp_path / HISTORY_FILE).write_text("epoch,loss,other\n1,,2\n\n2\n3.5, nan ,4\n")
    first, second, third = read_history(tmp_path / HISTORY_FILE)
    assert (first.step, second.step, third.step) == (1, 2, 3.5)
    assert [math.isnan(item.values["loss"]) for item in (first, second, third)] == [True, True, True]
    assert (first.values["other"], third.values["other"]) == (2, 4)
    assert math.isnan(second.values["other"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(2, loss=1), row(2, loss=1)], r"history\.csv: step 2 follows 2; expected numbers that grow"),
        ([row(math.nan, loss=1)], "expected numbers that grow"),
        ([row(1, loss=1), row(2, accuracy=1)], r"step 2 has \['accuracy'\]; expected \['loss'\] in every row, NaN"),
        ([row(1, step=1)], "the columns are step, step; expected each name once"),
    ],
)
def test_an_invalid_history_is_not_written_and_the_earlier_file_stays(tmp_path, rows, message):
    write_history(tmp_path, [row(9, loss=0.25)])
    with pytest.raises(StepError, match=message):
        write_history(tmp_path, rows)
    assert list(read_history(tmp_path / HISTORY_FILE)) == [row(9, loss=0.25)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,loss\n1,2\n2,low\n", r"history\.csv \(line 3\): 'low' is not a number; expected one, or nan"),
        ("epoch,loss\n\nlast,3\n", r"\(line 3\): 'last' is not a number"),
        ("epoch,loss\n,3\n", r"\(line 2\): '' is not a step; expected a finite number"),
        ("epoch,loss\ninf,3\n", r"\(line 2\): 'inf' is not a step"),
        ("epoch,loss\n1,2,3\n", r"\(line 2\): 3 cells; expected 2: epoch, loss"),
        ("epoch,loss,loss\n1,2,3\n", r"history\.csv: the columns are epoch, loss, loss; expected each name once"),
        (b"epoch,loss\n\xff,2\n", r"history\.csv cannot be read: .*utf-8"),
        (f"epoch,loss\n{'1' * 200_000},2\n", "cannot be read: field larger than field limit"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name_and_line(tmp_path, text, message):
    (tmp_path / HISTORY_FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StepError, match=message):
        list(read_history(tmp_path / HISTORY_FILE))


@pytest.mark.parametrize("read", [lambda path: list(read_history(path)), read_history_header])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(StepError, match=r"history\.csv cannot be read: .*No such file"):
        read(tmp_path / HISTORY_FILE)
