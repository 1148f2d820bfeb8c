"""The configuration: a wrong description of a table is refused before anything runs, with its place."""

from pathlib import Path

import mlops_tabular_regression
import numpy as np
import pytest
from mlops_tabular_regression.config import Policy, Rule, RulesSection, TabularConfig
from mlops_tabular_regression.formulas import evaluate_formula, formula_names

from mlops_core import ConfigError, load_use_case

DEFAULT = Path(mlops_tabular_regression.__file__).with_name("user_config.yaml")


def load(tmp_path, text="", overrides=()):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load_use_case("ABALONE").load_config(path if text else None, overrides=overrides)


def test_the_default_configuration_equals_the_defaults_of_the_model(tmp_path):
    config = load(tmp_path).model
    plain = TabularConfig.model_validate({"table": config.table, "features": config.features})
    assert plain.model_copy(update={"rules": config.rules}) == config
    assert config.rules == RulesSection(range=Policy.REPORT)


def test_another_table_is_described_by_its_columns_alone(tmp_path):
    text = "table: {target: y, columns: [{name: x}, {name: y}]}\nfeatures: {derived: []}\n"
    assert [column.name for column in load(tmp_path, text).model.table.features] == ["x"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["table.target=ring"], "target 'ring' is not a column; did you mean 'rings'?"),
        (["table.target=sex"], "target 'sex' is a category"),
        (["table.id=length"], "the id column 'length' is also in table.columns"),
        (['table.delimiter="."'], "delimiter and decimal are both '.'"),
        (["table.columns=[{name: a}, {name: A}]"], "column 'a' is declared twice"),
        (["table.columns=[{name: a, type: category}, {name: rings}]"], "needs two or more different categories"),
        (["table.columns=[{name: a, categories: [x, y]}, {name: rings}]"], "expected type: category"),
        (["table.columns=[{name: a, above: 3, maximum: 2}, {name: rings}]"], "its range is empty"),
        (["table.columns=[{name: a, policy: {target: report}}, {name: rings}]"], "expected target: refuse or drop"),
        (["rules.shape=report"], "expected shape: refuse or drop"),
        (["rules.target=report"], "expected target: refuse or drop"),
        (["rules.range=ignore"], "rules.range: 'ignore'"),
        (["split.test_fold=6"], "test_fold 6 is above folds 5"),
        (["intervals.level=90"], "intervals.level: 90"),
        (["training.objectives=[cubic]"], "training.objectives[0]: 'cubic'"),
        (["training.bag=2"], "unknown key; did you mean 'bags'?"),
        (["features.derived=[{name: a, formula: length +}]"], "cannot be parsed"),
        (
            ["features.derived=[{name: a, formula: length / widht}]"],
            "'widht' is not a numeric feature of table.columns",
        ),
        (["features.derived=[{name: a, formula: rings / length}]"], "'rings' is not a numeric feature"),
        (["features.derived=[{name: a, formula: sex * 2}]"], "'sex' is not a numeric feature"),
        (["features.derived=[{name: height, formula: length * 2}]"], "another column has this name"),
    ],
)
def test_contradictions_are_refused_with_their_place(tmp_path, overrides, message):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, overrides=overrides)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "formula",
    ["__import__('os')", "a.b", "a[0]", "a if b else c", "a ** b", "a, b", "'x' + a", "lambda: a", "a < b", "1 + 2"],
)
def test_a_formula_has_names_numbers_and_four_operations_only(formula):
    with pytest.raises(ValueError, match="formula"):
        formula_names(formula)


def test_a_deeply_nested_formula_is_refused():
    with pytest.raises(ValueError, match="formula"):
        formula_names("(" * 240 + "a" + ")" * 240)
    with pytest.raises(ValueError, match="expected at most 500"):
        formula_names("+".join(["a"] * 400))


def test_a_formula_is_computed_per_row_and_nan_where_it_is_not_finite():
    columns = {"a": np.array([1.0, 4.0, np.nan, 0.0]), "b": np.array([2.0, 0.0, 1.0, 0.0])}
    result = evaluate_formula("-a + 2 * (a / b)", columns)
    np.testing.assert_array_equal(result, [0.0, np.nan, np.nan, np.nan])
    assert formula_names("b * a - b") == ("b", "a")


def test_every_rule_has_a_policy():
    rules = RulesSection()
    assert [rules.policy(rule) for rule in Rule] == [Policy.REFUSE] * 6 + [Policy.REPORT]
