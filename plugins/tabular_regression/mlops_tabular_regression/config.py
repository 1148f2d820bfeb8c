"""The typed model of the plugin's ``user_config.yaml``."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mlops_core import Section, TuningSection, UseCaseConfig, did_you_mean
from mlops_tabular_regression.formulas import formula_names

Positive = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(min_length=1)]
_SPACES = re.compile(r"[\s_\-]+")


class Rule(StrEnum):
    """The rules that a table can break."""

    SHAPE = "shape"
    TYPE = "type"
    CATEGORY = "category"
    RANGE = "range"
    MISSING = "missing"
    TARGET = "target"
    DUPLICATE = "duplicate"


UNUSABLE = (Rule.SHAPE, Rule.TARGET)
"""Rules whose violation makes a row unusable; their policy cannot be ``report``."""


class Policy(StrEnum):
    """The consequence of a violation: the table is refused, the row is dropped, or the row is used and reported."""

    REFUSE = "refuse"
    DROP = "drop"
    REPORT = "report"


class ColumnType(StrEnum):
    """The type of a column's cells."""

    NUMBER = "number"
    INTEGER = "integer"
    CATEGORY = "category"


def normalise_name(name: str) -> str:
    """Return a column's name for comparison: case, blanks, '_' and '-' are ignored."""
    return _SPACES.sub("_", unicodedata.normalize("NFC", name).strip().casefold())


def normalise_text(text: str) -> str:
    """Return a category or group in one Unicode normal form, so that equal words are equal."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


class DatasetSection(Section):
    """The data set to use: a catalogue entry or a folder."""

    name: Name = "Abalone_Generated"
    path: str | None = None


class Column(Section):
    """One column of the table; limits are in the column's own unit."""

    name: Name
    type: ColumnType = ColumnType.NUMBER
    unit: str = ""
    categories: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    may_be_missing: bool = False
    policy: dict[Rule, Policy] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        limits = [value for value in (self.minimum, self.maximum, self.above, self.below) if value is not None]
        if self.type is ColumnType.CATEGORY:
            if len(set(map(normalise_text, self.categories))) != len(self.categories) or len(self.categories) < 2:
                raise ValueError(f"column '{self.name}' needs two or more different categories, not {self.categories}")
            if limits:
                raise ValueError(f"column '{self.name}' is a category and has no minimum, maximum, above or below")
        elif self.categories:
            raise ValueError(f"column '{self.name}' has categories and the type {self.type}; expected type: category")
        low = max((value for value in (self.minimum, self.above) if value is not None), default=float("-inf"))
        high = min((value for value in (self.maximum, self.below) if value is not None), default=float("inf"))
        if low > high:
            raise ValueError(f"column '{self.name}': its range is empty: {self.expected()}")
        _check_policies(f"column '{self.name}'", self.policy)
        return self

    @property
    def is_numeric(self) -> bool:
        """Whether the cells are numbers."""
        return self.type is not ColumnType.CATEGORY

    def expected(self) -> str:
        """Return what a cell must be, as text for messages."""
        if not self.is_numeric:
            return f"one of {', '.join(self.categories)}"
        limits = (
            (" >= ", self.minimum),
            (" > ", self.above),
            (" <= ", self.maximum),
            (" < ", self.below),
        )
        bounds = " and".join(f"{sign}{value:g}" for sign, value in limits if value is not None)
        kind = "a whole number" if self.type is ColumnType.INTEGER else "a number"
        return f"{kind}{bounds}"


def _check_policies(where: str, policies: dict[Rule, Policy]) -> None:
    for rule in UNUSABLE:
        if policies.get(rule) is Policy.REPORT:
            raise ValueError(f"{where}: a row with a {rule} fault is unusable; expected {rule}: refuse or drop")


