"""Checks of cells against the schema: violations, their places and their policies."""

import math

import pytest

HEADER = "kind,size,shell_weight,age\n"


def places(result):
    return [(one.row, one.line, one.column, str(one.rule)) for one in result.violations]


@pytest.mark.parametrize(
    ("row", "column", "rule"),
    [
        ("c,1,2,3", "kind", "category"),
        ("A,1,2,3", "kind", "category"),
        (",1,2,3", "kind", "missing"),
        ("a,0,2,3", "size", "range"),
        ("a,-1,2,3", "size", "range"),
        ("a,10.01,2,3", "size", "range"),
        ("a,,2,3", "size", "missing"),
        ("a,NaN,2,3", "size", "missing"),
        ("a,?,2,3", "size", "missing"),
        ("a,one,2,3", "size", "type"),
        ("a,1_0,2,3", "size", "type"),
        ("a,inf,2,3", "size", "type"),
        ("a,1e999,2,3", "size", "type"),
        ('a,"1,5",2,3', "size", "type"),
        ("a,1,x,3", "shell_weight", "type"),
        ("a,1,2,", "age", "target"),
        ("a,1,2,nan", "age", "target"),
        ("a,1,2,old", "age", "target"),
        ("a,1,2,3.5", "age", "target"),
        ("a,1,2,-1", "age", "range"),
    ],
)
def test_each_kind_of_fault_is_found_in_its_row_and_column(read, row, column, rule):
    result = read(f"{HEADER}a,1,2,3\n{row}\nb,2,3,4\n")
    assert places(result) == [(2, 3, column, rule)]


@pytest.mark.parametrize("cell", ["", " ", "NA", "NaN", "?"])
def test_a_row_without_its_group_is_found_and_never_joined_with_others_that_have_none(read, cell):
    content = f"kind,size,shell_weight,age,site\na,1,2,3,x\na,2,2,3,{cell}\nb,1,2,4,{cell}\nb,2,2,4,x\n"
    result = read(content, group="site")
    assert places(result) == [(2, 3, "site", "missing"), (3, 4, "site", "missing")]
    assert str(result.violations[0]).endswith("; expected the group of the row")
    reported = read(content, group="site", rules={"missing": "report"})
    assert len(set(reported.groups)) == 3
    assert reported.groups[0] == reported.groups[3] == "x"
    assert read(content, group="site", rules={"missing": "drop"}).rows == [1, 4]


@pytest.mark.parametrize("row", ["a,10,2,3", "b,1e-3, 2 ,3.0", "a,+1.5,-2,0", "a,1,,3", "a,1,NA,3"])
def test_cells_that_the_schema_allows_are_not_violations(read, row):
    assert read(f"{HEADER}{row}\n").violations == []


def test_dropped_rows_are_left_out_and_reported_ones_are_used(read):
    content = f"{HEADER}a,0,2,3\nc,1,2,4\na,1,2,\na,x,2,6\n"
    result = read(content, rules={"range": "report", "category": "drop", "target": "drop", "type": "report"})
    assert result.rows == [1, 4]
    assert result.target == [3.0, 6.0]
    assert result.features[0] == [0.0, 0.0, 2.0]
    assert math.isnan(result.features[1][1])
    assert [str(one.policy) for one in result.violations] == ["report", "drop", "drop", "report"]


def test_the_policy_of_a_column_takes_precedence_over_that_of_the_rule(read):
    columns = (
        {"name": "kind", "type": "category", "categories": ("a", "b")},
        {"name": "size", "above": 0, "policy": {"range": "drop"}},
        {"name": "age", "minimum": 0},
    )
    result = read("kind,size,age\na,0,1\na,1,-1\n", rules={"range": "report"}, columns=columns)
    assert result.rows == [2]
    assert [(one.column, str(one.policy)) for one in result.violations] == [("size", "drop"), ("age", "report")]


def test_a_violation_names_file_row_line_column_content_and_expectation(read):
    result = read(f"{HEADER}a,0,2,3\nz,1,2,3\n")
    assert list(map(str, result.violations)) == [
        "table.csv: row 1 (line 2), column 'size': '0'; expected a number > 0 and <= 10",
        "table.csv: row 2 (line 3), column 'kind': 'z'; expected one of a, b",
    ]


def test_a_very_long_cell_is_shortened_in_the_message(read):
    [violation] = read(f"{HEADER}a,{'9' * 400}x,2,3\n").violations
    assert len(str(violation)) < 200


def test_violations_are_in_the_order_of_the_rows(read):
    result = read(f"{HEADER}a,0,2,-3\na,1\nz,0,2,3\n")
    assert places(result) == [
        (1, 2, "size", "range"),
        (1, 2, "age", "range"),
        (2, 3, "", "shape"),
        (3, 4, "kind", "category"),
        (3, 4, "size", "range"),
    ]
