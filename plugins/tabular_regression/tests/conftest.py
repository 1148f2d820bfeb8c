"""A small schema, and fixtures that write and read tables."""

import pytest
from mlops_tabular_regression.config import RulesSection, TableSection
from mlops_tabular_regression.tables.checking import Checker
from mlops_tabular_regression.tables.opening import open_table

COLUMNS = (
    {"name": "kind", "type": "category", "categories": ("a", "b")},
    {"name": "size", "above": 0, "maximum": 10},
    {"name": "shell_weight", "may_be_missing": True},
    {"name": "age", "type": "integer", "minimum": 0},
)
HEADER = "kind,size,shell_weight,age\n"


@pytest.fixture
def table():
    def make(**settings):
        return TableSection.model_validate({"target": "age", "columns": COLUMNS} | settings)

    return make


@pytest.fixture
def read(tmp_path, table):
    """Return a function that writes a file, reads it, and returns usable rows, violations and remarks of the reader."""

    def run(content, *, rules=(), name="table.csv", needs_target=True, **settings):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        schema = table(**settings)
        violations = []
        opened = open_table(path, schema, needs_target=needs_target)
        checker = Checker(schema, RulesSection.model_validate(dict(rules)), violations.append)
        return Read(list(checker.batches(opened)), violations, opened.remarks)

    return run


class Read:
    def __init__(self, batches, violations, remarks):
        self.violations, self.remarks = violations, remarks
        self.rows = [row for batch in batches for row in batch.rows.tolist()]
        self.features = [row for batch in batches for row in batch.features.tolist()]
        self.target = [number for batch in batches for number in batch.target.tolist()]
        self.ids = [text for batch in batches for text in batch.ids]
        self.groups = [text for batch in batches for text in batch.groups]
