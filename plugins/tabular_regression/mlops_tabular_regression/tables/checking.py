"""Checks of a table against its schema, batch by batch: numbers of the usable rows, and violations.

Each violation has file, row, line, column and policy. The storage of a checked table is in
`mlops_tabular_regression.tables.storage`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlops_tabular_regression.config import Policy, Rule, normalise_text
from mlops_tabular_regression.tables.conversion import convert, is_missing
from mlops_tabular_regression.tables.numbers import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from mlops_tabular_regression.config import Column, RulesSection, TableSection
    from mlops_tabular_regression.tables.conversion import Fault
    from mlops_tabular_regression.tables.rows import OpenTable, RowBatch

_SHOWN_CHARACTERS = 60
_WITH_SEPARATORS = re.compile(r"[-+]?\d[\d.,' \u00a0\u2009\u202f\u2019]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A cell or row that breaks a rule of the schema.

    Attributes:
        file: name of the table's file.
        row: number of the row; the first row of data is 1.
        line: line of the file on which the row starts; 0 for a file without lines.
        column: name of the column; empty for a violation of the whole row.
        rule: the broken rule.
        found: content of the cell.
        expected: what the rule demands.
        policy: the consequence.
    """

    file: str
    row: int
    line: int
    column: str
    rule: Rule
    found: str
    expected: str
    policy: Policy

    def __str__(self) -> str:
        """Return the violation as one line."""
        line = f" (line {self.line})" if self.line else ""
        column = f", column '{self.column}'" if self.column else ""
        content = self.found if len(self.found) <= _SHOWN_CHARACTERS else f"{self.found[:_SHOWN_CHARACTERS]}..."
        shown = repr(content) if self.column else content
        return f"{self.file}: row {self.row}{line}{column}: {shown or 'nothing'}; expected {self.expected}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBatch:
    """The usable rows of a batch.

    Attributes:
        rows: numbers of the rows in the file, (rows,).
        features: values of the features, (rows, features).
        target: values of the target, (rows,); empty if the table was read without it.
        ids: cells of the id column; empty without one.
        groups: cells of the group column, a name of its own for a row without a group; empty without the column.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float64]
    target: NDArray[np.float64]
    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Checker:
    """Checks a table.

    Attributes:
        counts: (column, rule, policy) -> number of violations.
    """

    def __init__(self, table: TableSection, rules: RulesSection, record: Callable[[Violation], None]) -> None:
        """Check against the schema `table`; call `record` with each violation, in the order of the rows of a batch."""
        self._table = table
        self._rules = rules
        self._record = record
        self.counts: Counter[tuple[str, Rule, Policy]] = Counter()

    def batches(self, opened: OpenTable) -> Iterator[CheckedBatch]:
        """Yield the usable rows of a table.

        Raises:
            DatasetError: the file cannot be read.
        """
        for batch in opened.batches:
            yield self._checked(opened, batch)

    def _checked(self, opened: OpenTable, batch: RowBatch) -> CheckedBatch:
        violations = self._misshapen(opened, batch)
        columns = [column for column in self._table.columns if column.name in opened.columns]
        numbers = {}
        is_kept = np.ones(len(batch.numbers), dtype=bool)
        for column in columns:
            numbers[column.name], faults = convert(batch.cells[column.name], column, self._table)
            for fault in faults:
                violation = self._violation(opened, batch, column, fault)
                violations.append(violation)
                is_kept[fault.index] &= violation.policy is not Policy.DROP
        for violation in self._without_group(opened, batch):
            violations.append(violation)
            is_kept[batch.numbers.index(violation.row)] &= violation.policy is not Policy.DROP
        for violation in sorted(violations, key=lambda item: item.row):
            self.add(violation)
        return self._kept(batch, numbers, is_kept)

    def add(self, violation: Violation) -> None:
        """Count and record a violation."""
        self.counts[violation.column, violation.rule, violation.policy] += 1
        self._record(violation)

    def total(self, policy: Policy) -> int:
        """Return the number of violations with this policy."""
        return sum(count for (_, _, counted), count in self.counts.items() if counted is policy)

    def _misshapen(self, opened: OpenTable, batch: RowBatch) -> list[Violation]:
        return [
            Violation(
                file=opened.path.name,
                row=row.row,
                line=row.line,
                column="",
                rule=Rule.SHAPE,
                found=f"{row.cells} cells",
                expected=str(opened.width),
                policy=self._rules.policy(Rule.SHAPE),
            )
            for row in batch.misshapen
        ]

    def _without_group(self, opened: OpenTable, batch: RowBatch) -> Iterator[Violation]:
        """Yield a violation for each row whose group is not known."""
        name = self._table.group
        if name is None or any(column.name == name and not column.may_be_missing for column in self._table.columns):
            return
        for index, cell in enumerate(batch.cells.get(name, ())):
            if is_missing(cell, self._table):
                yield Violation(
                    file=opened.path.name,
                    row=batch.numbers[index],
                    line=batch.lines[index] if batch.lines else 0,
                    column=name,
                    rule=Rule.MISSING,
                    found=str(cell).strip(),
                    expected="the group of the row",
                    policy=self._rules.policy(Rule.MISSING),
                )

    def _violation(self, opened: OpenTable, batch: RowBatch, column: Column, fault: Fault) -> Violation:
        rule = fault.rule
        if column.name == self._table.target and rule in (Rule.MISSING, Rule.TYPE):
            rule = Rule.TARGET
        return Violation(
            file=opened.path.name,
            row=batch.numbers[fault.index],
            line=batch.lines[fault.index] if batch.lines else 0,
            column=column.name,
            rule=rule,
            found=fault.found,
            expected=column.expected() + _separators(column, fault, self._table),
            policy=self._rules.policy(rule, column),
        )

    def _kept(
        self, batch: RowBatch, numbers: dict[str, NDArray[np.float64]], is_kept: NDArray[np.bool_]
    ) -> CheckedBatch:
        table = self._table
        features = np.column_stack([numbers[column.name] for column in table.features])
        target = numbers.get(table.target, np.empty(0))
        return CheckedBatch(
            rows=np.asarray(batch.numbers, dtype=np.int64)[is_kept],
            features=features[is_kept],
            target=target[is_kept] if len(target) else target,
            ids=_texts(batch, table.id, is_kept),
            groups=_groups(batch, table, is_kept),
        )


def _separators(column: Column, fault: Fault, table: TableSection) -> str:
    """Return which separators a number may have, where a cell has others; empty elsewhere."""
    if fault.rule is not Rule.TYPE or not column.is_numeric or not _WITH_SEPARATORS.fullmatch(fault.found):
        return ""
    if is_number(fault.found, table):  # a number, but not a whole one
        return ""
    groups = "null" if table.thousands is None else repr(table.thousands)
    return f", written with table.decimal {table.decimal!r} and table.thousands {groups}"


def _groups(batch: RowBatch, table: TableSection, is_kept: NDArray[np.bool_]) -> tuple[str, ...]:
    texts = _texts(batch, table.group, is_kept)
    rows = np.asarray(batch.numbers)[is_kept].tolist() if texts else ()
    return tuple(
        f"\0row {row}" if is_missing(text, table) else text  # no cell holds \0
        for text, row in zip(texts, rows, strict=True)
    )


def _texts(batch: RowBatch, name: str | None, is_kept: NDArray[np.bool_]) -> tuple[str, ...]:
    if name is None or name not in batch.cells:
        return ()
    return tuple(
        normalise_text(str(cell).strip()) for cell, kept in zip(batch.cells[name], is_kept, strict=True) if kept
    )
