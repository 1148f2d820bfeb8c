"""Tables as files: supported layouts, and errors with file and row."""

import math
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlops_tabular_regression.config import RulesSection
from mlops_tabular_regression.tables.checking import Checker
from mlops_tabular_regression.tables.collecting import collect
from mlops_tabular_regression.tables.opening import find_table, open_table
from mlops_tabular_regression.tables.rows import BATCH_ROWS
from mlops_tabular_regression.tables.splitting import rows_of_part, write_folds

from mlops_core import DatasetError, read_split

HEADER = "kind,size,shell_weight,age\n"
ROWS = "a,1.5,0.2,3\nb,2.5,,4\n"
FEATURES = [[0.0, 1.5, 0.2], [1.0, 2.5, None]]


def none_for_nan(rows):
    return [[None if math.isnan(number) else number for number in row] for row in rows]


@pytest.mark.parametrize(
    "content",
    [
        HEADER + ROWS,
        b"\xef\xbb\xbf" + (HEADER + ROWS).encode(),
        (HEADER + ROWS).encode("utf-16"),
        (HEADER + ROWS).encode("utf-32"),
        (HEADER + ROWS).replace("\n", "\r\n"),
        (HEADER + ROWS).replace(",", ";"),
        (HEADER + ROWS).replace(",", "\t"),
        (HEADER + ROWS).replace("kind", "Kind").replace("shell_weight", " Shell weight "),
        "age,SHELL-WEIGHT,size,kind\n3,0.2,1.5,a\n4,,2.5,b\n",
        ROWS,
        f"\n{HEADER}\n{ROWS}\n\n",
        HEADER + ROWS.removesuffix("\n"),
        HEADER + 'a," 1.5 ",0.2,3\n"b",2.5,NaN,4\n',
    ],
    ids=[
        "plain",
        "byte-order mark",
        "UTF-16",
        "UTF-32",
        "CRLF",
        "semicolons",
        "tabs",
        "names in other letters",
        "another order",
        "no header",
        "blank lines",
        "no last line break",
        "quotes and blanks",
    ],
)
def test_different_layouts_of_one_table_are_read_the_same(read, content):
    result = read(content)
    assert none_for_nan(result.features) == FEATURES
    assert result.target == [3.0, 4.0]
    assert result.rows == [1, 2]
    assert not result.violations


def test_a_decimal_comma_is_read_where_it_is_declared(read):
    result = read("kind;size;shell_weight;age\na;1,5;0,2;3\n", decimal=",")
    assert result.features == [[0.0, 1.5, 0.2]]


def test_a_quoted_line_break_does_not_shift_the_lines_that_are_named(read):
    result = read('note,kind,size,shell_weight,age\n"two\nlines",a,1.5,0.2,3\nshort,a,99,0.2,3\n', id="note")
    assert result.ids == ["two\nlines", "short"]
    assert [(one.row, one.line, one.column) for one in result.violations] == [(2, 4, "size")]


def test_undeclared_columns_are_reported_or_refused(read):
    content = "extra,kind,size,shell_weight,age\nx,a,1.5,0.2,3\n"
    result = read(content)
    assert result.target == [3.0]
    assert any("'extra'" in remark for remark in result.remarks)
    with pytest.raises(DatasetError, match="table.csv.*unknown columns 'extra'; declare"):
        read(content, unknown_columns="refuse")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"table\.csv \(line 1\): the file is empty"),
        (b"\xef\xbb\xbf\r\n", r"table\.csv \(line 1\): the file is empty"),
        (
            "kind,size,age\na,1,2\n",
            r"table\.csv \(line 1\): no column 'shell_weight'; the file has 'kind', 'size', 'age'",
        ),
        ("\n\nkind,size,age\na,1,2\n", r"table\.csv \(line 3\): no column 'shell_weight'"),
        ("kind,sise,shell_weight,age\n", r"no column 'size'; did you mean 'sise'\?"),
        ("kind,size,Size,shell_weight,age\n", r"column 'size' appears 2 times, at 2 and 3"),
        ("kind,size,Size,age\n", r"column 'size' appears 2 times, at 2 and 3"),
        (
            "kind size shell_weight age\na 1 2 3\n",
            r"a single cell with each of the delimiters ','.*expected columns",
        ),
        ("red,green,blue,black\na,b,c,d\n", r"neither a header nor a row of the schema: 4 cells"),
        ("a,1,2\n", r"neither a header nor a row of the schema: 3 cells"),
        (HEADER + 'a,1,2,3\na,"1,2,3\na,1,2,3\n', r"table\.csv: the row that starts on line 3 cannot be read"),
        (HEADER + 'a,1,2,3\na,"1"x,2,3\n', r"table\.csv: the row that starts on line 3 cannot be read"),
        ((HEADER + "a,1,2,3\nb,1,é,3\n").encode("latin-1"), r"table\.csv \(line 3\): bytes that are not utf-8"),
        (HEADER.encode() + b"a,1,2,3\n\x00\x01\x02\n", r"table\.csv \(line 3\): a NUL byte; expected text"),
    ],
)
def test_a_file_that_does_not_match_the_schema_is_refused_with_its_place(read, content, message):
    with pytest.raises(DatasetError, match=message):
        read(content)


