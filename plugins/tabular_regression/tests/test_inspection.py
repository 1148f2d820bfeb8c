"""The inspection of a table."""

import pytest
from mlops_tabular_regression.config import TabularConfig
from mlops_tabular_regression.tables.inspection import inspect_dataset

from mlops_core import Severity, load_use_case

HEADER = "kind,size,shell_weight,age\n"


@pytest.fixture
def look(tmp_path, table):
    def run(content, folds=5, **rules):
        if content is not None:
            (tmp_path / "table.csv").write_text(content)
        return inspect_dataset(tmp_path, TabularConfig(table=table(), rules=rules, split={"folds": folds}))

    return run


def findings(inspection):
    return {finding.check: finding for finding in inspection.findings}


def test_a_sound_table_has_facts_and_no_findings(look):
    result = look(f"{HEADER}a,1,2,3\nb,2,,4\na,6,1,11\na,6,1,9\n", folds=2)
    assert dict(result.facts) == {"file": "table.csv", "rows": "4", "groups of rows": "4", "features": "3"}
    numbers, categories = result.tables
    assert numbers.rows == (
        ("size", "-", 0, "1", "3.75", "6"),
        ("shell_weight", "-", 1, "1", "1.333", "2"),
        ("age", "-", 0, "3", "6.75", "11"),
    )
    assert categories.rows == (("kind", "a", 3), ("kind", "b", 1))
    [target] = result.distributions
    assert (sum(target.counts), target.edges[0], target.edges[-1]) == (4, 3, 11)
    assert result.findings == ()


def test_the_check_refuses_what_the_split_refuses(look):
    content = f"{HEADER}a,1,2,3\nb,2,,4\na,6,1,11\n"
    assert look(content, folds=2).errors == 1
    [finding] = look(content).findings
    assert finding.check == "split"
    assert finding.message.startswith("3 rows in 3 groups; 5 folds need at least 10 groups: add rows of other groups")


def test_each_violation_is_reported_with_its_place_and_its_consequence_in_a_run(look):
    content = f"{HEADER}a,1,2,3\nz,1,2,3\na,0,2,3\na,1,2,NaN\na,1,2\na,1,2,3\n"
    result = look(content, range="report", shape="drop")
    messages = findings(result)
    assert {check: finding.level for check, finding in messages.items()} == {
        "category": Severity.ERROR,
        "target": Severity.ERROR,
        "shape": Severity.WARNING,
        "range": Severity.NOTE,
        "duplicate": Severity.NOTE,
    }
    assert [finding.level for finding in result.findings] == sorted(
        (finding.level for finding in result.findings), key=list(Severity).index
    )
    assert messages["target"].samples == (
        "table.csv: row 4 (line 5), column 'age': 'NaN'; expected a whole number >= 0",
    )
    assert messages["shape"].samples == ("table.csv: row 5 (line 6): 3 cells; expected 4",)
    assert "a run uses them" in messages["range"].message
    assert result.errors == 2
    assert sum(result.distributions[0].counts) == 4  # the row without a target has no bar


@pytest.mark.parametrize(
    ("content", "check", "message"),
    [
        (None, "table", "the data set has no table"),
        ("kind,size,age\na,1,2\n", "table", r"table.csv (line 1): no column 'shell_weight'"),
        (HEADER, "rows", "table.csv: no row with a target can be used"),
        (f"{HEADER}a,1,2,\n", "rows", "table.csv: no row with a target can be used"),
        (f'{HEADER}a,0,2,3\na,"1', "table", "the row that starts on line 3 cannot be read"),
    ],
)
def test_an_unusable_table_is_a_finding_and_not_an_exception(look, content, check, message):
    result = look(content)
    assert message in findings(result)[check].message
    assert result.errors


def test_the_first_of_many_violations_are_listed_and_all_are_counted(look):
    result = findings(look(HEADER + "a,0,2,3\n" * 1500))["range"]
    assert len(result.samples) == 1000
    assert "1500 violation(s)" in result.message
    assert "the first 1000 are listed" in result.message


def test_targets_too_large_for_bars_have_no_distribution(look):
    assert look(HEADER + "a,1,2,9223372036854775807\n" * 20).distributions == ()


def test_remarks_of_the_reader_are_notes(look):
    result = findings(look("a;1;2;3\n"))["layout"]
    assert result.level is Severity.NOTE
    assert "the columns are" in result.message


def test_the_generated_table_is_sound_except_for_its_heights_of_0(tmp_path):
    from mlops_tabular_regression.tables.synthetic import generate

    generate(tmp_path, seed=0, progress=lambda *_: None)
    loaded = load_use_case("ABALONE")
    result = loaded.inspect_dataset(tmp_path, loaded.load_config().model)
    assert not result.errors
    assert all("column 'height': '0'" in sample for sample in findings(result)["range"].samples)
