"""Numbers have the separators that the schema declares; anything else is refused with the cell as it is written."""

import math
import unicodedata
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlops_tabular_regression.tables.preview import preview_row
from pydantic import ValidationError

HEADER = "kind;size;shell_weight;age\n"


def weights(read, *cells, **settings):
    """Return the values of one column that holds `cells`, and the violations as text."""
    lines = (f'a;1;"{cell}";3\n' for cell in cells)
    result = read(HEADER + "".join(lines), delimiter=";", rules={"type": "report"}, **settings)
    return [row[2] for row in result.features], [str(violation) for violation in result.violations]


@pytest.mark.parametrize(
    ("cell", "decimal", "thousands", "number"),
    [
        ("312,345", ",", None, 312.345),
        ("312,345", ",", ".", 312.345),
        ("312.345", ",", ".", 312345),
        ("312.345", ".", None, 312.345),
        ("312,345", ".", ",", 312345),
        ("1.234.567,8", ",", ".", 1234567.8),
        ("-1,234,567.89", ".", ",", -1234567.89),
        ("1 234,5", ",", " ", 1234.5),
        ("1\u00a0234\u00a0567", ",", " ", 1234567),
        ("1\u202f234.5", ".", " ", 1234.5),
        ("1'234.5", ".", "'", 1234.5),
        ("1\u2019234.5", ".", "'", 1234.5),
        ("+1.234,5e3", ",", ".", 1234500),
        ("12345,5", ",", ".", 12345.5),
        (",5", ",", None, 0.5),
        ("1e-3", ",", ".", 0.001),
    ],
)
def test_a_number_is_read_by_the_declared_separators(read, cell, decimal, thousands, number):
    assert weights(read, cell, "7", decimal=decimal, thousands=thousands) == ([number, 7], [])


@pytest.mark.parametrize(
    ("cell", "decimal", "thousands"),
    [
        ("312.345", ",", None),
        ("1.5", ",", None),
        ("1.5", ",", "."),
        ("0.500", ",", "."),
        ("12.34.567", ",", "."),
        ("1234.567", ",", "."),
        ("1.234.5", ",", "."),
        ("1,234,5", ",", "."),
        ("1,234.567", ",", "."),
        ("312,345", ".", None),
        ("0,500", ".", ","),
        ("1,23", ".", ","),
        ("1 234", ".", None),
        ("1'234", ",", "."),
        ("1_000", ",", "."),
        ("1.234.", ",", "."),
    ],
)
def test_other_separators_are_refused_and_the_cell_is_quoted_as_it_is_written(read, cell, decimal, thousands):
    (value, other), (message,) = weights(read, cell, "7", decimal=decimal, thousands=thousands)
    assert math.isnan(value)
    assert other == 7
    assert f"row 1 (line 2), column 'shell_weight': {cell!r}; expected a number" in message


def test_the_error_names_the_separators_that_were_expected(read):
    _, (message,) = weights(read, "312.345", decimal=",")
    assert message.endswith("expected a number, written with table.decimal ',' and table.thousands null")
    _, (message,) = weights(read, "many", decimal=",")
    assert message.endswith("'many'; expected a number")
    result = read(HEADER + "a;1;0;3,5\n", decimal=",", rules={"target": "drop"})
    assert str(result.violations[0]).endswith("'3,5'; expected a whole number >= 0")


def test_a_cell_that_is_out_of_range_is_quoted_as_it_is_written(read):
    result = read(HEADER + "a;11,25;0;3\n", decimal=",", rules={"range": "report"})
    assert "column 'size': '11,25'; expected a number > 0 and <= 10" in str(result.violations[0])


@pytest.mark.parametrize("settings", [{"thousands": "."}, {"decimal": ",", "thousands": ","}])
def test_thousands_and_decimal_must_differ(table, settings):
    with pytest.raises(ValidationError, match="thousands and decimal are both"):
        table(**settings)


def test_a_file_without_a_header_is_recognised_by_numbers_with_thousands(read):
    result = read("a;1;1.234;3\nb;2;2;4\n", decimal=",", thousands=".")
    assert [row[2] for row in result.features] == [1234, 2]


def test_the_preview_knows_a_first_row_with_decimal_commas_from_a_header(tmp_path):
    (tmp_path / "table.csv").write_text("a;1,5;2.000,5\nb;2,5;3\n")
    (tmp_path / "._table.csv").write_bytes(b"metadata of macOS")
    assert preview_row(tmp_path, "row 1").data.decode() == "column 1: a\ncolumn 2: 1,5\ncolumn 3: 2.000,5"


# --- Categories -----------------------------------------------------------------------------------------------

NUMBERED = (
    {"name": "kind", "type": "category", "categories": ("1", "2", "4"), "may_be_missing": True},
    {"name": "size"},
    {"name": "age", "type": "integer"},
)


def codes(read, kind, tmp_path, columns=NUMBERED, **settings):
    pq.write_table(pa.table({"kind": kind, "size": [1.0] * len(kind), "age": [3] * len(kind)}), tmp_path / "t.parquet")
    result = read(None, name="t.parquet", columns=columns, **settings)
    assert [str(violation) for violation in result.violations] == []
    return [None if math.isnan(row[0]) else row[0] for row in result.features]


