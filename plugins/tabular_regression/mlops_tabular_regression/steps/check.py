"""Check the table against its schema and keep the rows that can be used."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Self

from mlops_core import DatasetError
from mlops_tabular_regression.config import UNUSABLE, Policy, RulesSection, TableSection
from mlops_tabular_regression.tables.checking import Checker, Violation
from mlops_tabular_regression.tables.collecting import collect
from mlops_tabular_regression.tables.opening import find_table, open_table
from mlops_tabular_regression.tables.storage import write_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlops_core import StepContext
    from mlops_tabular_regression.tables.checking import CheckedBatch
    from mlops_tabular_regression.tables.rows import OpenTable
    from mlops_tabular_regression.tables.storage import StoredTable

VIOLATIONS_FILE = "violations.csv"
SUMMARY_FILE = "summary.json"
_FIELDS = ("file", "row", "line", "column", "rule", "found", "expected", "policy")
_SHOWN = 5
_LOGGED = 200


def check(context: StepContext) -> None:
    """Write the checked table, ``violations.csv`` and ``summary.json``.

    Raises:
        DatasetError: the table cannot be read, breaks a rule whose policy is ``refuse``, or has no usable row.
    """
    table = context.section("table", TableSection)
    rules = context.section("rules", RulesSection)
    opened = open_table(find_table(context.input("dataset"), table), table)
    for remark in opened.remarks:
        context.log.info("%s: %s", opened.path.name, remark)
    with _Report(context, context.output("report") / VIOLATIONS_FILE) as report:
        checker = Checker(table, rules, report.add)
        stored = collect(_with_progress(context, checker.batches(opened)), opened, checker, rules)
    _refuse(checker, report)
    if not len(stored.target):
        dropped = checker.total(Policy.DROP)
        reason = f"no usable row: {dropped} violations, listed in the step's log" if dropped else "no rows"
        raise DatasetError(f"{opened.path.name}: {reason}; expected at least one usable row")
    write_table(context.output("table"), stored, file=opened.path.name)
    _summarise(context.output("report") / SUMMARY_FILE, opened, checker, stored)
    context.log.info(
        "%s: %d usable rows; violations: %d reported, %d dropped",
        opened.path.name,
        len(stored.target),
        checker.total(Policy.REPORT),
        checker.total(Policy.DROP),
    )


class _Report:
    """Writes violations to a file and the first ones to the log; keeps the first refused ones for the error message."""

    def __init__(self, context: StepContext, path: Path) -> None:
        self._context = context
        self._stream = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(_FIELDS)
        self._count = 0
        self.refused: list[Violation] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, violation: Violation) -> None:
        self._writer.writerow([str(getattr(violation, name)) for name in _FIELDS])
        self._count += 1
        if self._count <= _LOGGED:
            self._context.log.warning("%s (%s: %s)", violation, violation.rule, violation.policy)
        elif self._count == _LOGGED + 1:
            self._context.log.warning("further violations are listed in %s only", VIOLATIONS_FILE)
        if violation.policy is Policy.REFUSE and len(self.refused) < _SHOWN:
            self.refused.append(violation)


def _with_progress(context: StepContext, batches: Iterator[CheckedBatch]) -> Iterator[CheckedBatch]:
    done = 0
    for batch in batches:
        done += len(batch.rows)
        context.progress("row", done, done + 1)
        yield batch
    context.progress("row", done, done)


def _refuse(checker: Checker, report: _Report) -> None:
    count = checker.total(Policy.REFUSE)
    if not count:
        return
    more = f"; and {count - len(report.refused)} more, listed in the step's log" if count > len(report.refused) else ""
    rules = sorted({rule for _, rule, policy in checker.counts if policy is Policy.REFUSE})
    alternatives = "drop" if set(rules) <= set(UNUSABLE) else "drop or report"
    noun = "violation" if count == 1 else "violations"
    raise DatasetError(
        f"{count} {noun} of the schema: {'; '.join(map(str, report.refused))}{more}; "
        f"correct the file, or set {' and '.join(f'rules.{rule}' for rule in rules)} to {alternatives}"
    )


def _summarise(path: Path, opened: OpenTable, checker: Checker, stored: StoredTable) -> None:
    summary = {
        "file": opened.path.name,
        "rows_used": len(stored.target),
        "violations": [
            {"column": column, "rule": str(rule), "policy": str(policy), "count": count}
            for (column, rule, policy), count in sorted(checker.counts.items())
        ],
    }
    path.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
