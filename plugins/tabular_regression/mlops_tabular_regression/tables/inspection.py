"""Inspection of a table: rows, columns, the distribution of the target, and the violations of the schema.

Reader and rules are those of the step ``check``; here, violations are reported and never refused.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from mlops_core import DatasetError, DatasetFinding, Distribution, FactTable, Inspection, Severity
from mlops_tabular_regression.config import Policy, Rule
from mlops_tabular_regression.tables.checking import Checker
from mlops_tabular_regression.tables.collecting import collect
from mlops_tabular_regression.tables.opening import find_table, open_table
from mlops_tabular_regression.tables.splitting import check_groups

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_tabular_regression.config import Column, TableSection, TabularConfig
    from mlops_tabular_regression.tables.checking import Violation
    from mlops_tabular_regression.tables.rows import OpenTable
    from mlops_tabular_regression.tables.storage import StoredTable

_LEVELS = {Policy.REFUSE: Severity.ERROR, Policy.DROP: Severity.WARNING, Policy.REPORT: Severity.NOTE}
_CONSEQUENCES = {
    Policy.REFUSE: "a run refuses them",
    Policy.DROP: "a run leaves their rows out",
    Policy.REPORT: "a run uses them",
}
_LISTED = 1000
"""Maximum number of violations per kind that are kept as text, which bounds the memory."""
_BARS = 20


def inspect_dataset(dataset: Path, config: TabularConfig) -> Inspection:
    """Return the inspection of the table in the folder `dataset`."""
    violations = _Violations()
    try:
        opened = open_table(find_table(dataset, config.table), config.table)
        checker = Checker(config.table, config.rules, violations.add)
        stored = collect(checker.batches(opened), opened, checker, config.rules)
    except DatasetError as error:
        return Inspection(findings=(*violations.findings(), _error("table", str(error))))
    findings = (*_remarks(opened), *violations.findings())
    if not np.isfinite(stored.target).any():
        return Inspection(findings=(*findings, _error("rows", f"{opened.path.name}: no row with a target can be used")))
    if all(finding.level is not Severity.ERROR for finding in findings):  # else it is refused before it is split
        try:
            check_groups(stored, folds=config.split.folds)
        except DatasetError as error:
            findings = (_error("split", f"{error}; a run refuses the data set"), *findings)
    return Inspection(
        facts=(
            ("file", opened.path.name),
            ("rows", str(len(stored.target))),
            ("groups of rows", str(len(np.unique(stored.groups)))),
            ("features", str(len(config.table.features))),
        ),
        tables=_tables(config.table, stored),
        distributions=_distributions(config.table, stored),
        findings=findings,
    )


def _error(check: str, message: str) -> DatasetFinding:
    return DatasetFinding(level=Severity.ERROR, check=check, message=message)


def _remarks(opened: OpenTable) -> tuple[DatasetFinding, ...]:
    return tuple(
        DatasetFinding(level=Severity.NOTE, check="layout", message=f"{opened.path.name}: {remark}")
        for remark in opened.remarks
    )


class _Violations:
    """Counts violations by rule and policy, and keeps the first ones of each kind."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[Rule, Policy], int] = defaultdict(int)
        self._shown: defaultdict[tuple[Rule, Policy], list[str]] = defaultdict(list)

    def add(self, violation: Violation) -> None:
        kind = (violation.rule, violation.policy)
        self._counts[kind] += 1
        if self._counts[kind] <= _LISTED:
            self._shown[kind].append(str(violation))

    def findings(self) -> tuple[DatasetFinding, ...]:
        """Return one finding per kind, the most severe first."""
        order = sorted(self._counts, key=lambda kind: (list(Policy).index(kind[1]), list(Rule).index(kind[0])))
        return tuple(self._finding(*kind) for kind in order)

    def _finding(self, rule: Rule, policy: Policy) -> DatasetFinding:
        count, shown = self._counts[rule, policy], self._shown[rule, policy]
        more = f"; the first {len(shown)} are listed" if len(shown) < count else ""
        return DatasetFinding(
            level=_LEVELS[policy],
            check=rule,
            message=f"{count} violation(s) of the schema; {_CONSEQUENCES[policy]}{more}",
            samples=tuple(shown),
        )


def _tables(table: TableSection, stored: StoredTable) -> tuple[FactTable, ...]:
    values = {column.name: stored.features[:, place] for place, column in enumerate(table.features)}
    values[table.target] = stored.target
    numeric = [column for column in table.columns if column.is_numeric]
    numbers = FactTable(
        title="numbers",
        columns=("column", "unit", "missing", "least", "mean", "greatest"),
        rows=tuple(_number_row(column, values[column.name]) for column in numeric),
    )
    rows = tuple(row for column in table.columns if not column.is_numeric for row in _category_rows(column, values))
    categories = FactTable(title="categories", columns=("column", "category", "rows"), rows=rows)
    return (numbers, categories) if rows else (numbers,)


def _number_row(column: Column, values: np.ndarray) -> tuple[str | int, ...]:
    present = values[np.isfinite(values)]
    measures = (f"{measure(present):.4g}" for measure in (np.min, np.mean, np.max)) if len(present) else ("-",) * 3
    return (column.name, column.unit or "-", len(values) - len(present), *measures)


def _category_rows(column: Column, values: Mapping[str, np.ndarray]) -> list[tuple[str | int, ...]]:
    codes = values[column.name]
    counts = [(name, int(np.count_nonzero(codes == place))) for place, name in enumerate(column.categories)]
    missing = int(np.count_nonzero(np.isnan(codes)))
    return [(column.name, name, count) for name, count in (*counts, *([("missing", missing)] if missing else []))]


def _distributions(table: TableSection, stored: StoredTable) -> tuple[Distribution, ...]:
    """Return the distribution of the target; none where its values are too large and near for bars between them."""
    try:
        counts, edges = np.histogram(stored.target[np.isfinite(stored.target)], bins=_BARS)
    except ValueError:
        return ()
    distribution = Distribution(
        name="target",
        title=f"Rows by {table.target}",
        unit=table.column(table.target).unit,
        edges=tuple(float(edge) for edge in edges),
        counts=tuple(int(count) for count in counts),
    )
    return (distribution,)