@pytest.mark.parametrize(
    "kind",
    [
        pa.array([4, None, 1], pa.int64()),
        pa.array([4.0, None, 1.0], pa.float64()),
        pa.array([4.0, float("nan"), 1.0], pa.float64()),
        pa.array([4.0, None, 1.0], pa.float32()),
        pa.array([Decimal("4.00"), None, Decimal("1.00")], pa.decimal128(5, 2)),
        pa.array([4.0, None, 1.0]).dictionary_encode(),
        pa.array(["4", None, "1"]),
        pa.array(["4.0", "", "1.0"]),
        pa.array([b"4", None, b"1.0"]),
    ],
    ids=["integers", "floats", "NaN", "short floats", "decimals", "dictionary", "texts", "floats as text", "bytes"],
)
def test_whole_numbers_of_any_type_are_categories(read, kind, tmp_path):
    assert codes(read, kind, tmp_path) == [2, None, 0]


@pytest.mark.parametrize("kind", [pa.array([4, 1]), pa.array([4.0, 1.0]), pa.array(["4.00", "1"])])
def test_categories_declared_with_decimal_places_are_those_numbers(read, kind, tmp_path):
    columns = ({"name": "kind", "type": "category", "categories": ("1.0", "2.0", "4.0")}, *NUMBERED[1:])
    assert codes(read, kind, tmp_path, columns=columns) == [2, 0]


@pytest.mark.parametrize("categories", [("true", "false"), ("True", "False"), ("TRUE", "FALSE")])
def test_truth_values_are_categories_in_any_letters(read, tmp_path, categories):
    columns = ({"name": "kind", "type": "category", "categories": categories}, *NUMBERED[1:])
    assert codes(read, pa.array([True, False]), tmp_path, columns=columns) == [0, 1]


def test_two_categories_of_one_meaning_differ_by_their_spelling(read):
    columns = ({"name": "kind", "type": "category", "categories": ("4", "4.0")}, *NUMBERED[1:])
    result = read("kind,size,age\n4,1,3\n4.0,1,3\n4.00,1,3\n", columns=columns)
    assert [row[0] for row in result.features][:2] == [0, 1]
    assert [(one.row, one.found) for one in result.violations] == [(3, "4.00")]


def test_fractions_keep_their_shortest_text(read, tmp_path):
    columns = ({"name": "kind", "type": "category", "categories": ("0.1", "0.25")}, *NUMBERED[1:])
    assert codes(read, pa.array([0.1, 0.25], pa.float32()), tmp_path, columns=columns) == [0, 1]


def test_whole_numbers_in_a_text_file_are_categories(read):
    result = read("kind,size,age\n4.0,1,3\n,1,3\n1,1,3\n2.00,1,3\n", columns=NUMBERED)
    assert [row[0] for row in result.features if not math.isnan(row[0])] == [2, 0, 1]
    result = read("kind;size;age\n4,0;1;3\n", columns=NUMBERED, decimal=",")
    assert [row[0] for row in result.features] == [2]


@pytest.mark.parametrize("cell", ["4.5", "4.", "3.0", "04", "4.01"])
def test_other_numbers_are_not_categories(read, cell):
    (violation,) = read(f"kind,size,age\n{cell},1,3\n", columns=NUMBERED).violations
    assert str(violation).endswith(f"'{cell}'; expected one of 1, 2, 4")


def test_categories_and_groups_in_different_normal_forms_are_equal(read, table):
    composed, decomposed = (unicodedata.normalize(form, "männlich") for form in ("NFC", "NFD"))
    columns = ({"name": "kind", "type": "category", "categories": (composed, "b")}, *NUMBERED[1:])
    result = read(f"kind,size,age,site\n{decomposed},1,3,{decomposed}\n{composed},1,4,{composed}\n", columns=columns)
    assert [row[0] for row in result.features] == [0, 0]
    with pytest.raises(ValidationError, match="two or more different categories"):
        table(columns=({"name": "kind", "type": "category", "categories": (composed, decomposed)}, *NUMBERED[1:]))


def test_a_number_that_stands_for_a_missing_cell_is_missing_however_it_is_written(read):
    values, violations = weights(read, "-999", "-999.0", "7", missing_values=("", "-999"))
    assert list(map(math.isnan, values)) == [True, True, False]
    assert violations == []


@pytest.mark.parametrize("kind", [pa.int64(), pa.float32()])
def test_a_number_that_stands_for_a_missing_cell_is_missing_in_parquet(read, kind, tmp_path):
    weight = pa.array([-999, 4], kind)
    pq.write_table(
        pa.table({"kind": ["a", "b"], "size": [1, 1], "shell_weight": weight, "age": [-999, 3]}),
        tmp_path / "table.parquet",
    )
    result = read(None, name="table.parquet", missing_values=("", "-999"), rules={"target": "drop"})
    assert [row[2] for row in result.features] == [4]
    assert ["column 'age': '-999'" in str(violation) for violation in result.violations] == [True]


def test_decimals_are_categories_whatever_the_places_of_their_type(read, tmp_path):
    kind = pa.array([Decimal("0.50"), Decimal("1.00")], pa.decimal128(5, 2))
    columns = ({"name": "kind", "type": "category", "categories": ("0.5", "1")}, *NUMBERED[1:])
    assert codes(read, kind, tmp_path, columns) == [0, 1]
