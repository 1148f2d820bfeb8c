"""The preview of a row in the report of a run."""

import pytest
from mlops_tabular_regression.tables.preview import preview_row

TABLE = 'kind,size\na,1\n\n"b\nb",2\n'


@pytest.mark.parametrize(
    ("content", "sample", "text"),
    [
        (TABLE, "row 1", "kind: a\nsize: 1"),
        (TABLE, "row 2", "kind: b\nb\nsize: 2"),
        ("\ufeff" + TABLE.replace(",", ";"), "row 1", "kind: a\nsize: 1"),
        ("a,1\nb,2\nc,3\n", "row 1", "column 1: a\ncolumn 2: 1"),
        ("a,1\nb,2\nc,3\n", "row 3", "column 1: c\ncolumn 2: 3"),
    ],
)
def test_the_cells_of_a_row_are_shown_with_their_columns(tmp_path, content, sample, text):
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    assert preview_row(tmp_path, sample).data.decode() == text


@pytest.mark.parametrize("sample", ["row 9", "row 0", "offer 1", "row -1", ""])
def test_a_sample_that_names_no_row_has_no_preview(tmp_path, sample):
    (tmp_path / "t.csv").write_text(TABLE)
    assert preview_row(tmp_path, sample) is None


def test_several_tables_have_no_preview(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(TABLE)
    assert preview_row(tmp_path, "row 1") is None