class TableSection(Section):
    """The file of the table, its layout and its schema."""

    file: str | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None
    header: bool | None = None
    encoding: str = "utf-8"
    missing_values: tuple[str, ...] = ("", "NA", "N/A", "NaN", "nan", "null", "?")
    unknown_columns: Literal["report", "refuse"] = "report"
    target: Name
    id: str | None = None
    group: str | None = None
    columns: Annotated[tuple[Column, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        names = [column.name for column in self.columns]
        for name in names:
            if [normalise_name(other) for other in names].count(normalise_name(name)) > 1:
                raise ValueError(f"column '{name}' is declared twice; case, blanks, '_' and '-' are ignored")
        if self.target not in names:
            raise ValueError(f"target '{self.target}' is not a column{did_you_mean(self.target, names)}")
        if not self.column(self.target).is_numeric:
            raise ValueError(f"target '{self.target}' is a category; a regression needs a number")
        for role, other in (("id", self.id), ("group", self.group)):
            if other in names:
                raise ValueError(
                    f"the {role} column '{other}' is also in table.columns; remove it there, it is not a feature"
                )
        if self.delimiter == self.decimal:
            raise ValueError(f"delimiter and decimal are both {self.decimal!r}")
        if self.thousands is not None and self.thousands in (self.decimal, self.delimiter):
            other = "decimal" if self.thousands == self.decimal else "delimiter"
            raise ValueError(f"thousands and {other} are both {self.thousands!r}")
        return self

    def column(self, name: str) -> Column:
        """Return the declared column `name`."""
        return next(column for column in self.columns if column.name == name)

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns without the target, in the order of the schema."""
        return tuple(column for column in self.columns if column.name != self.target)


class RulesSection(Section):
    """The policy of each rule; a column's own ``policy`` takes precedence."""

    shape: Policy = Policy.REFUSE
    type: Policy = Policy.REFUSE
    category: Policy = Policy.REFUSE
    range: Policy = Policy.REFUSE
    missing: Policy = Policy.REFUSE
    target: Policy = Policy.REFUSE
    duplicate: Policy = Policy.REPORT

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        _check_policies("rules", {rule: self.policy(rule) for rule in Rule})
        return self

    def policy(self, rule: Rule, column: Column | None = None) -> Policy:
        """Return the policy of `rule`, for `column` if it is given."""
        general: Policy = getattr(self, rule)
        return column.policy.get(rule, general) if column else general


class DerivedColumn(Section):
    """A derived feature: a formula of column names, numbers, + - * / and parentheses."""

    name: Name
    formula: Name

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        formula_names(self.formula)
        return self


class FeaturesSection(Section):
    """Features besides the columns themselves."""

    derived: tuple[DerivedColumn, ...] = ()


class SplitSection(Section):
    """Folds with the same distribution of the target; one is the test part, the others are the training part."""

    folds: Annotated[int, Field(ge=2, le=100)] = 5
    test_fold: Positive = 1

    @model_validator(mode="after")
    def _fold_is_there(self) -> Self:
        if self.test_fold > self.folds:
            raise ValueError(f"test_fold {self.test_fold} is above folds {self.folds}")
        return self


class TrainingSection(Section):
    """The settings to try by cross-validation within the training part, and the training of the best one."""

    objectives: Annotated[tuple[Literal["squared", "gamma", "poisson"], ...], Field(min_length=1)] = (
        "squared",
        "gamma",
    )
    leaves: Annotated[tuple[Annotated[int, Field(ge=2, le=4096)], ...], Field(min_length=1)] = (5, 9, 15)
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.04
    rounds: Annotated[int, Field(ge=1, le=100_000)] = 300
    minimum_rows_in_leaf: Positive = 20
    row_share: Annotated[float, Field(gt=0, le=1)] = 0.7
    column_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    l2: Annotated[float, Field(ge=0)] = 1.0
    bags: Annotated[int, Field(ge=1, le=100)] = 4
    search_folds: Annotated[int, Field(ge=2, le=20)] = 5
    search_rows: Annotated[int, Field(ge=100)] = 20_000
    model_rows: Annotated[int, Field(ge=100)] = 200_000


class IntervalsSection(Section):
    """The intervals around each prediction."""

    level: Annotated[float, Field(ge=0.5, le=0.99)] = 0.9


class TabularConfig(UseCaseConfig):
    """The whole configuration."""

    dataset: DatasetSection = DatasetSection()
    table: TableSection
    rules: RulesSection = RulesSection()
    features: FeaturesSection = FeaturesSection()
    split: SplitSection = SplitSection()
    training: TrainingSection = TrainingSection()
    intervals: IntervalsSection = IntervalsSection()
    tuning: TuningSection = TuningSection()

    @model_validator(mode="after")
    def _formulas_fit(self) -> Self:
        numeric = [column.name for column in self.table.features if column.is_numeric]
        taken = {column.name for column in self.table.columns}
        for index, derived in enumerate(self.features.derived):
            where = f"features.derived[{index}] '{derived.name}'"
            if derived.name in taken:
                raise ValueError(f"{where}: another column has this name")
            taken.add(derived.name)
            for name in formula_names(derived.formula):
                if name not in numeric:
                    hint = did_you_mean(name, numeric) or ";"
                    raise ValueError(
                        f"{where}: '{name}' is not a numeric feature of table.columns{hint} "
                        f"numeric: {', '.join(numeric) or 'none'}"
                    )
        return self
