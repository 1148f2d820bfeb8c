"""Tables with a shifted column: in standard deviations, within the range of the column, in any layout."""

import numpy as np
import pytest
from mlops_tabular_regression.config import RulesSection
from mlops_tabular_regression.tables.checking import Checker
from mlops_tabular_regression.tables.opening import open_table
from mlops_tabular_regression.tables.perturbing import perturbations


@pytest.fixture
def change(tmp_path, table):
    """Return a function that shifts a column of a file, and returns the numbers before and after."""

    def run(content, column, strength, **settings):
        schema, rules, faults = table(**settings), RulesSection(), []
        declared = {each.name: each for each in perturbations(schema, rules, faults.append)}
        assert set(declared) == {"column size", "column shell_weight"}
        source, target = tmp_path / "source.csv", tmp_path / "target.csv"
        source.write_text(content)
        declared[column].write(source, target, strength)

        def numbers(path):
            checker = Checker(schema, rules, faults.append)
            return np.concatenate(
                [each.features for each in checker.batches(open_table(path, schema, needs_target=False))]
            )

        before, after = numbers(source), numbers(target)
        assert faults == []
        return before, after

    return run


def test_a_column_is_shifted_by_its_standard_deviation_and_the_others_are_kept(change):
    before, after = change("kind,size,shell_weight,age\na,1,2.5,3\nb,2,,4\na,3,4.25,5\n", "column size", 0.5)
    assert after[:, 1] == pytest.approx(before[:, 1] + 0.5 * np.std([1, 2, 3]))
    np.testing.assert_array_equal(after[:, [0, 2]], before[:, [0, 2]])


def test_a_missing_cell_stays_missing(change):
    _, after = change("kind,size,shell_weight\na,1,2\nb,2,\na,3,4\n", "column shell_weight", 2)
    assert after[:, 2] == pytest.approx([4, np.nan, 6], nan_ok=True)


def test_the_end_of_the_range_is_not_left(change):
    _, after = change("kind,size,shell_weight\na,1,2\nb,9,1\na,9.5,4\n", "column size", 1)
    assert after[1:, 1].tolist() == [10, 10]


def test_a_table_in_another_layout_is_written_in_that_layout(change):
    before, after = change(
        "a;1,5;2\nb;2,5;?\na;3,5;4\n", "column size", 1, delimiter=";", decimal=",", header=False, missing_values=("?",)
    )
    assert after[:, 1] == pytest.approx(before[:, 1] + np.std([1.5, 2.5, 3.5]))
    np.testing.assert_array_equal(after[:, [0, 2]], before[:, [0, 2]])
