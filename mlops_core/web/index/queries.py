"""Filters, sorts and pages over the runs of a workspace and what is indexed about them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mlops_core.web.index.database import ATTACHED, number_of
from mlops_core.workspace.records import RunStatus

if TYPE_CHECKING:
    import sqlite3

    from mlops_core.workspace.store import Store

PAGE_SIZE = 50
_LONGEST_PREFIX = 200


class SettingTest(StrEnum):
    """How the value of a configuration key is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    AT_LEAST = ">="
    AT_MOST = "<="
    CONTAINS = "contains"


class RunOrder(StrEnum):
    """What runs are sorted by."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LONGEST = "longest"
    SHORTEST = "shortest"
    METRIC_HIGH = "metric, highest"
    METRIC_LOW = "metric, lowest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are shown, and in which order.

    Attributes:
        use_case: name of the use case; empty for all.
        status: of the run; empty for any.
        text: beginning of the run's id, or part of the name of its data.
        key: key of the configuration, ``param.NAME`` or ``seed``; empty for no such condition.
        test: how its value is compared.
        value: with what; empty for any value.
        metric: name of a metric that is shown, and by which runs are filtered and sorted; empty for each run's first.
        low: the smallest value of the metric; None for no limit.
        high: the largest value; None for no limit.
        dataset: digest of the data; empty for any.
        has_search: only runs that search for hyperparameters.
        order: of the runs.
        page: from 1.
    """

    use_case: str = ""
    status: str = ""
    text: str = ""
    key: str = ""
    test: SettingTest = SettingTest.EQUAL
    value: str = ""
    metric: str = ""
    low: float | None = None
    high: float | None = None
    dataset: str = ""
    has_search: bool = False
    order: RunOrder = RunOrder.NEWEST
    page: int = 1

    @property
    def needs_index(self) -> bool:
        """Whether the answer depends on the index, so that runs that are not in it are missing."""
        has_range = self.low is not None or self.high is not None
        by_metric = self.order in (RunOrder.METRIC_HIGH, RunOrder.METRIC_LOW)
        return bool(self.key or self.text or self.dataset) or self.has_search or has_range or by_metric


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run in a list.

    Attributes:
        run_id: its id.
        use_case: name of the use case.
        status: its status now, or ``damaged``.
        created: ISO 8601, UTC.
        runner: name of the runner.
        duration_s: wall time.
        model_version: of the model that it registered; None for none.
        metric: name of the metric that is shown; empty without a value.
        value: of that metric.
        setting: value of the key that is searched; empty for none.
        problem: why nothing more is known about the run; empty otherwise.
    """

    run_id: str
    use_case: str
    status: str
    created: str
    runner: str
    duration_s: float
    model_version: int | None
    metric: str
    value: float | None
    setting: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunListing:
    """A page of runs.

    Attributes:
        runs: in the order that was asked for.
        count: how many match on all pages.
        total: how many the workspace has.
    """

    runs: tuple[ListedRun, ...]
    count: int
    total: int


def list_runs(store: Store, chosen: RunFilter, *, size: int = PAGE_SIZE) -> RunListing:
    """Return a page of the runs that match a filter; the index is attached to `store`."""
    statement = _Statement(chosen, alive=running_states(store))
    with store.reading() as db:
        total = int(db.execute("SELECT count(*) FROM main.runs").fetchone()[0])
        is_all = not statement.conditions
        count = total if is_all else int(db.execute(statement.counting(), statement.values).fetchone()[0])
        offset = (max(1, chosen.page) - 1) * size
        rows = db.execute(statement.listing(), {**statement.values, "size": size, "offset": offset}).fetchall()
    return RunListing(runs=tuple(map(_listed, rows)), count=count, total=total)


def running_states(store: Store) -> tuple[tuple[str, str], ...]:
    """Return each run that the table calls running, with its status now: its process may have disappeared."""
    with store.reading() as db:
        rows = db.execute("SELECT run_id FROM main.runs WHERE status = ?", (RunStatus.RUNNING,)).fetchall()
    return tuple((row[0], str(store.runs.status_now(RunStatus.RUNNING, row[0]))) for row in rows)


class _Statement:
    """The SQL of a filter; every value is a parameter."""

    def __init__(self, chosen: RunFilter, *, alive: tuple[tuple[str, str], ...]) -> None:
        self.values: dict[str, object] = {}
        self.conditions: list[str] = []
        self._chosen = chosen
        gone = [run_id for run_id, status in alive if status != RunStatus.RUNNING]
        marks = []
        for number, run_id in enumerate(gone):
            self.values[f"gone{number}"] = run_id
            marks.append(f":gone{number}")
        stopped = f"CASE WHEN runs.run_id IN ({', '.join(marks)}) THEN 'stopped' ELSE runs.status END"
        self._status = stopped if gone else "runs.status"
        self._metric = self._metric_value()
        self._add_conditions()

    def counting(self) -> str:
        return f"SELECT count(*) {self._source()}"

    def listing(self) -> str:
        chosen = self._chosen
        setting = "''"
        if chosen.key:
            setting = f"(SELECT text FROM {ATTACHED}.texts WHERE id = chosen.value)"
        metric = ":metric" if chosen.metric else "facts.metric"
        columns = (
            f"runs.run_id, runs.use_case, {self._status} AS status, runs.created, runs.runner, runs.duration_s, "
            f"runs.model_version, {metric} AS metric, {self._metric} AS value, {setting} AS setting, facts.problem"
        )
        return f"SELECT {columns} {self._source()} ORDER BY {self._order()} LIMIT :size OFFSET :offset"

    def _source(self) -> str:
        chosen = self._chosen
        joins = f"FROM main.runs AS runs LEFT JOIN {ATTACHED}.facts AS facts ON facts.run_id = runs.run_id"
        if chosen.key:
            joins += (
                f" JOIN {ATTACHED}.settings AS chosen ON chosen.fact = facts.id AND chosen.name = "
                f"(SELECT id FROM {ATTACHED}.texts WHERE text = :key)"
            )
        return joins + (f" WHERE {' AND '.join(self.conditions)}" if self.conditions else "")

    def _metric_value(self) -> str:
        if not self._chosen.metric:
            return "facts.value"
        self.values["metric"] = self._chosen.metric
        return (
            f"(SELECT value FROM {ATTACHED}.metrics WHERE fact = facts.id AND name = "
            f"(SELECT id FROM {ATTACHED}.texts WHERE text = :metric))"
        )

    def _order(self) -> str:
        metric = self._metric
        return {
            RunOrder.NEWEST: "runs.sequence DESC",
            RunOrder.OLDEST: "runs.sequence",
            RunOrder.LONGEST: "runs.duration_s DESC, runs.sequence DESC",
            RunOrder.SHORTEST: "runs.duration_s, runs.sequence DESC",
            RunOrder.METRIC_HIGH: f"{metric} IS NULL, {metric} DESC, runs.sequence DESC",
            RunOrder.METRIC_LOW: f"{metric} IS NULL, {metric}, runs.sequence DESC",
        }[self._chosen.order]

    def _add_conditions(self) -> None:
        chosen = self._chosen
        self._add("runs.use_case = :use_case COLLATE NOCASE", use_case=chosen.use_case)
        self._add(f"{self._status} = :status", status=chosen.status)
        text = chosen.text[:_LONGEST_PREFIX]
        if text:
            self._add(
                "(runs.run_id >= :text AND runs.run_id < :text || char(1114111) "
                "OR instr(lower(facts.dataset_name), lower(:text)))",
                text=text,
            )
        self._add("facts.dataset = :dataset", dataset=chosen.dataset)
        if chosen.has_search:
            self.conditions.append("facts.has_search")
        if chosen.low is not None:
            self._add(f"{self._metric} >= :low", low=chosen.low)
        if chosen.high is not None:
            self._add(f"{self._metric} <= :high", high=chosen.high)
        if chosen.key:
            self.values["key"] = chosen.key
            self._add_setting()

    def _add_setting(self) -> None:
        """Add the condition on a key's value; numbers are compared as numbers, so that 3 equals 3.0."""
        chosen, number = self._chosen, number_of(self._chosen.value)
        if not chosen.value:
            self.conditions.append("chosen.fact IS NOT NULL")
            return
        text = f"(SELECT text FROM {ATTACHED}.texts WHERE id = chosen.value)"
        if chosen.test is SettingTest.CONTAINS:
            self._add(f"instr(lower({text}), lower(:value))", value=chosen.value)
        elif number is None:
            sign = str(chosen.test)
            self._add(f"{text} {sign} :value", value=chosen.value)
        elif chosen.test is SettingTest.NOT_EQUAL:
            self._add("(chosen.number IS NULL OR chosen.number != :value)", value=number)
        else:
            self._add(f"chosen.number {chosen.test} :value", value=number)

    def _add(self, condition: str, **value: object) -> None:
        if any(item not in ("", None) for item in value.values()):
            self.conditions.append(condition)
            self.values |= value


