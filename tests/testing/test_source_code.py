"""What the kit reads out of a plugin's source."""

import ast

import pytest

from mlops_core.testing.observation.source_code import environment_readings, foreign_distributions


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("os.environ['A']", "os.environ"),
        ("x = os.environ.get('A')", "os.environ"),
        ("x = os.getenv('A')", "os.getenv"),
        ("x = os.environ.setdefault('A', '1')", "os.environ"),
        ("for x in os.environ: pass", "os.environ"),
        ("os.environ['A'] += 'x'", "os.environ"),
        ("os.environ['A'] = os.environ['B']", "os.environ"),
    ],
)
def test_using_the_value_of_a_variable_is_a_read(text, name):
    assert list(environment_readings(ast.parse(f"import os\n\n{text}\n"))) == [(3, name)]


@pytest.mark.parametrize(
    "text",
    [
        "os.environ['A'] = '1'",
        "os.environ.setdefault('A', '1')",
        "os.environ.update(A='1')",
        "os.environ.pop('A', None)",
        "del os.environ['A']",
    ],
)
def test_setting_a_variable_is_not_a_read(text):
    assert list(environment_readings(ast.parse(text))) == []


def test_only_packages_of_other_distributions_are_imported_ahead():
    assert foreign_distributions(["pytest", "mlops_core", "os", "json", "yaml", "no_such_package"]) == ("pytest",)