def test_a_wrong_delimiter_in_the_configuration_is_refused_with_the_right_one(read):
    with pytest.raises(DatasetError, match=r"line 1\).*delimiter ',' the row is a single cell; ';' gives 4"):
        read((HEADER + ROWS).replace(",", ";"), delimiter=",")


def test_a_first_row_of_text_can_be_declared_as_data(read):
    result = read(ROWS, header=False)
    assert result.target == [3.0, 4.0]
    with pytest.raises(DatasetError, match="no column 'kind'"):
        read(ROWS, header=True)


def test_an_encoding_that_does_not_exist_is_refused(read):
    with pytest.raises(DatasetError, match="unknown encoding 'utf-9'; expected"):
        read(HEADER + ROWS, encoding="utf-9")


@pytest.mark.parametrize("encoding", ["rot13", "hex", "zip", "base64", "", "utf\0"])
def test_a_codec_that_does_not_decode_text_is_refused(read, encoding):
    with pytest.raises(DatasetError, match=r"table\.encoding: unknown encoding"):
        read(HEADER + ROWS, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_encodings_without_a_mark_are_read_where_they_are_declared(read, encoding):
    assert none_for_nan(read((HEADER + ROWS).encode(encoding), encoding=encoding).features) == FEATURES


def test_a_byte_order_mark_takes_precedence_over_the_declared_encoding(read):
    content = "\ufeffkind,size,shell_weight,age\né,1,2,3\n".encode()
    columns = ({"name": "kind", "type": "category", "categories": ("é", "b")}, {"name": "size"}, {"name": "age"})
    assert read(content, encoding="cp1252", columns=columns).features == [[0.0, 1.0]]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_table_that_is_a_pointer_or_a_web_page_is_named_as_one(read, name):
    with pytest.raises(DatasetError, match=rf"{name} is a pointer of Git LFS; get the content with"):
        read("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", name=name)
    with pytest.raises(DatasetError, match=rf"{name} is a web page; download the file itself"):
        read("<!doctype html>", name=name)


def test_a_column_without_a_name_is_reported(read):
    result = read("," + HEADER + "0,a,1.5,0.2,3\n")
    assert result.remarks == ("columns that table.columns does not declare are not used: one without a name",)
    with pytest.raises(DatasetError, match="unknown columns one without a name"):
        read("," + HEADER + "0,a,1.5,0.2,3\n", unknown_columns="refuse")


def test_another_encoding_is_read_where_it_is_declared(read):
    content = "kind,size,shell_weight,age\né,1,2,3\n".encode("cp1252")
    columns = ({"name": "kind", "type": "category", "categories": ("é", "b")}, {"name": "size"}, {"name": "age"})
    result = read(content, encoding="cp1252", columns=columns)
    assert result.features == [[0.0, 1.0]]


@pytest.mark.parametrize("content", [HEADER + "a,1,2\nb,1,2,4\n", HEADER + "a,1,2,3,4\nb,1,2,4\n"])
def test_a_row_of_another_length_is_a_violation(read, content):
    result = read(content, rules={"shape": "drop"})
    assert result.rows == [2]
    assert [(one.row, one.line, str(one.rule)) for one in result.violations] == [(1, 2, "shape")]


def test_rows_to_predict_need_no_target_and_no_header(read):
    assert read("a,1,2\n", needs_target=False).features == [[0.0, 1.0, 2.0]]
    assert read("kind,size,shell_weight\na,1,2\n", needs_target=False).target == []
    assert read(HEADER + "a,1,2,unknown\n", needs_target=False).violations == []


def parquet(tmp_path, **columns):
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")


def test_parquet_is_read_with_its_own_types_and_nulls(read, tmp_path):
    parquet(
        tmp_path,
        **{"Shell weight": pa.array([0.2, None]), "age": pa.array([3, 4], pa.int16()), "kind": ["a", "b"]},
        size=pa.array(["1.5", "2.5"]),
        extra=[True, False],
    )
    result = read(None, name="table.parquet")
    assert none_for_nan(result.features) == FEATURES
    assert result.target == [3.0, 4.0]
    assert any("'extra'" in remark for remark in result.remarks)


def test_violations_in_parquet_name_the_row(read, tmp_path):
    parquet(tmp_path, kind=["a", None, "c"], size=[0.0, 1.0, 2.0], shell_weight=[1, 2, 3], age=[1.0, 2.5, None])
    result = read(None, name="table.parquet")
    assert [(one.row, one.column, str(one.rule)) for one in result.violations] == [
        (1, "size", "range"),
        (2, "kind", "missing"),
        (2, "age", "target"),
        (3, "kind", "category"),
        (3, "age", "target"),
    ]
    assert str(result.violations[0]).startswith("table.parquet: row 1, column 'size': '0'; expected a number > 0")


def test_damaged_parquet_is_refused_with_its_name(read, tmp_path):
    parquet(tmp_path, kind=["a"] * 50, size=[1.0] * 50, shell_weight=[1.0] * 50, age=[1] * 50)
    whole = (tmp_path / "table.parquet").read_bytes()
    for damaged in (whole[:-20], b"PAR1nothing", whole[:4] + b"\xff" * 40 + whole[44:]):
        with pytest.raises(DatasetError, match=r"table\.parquet .*cannot be read"):
            read(damaged, name="table.parquet")


def test_the_only_table_of_a_folder_is_found_and_several_need_a_choice(tmp_path, table):
    (tmp_path / "readme.md").write_text("x")
    with pytest.raises(DatasetError, match="has no table; expected one file of"):
        find_table(tmp_path, table())
    (tmp_path / "one.csv").write_text("x")
    assert find_table(tmp_path, table()).name == "one.csv"
    (tmp_path / "two.parquet").write_text("x")
    with pytest.raises(DatasetError, match="2 tables: one.csv, two.parquet; set table.file"):
        find_table(tmp_path, table())
    assert find_table(tmp_path, table(file="two.parquet")).name == "two.parquet"
    with pytest.raises(DatasetError, match=r"no 'tow.parquet' in the data set; did you mean 'two.parquet'\?"):
        find_table(tmp_path, table(file="tow.parquet"))


def test_a_file_outside_the_data_set_is_not_read(tmp_path, table):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.csv").write_text(HEADER + ROWS)
    with pytest.raises(DatasetError, match="in the data set"):
        find_table(tmp_path / "data", table(file="../secret.csv"))


def test_a_long_table_is_read_in_batches(tmp_path, table):
    count = 6 * BATCH_ROWS
    path = tmp_path / "long.csv"
    with path.open("w") as stream:
        stream.write(HEADER)
        stream.writelines(f"a,{1 + number % 7}.25,0.5,{number % 30}\n" for number in range(count))
    opened = open_table(path, table())
    tracemalloc.start()
    seen = 0
    for batch in opened.batches:
        assert len(batch.numbers) <= BATCH_ROWS
        seen += len(batch.numbers)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == count
    assert peak < 3 * BATCH_ROWS * 500  # bytes: some rows as text, however many there are


def test_rows_with_an_empty_or_repeated_id_are_named_by_their_number_too(tmp_path, table):
    path = tmp_path / "table.csv"
    path.write_text("name,kind,size,shell_weight,age\nx,a,1,2,3\ny,a,2,2,3\nx,a,3,2,3\n,a,4,2,3\n")
    schema, rules = table(id="name"), RulesSection()
    opened = open_table(path, schema)
    checker = Checker(schema, rules, lambda _: None)
    stored = collect(checker.batches(opened), opened, checker, rules)
    assert [stored.sample(index) for index in range(4)] == ["x (row 1)", "y", "x (row 3)", "(row 4)"]
    write_folds(tmp_path, stored, np.array([1, 2, 1, 2]), test_fold=2)
    assert [(row.sample, row.part, row.columns["fold"]) for row in read_split(tmp_path)] == [
        ("x (row 1)", "train", "1"),
        ("y", "test", "2"),
        ("x (row 3)", "train", "1"),
        ("(row 4)", "test", "2"),
    ]
    assert rows_of_part(tmp_path, "test").tolist() == [1, 3]


def test_a_link_that_leads_to_nothing_is_not_passed_over(tmp_path, table):
    (tmp_path / "old.csv").write_text(HEADER + ROWS)
    (tmp_path / "new.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "._old.csv").write_bytes(b"metadata")
    with pytest.raises(DatasetError, match="links that lead to nothing: new.csv; set table.file"):
        find_table(tmp_path, table())
    assert find_table(tmp_path, table(file="old.csv")).name == "old.csv"


def test_a_split_without_the_parts_of_its_rows_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"is_test\.npy cannot be read.*expected a file of the step split"):
        rows_of_part(tmp_path, "test")
    (tmp_path / "is_test.npy").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"is_test\.npy cannot be read"):
        rows_of_part(tmp_path, "train")


@pytest.mark.parametrize(("line", "delimiter"), [("sep=;", ";"), ("SEP=,", ","), ('"sep=;"', ";"), ("sep=\t", "\t")])
def test_the_line_that_names_the_delimiter_for_excel_is_named(read, line, delimiter):
    content = f"{line}\nkind,size,shell_weight,age\na,1,2,3\n".replace(",", delimiter)
    with pytest.raises(DatasetError, match=r"\(line 1\): the line 'sep=', which names the delimiter for Excel"):
        read(content if line != "SEP=," else content.replace("SEP=;", line))