def _listed(row: sqlite3.Row) -> ListedRun:
    is_known = row["status"] in set(RunStatus)
    return ListedRun(
        run_id=row["run_id"],
        use_case=row["use_case"],
        status=row["status"] if is_known else "damaged",
        created=row["created"],
        runner=row["runner"],
        duration_s=row["duration_s"],
        model_version=row["model_version"],
        metric=(row["metric"] or "") if row["value"] is not None else "",
        value=row["value"],
        setting=row["setting"] or "",
        problem=(row["problem"] or "") if is_known else "its row in mlops.db is damaged; see: mlops doctor",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChoices:
    """What a filter can be made of.

    Attributes:
        use_cases: with at least one run.
        keys: of the configurations.
        metrics: with at least one value.
    """

    use_cases: tuple[str, ...]
    keys: tuple[str, ...]
    metrics: tuple[str, ...]


def filter_choices(store: Store) -> FilterChoices:
    """Return what the runs of a workspace can be filtered by; the index is attached to `store`."""
    with store.reading() as db:
        use_cases = [row[0] for row in db.execute(_USE_CASES)]
        keys = [row[0] for row in db.execute(_names("settings"))]
        metrics = [row[0] for row in db.execute(_names("metrics"))]
    return FilterChoices(use_cases=tuple(sorted(use_cases)), keys=tuple(sorted(keys)), metrics=tuple(sorted(metrics)))


# From one name to the next in the index, since each has as many rows as there are runs.
_USE_CASES = (
    "WITH RECURSIVE names (name) AS (SELECT min(use_case) FROM main.runs UNION ALL "
    "SELECT (SELECT min(use_case) FROM main.runs WHERE use_case COLLATE NOCASE > names.name COLLATE NOCASE) "
    "FROM names WHERE name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL"
)


def _names(table: str) -> str:
    return (
        f"WITH RECURSIVE names (name) AS (SELECT min(name) FROM {ATTACHED}.{table} UNION ALL "
        f"SELECT (SELECT min(name) FROM {ATTACHED}.{table} WHERE name > names.name) FROM names "
        f"WHERE name IS NOT NULL) SELECT text FROM names JOIN {ATTACHED}.texts ON texts.id = names.name"
    )
