"""``triggers.yaml``: which events start what, as data; every fault of the file is reported at once, with its line.

::

    use_case: MY_CASE
    rules:
      - {name: images, kind: object, bucket: my-data, key: train/intel.zip}
      - {name: labels, kind: prefix, bucket: my-data, prefix: annotations/, suffix: .csv, quiet_s: 300}
      - {name: deploy, kind: approval, group: MY_CASE, to: staging}
      - {name: retrain, kind: proposal, "on": [pipeline-failed, drift]}
      - {name: weekly, kind: schedule, expression: "cron(0 3 ? * MON *)", timezone: Europe/Berlin}
"""

from __future__ import annotations

import zoneinfo
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from mlops_core.config_files.yaml_source import read_yaml_file
from mlops_core.errors import ConfigError, UsageError, did_you_mean
from mlops_core.names import name_fault
from mlops_core.use_cases.discovery import discover_use_cases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from mlops_core.config_files.yaml_source import YamlSource
    from mlops_core.watching.arrivals import Arrival

CAUSES = ("pipeline-failed", "drift")
STAGES = ("staging", "production")
_KEYS = ("use_case", "rules")
_MOST_RULES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRule:
    """What all rules have.

    Attributes:
        name: of the rule, unique in its file.
        use_case: what is run or deployed.
        quiet_s: a run starts when no more arrivals were noticed for this long.
        max_wait_s: but at the latest this long after the first of them.
        parameters: values of the pipeline's parameters, name -> text.
        is_enabled: a rule that is not enabled starts nothing.
    """

    kind: ClassVar[str] = ""

    name: str
    use_case: str = ""
    quiet_s: float = 60.0
    max_wait_s: float = 600.0
    parameters: Mapping[str, str] = field(default_factory=dict)
    is_enabled: bool = True

    def accepts(self, arrival: Arrival) -> bool:  # noqa: ARG002  two kinds look at it
        """Return whether an arrival starts a run by this rule."""
        return False

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield each fault as the key and the end of a sentence about it."""
        for key in ("quiet_s", "max_wait_s"):
            if not 0 <= getattr(self, key) <= 86_400:
                yield key, f"is {getattr(self, key):g}; expected seconds between 0 and 86400"
        if self.max_wait_s < self.quiet_s:
            yield "max_wait_s", f"is less than quiet_s ({self.quiet_s:g}); no run would wait for a quiet period"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRule(TriggerRule):
    """One object is put somewhere: run with it as the data set.

    Attributes:
        bucket: name of its bucket.
        key: of the object.
    """

    kind: ClassVar[str] = "object"

    bucket: str
    key: str

    def accepts(self, arrival: Arrival) -> bool:
        """Return whether the object arrived."""
        return (arrival.bucket, arrival.key) == (self.bucket, self.key) and not arrival.is_restored

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield each fault as the key and the end of a sentence about it."""
        yield from TriggerRule.faults(self)
        yield from _bucket_faults(self.bucket)
        yield from _key_faults("key", self.key)
        if self.key.endswith("/"):
            yield "key", f"is {self.key!r}, which ends in a slash; for all objects below it, use kind: prefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixRule(TriggerRule):
    """Objects are put or restored below a prefix: run with them applied to the data set.

    Attributes:
        bucket: name of their bucket.
        prefix: beginning of their keys.
        suffix: end of their keys; empty for any.
        dataset_key: key of the data set that they complete or correct; empty for `prefix` itself.
    """

    kind: ClassVar[str] = "prefix"

    bucket: str
    prefix: str
    suffix: str = ""
    dataset_key: str = ""

    def accepts(self, arrival: Arrival) -> bool:
        """Return whether an object arrived below the prefix."""
        is_here = arrival.bucket == self.bucket and arrival.key.startswith(self.prefix)
        return is_here and arrival.key.endswith(self.suffix) and not arrival.key.endswith("/")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield each fault as the key and the end of a sentence about it."""
        yield from TriggerRule.faults(self)
        yield from _bucket_faults(self.bucket)
        yield from _key_faults("prefix", self.prefix)
        if self.prefix and not self.prefix.endswith("/") and not self.suffix:
            yield (
                "prefix",
                f"is {self.prefix!r}, which also takes {self.prefix + '.tmp'!r}; end it with / or set suffix",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule(TriggerRule):
    """A model version is approved: deploy that version.

    Attributes:
        group: of the model versions; empty for that of the use case.
        to: stage to deploy to.
    """

    kind: ClassVar[str] = "approval"

    group: str = ""
    to: str = "staging"

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield each fault as the key and the end of a sentence about it."""
        yield from TriggerRule.faults(self)
        if self.to not in STAGES:
            yield "to", f"is {self.to!r}; expected {' or '.join(STAGES)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalRule(TriggerRule):
    """A pipeline fails or a served model drifts: propose a run to those who decide; nothing starts by itself.

    Attributes:
        on: causes; see `CAUSES`.
        pipeline: name of the pipeline; empty for that of the use case.
    """

    kind: ClassVar[str] = "proposal"

    on: tuple[str, ...] = CAUSES
    pipeline: str = ""

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield each fault as the key and the end of a sentence about it."""
        yield from TriggerRule.faults(self)
        for cause in self.on:
            if cause not in CAUSES:
                yield "on", f"has {cause!r}{did_you_mean(cause, CAUSES) or '; expected ' + ' or '.join(CAUSES)}"
        if not self.on:
            yield "on", f"is empty; expected at least one of {', '.join(CAUSES)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRule(TriggerRule):
    """A time comes: run.

    Attributes:
        expression: ``rate(...)``, ``cron(...)`` or ``at(...)``.
        timezone: of a cron or at expression.
    """

    kind: ClassVar[str] = "schedule"

    expression: str
    timezone: str = "UTC"

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield each fault as the key and the end of a sentence about it."""
        from mlops_core.watching.schedules import schedule_fault

        yield from TriggerRule.faults(self)
        fault = schedule_fault(self.expression)
        if fault:
            yield "expression", f"{self.expression!r} {fault}"
        try:
            zoneinfo.ZoneInfo(self.timezone)
        except (OSError, ValueError, KeyError):
            yield "timezone", f"{self.timezone!r} is not a time zone; expected a name such as Europe/Berlin"


_KINDS: dict[str, type[TriggerRule]] = {
    kind.kind: kind for kind in (ObjectRule, PrefixRule, ApprovalRule, ProposalRule, ScheduleRule)
}


def read_rules(path: Path) -> tuple[TriggerRule, ...]:
    """Return the rules of a file.

    Raises:
        ConfigError: the file cannot be read, or a rule is wrong; all faults together, each with its line.
    """
    return rules_of(read_yaml_file(path, environ={}))


def rules_for(rules: Iterable[TriggerRule], use_case: str, *, default: str = "") -> tuple[TriggerRule, ...]:
    """Return rules with their use cases, spelled as they are registered where they are installed.

    Args:
        rules: of a file.
        use_case: that a command names; empty for none.
        default: for rules that name none, where the command names none either.

    Raises:
        UsageError: a rule names another one than the command.
    """
    registered = {each.name.casefold(): each.name for each in discover_use_cases()}
    owned = []
    for rule in rules:
        if use_case and rule.use_case and rule.use_case.casefold() != use_case.casefold():
            raise UsageError(
                f"rule '{rule.name}' is for the use case {rule.use_case}, not for {use_case}; leave --usecase out, or "
                "change use_case in the rules file"
            )
        name = rule.use_case or use_case or default
        owned.append(replace(rule, use_case=registered.get(name.casefold(), name)))
    return tuple(owned)


def rules_of(source: YamlSource) -> tuple[TriggerRule, ...]:
    """Return the rules of a document; errors are those of `read_rules`."""
    problems = [
        f"{_where(source, key)} is not a key{did_you_mean(key, _KEYS)}; keys: {', '.join(_KEYS)}"
        for key in source.data
        if key not in _KEYS
    ]
    items = source.data.get("rules")
    if not isinstance(items, list) or not items:
        problems.append(f"{source.name}: rules must be a list of rules, each with a name and a kind")
        items = []
    if len(items) > _MOST_RULES:
        problems.append(f"{source.name} has {len(items)} rules; a bus takes at most {_MOST_RULES}")
    rules: list[TriggerRule] = []
    for number, item in enumerate(items):
        rule = _rule(source, f"rules[{number}]", item, problems)
        if rule is None:
            continue
        problems += [f"{_where(source, f'rules[{number}].{key}')} {fault}" for key, fault in rule.faults()]
        if any(rule.name == other.name for other in rules):
            problems.append(f"{_where(source, f'rules[{number}].name')} {rule.name!r} is taken by an earlier rule")
        rules.append(rule)
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        raise ConfigError(f"{source.name} has {len(problems)} faults", problems=problems)
    return tuple(rules)


def _where(source: YamlSource, key: str) -> str:
    parts = key
    while parts and parts not in source.lines:
        parts = parts.rpartition(".")[0]
    return f"{source.name} (line {source.lines.get(parts, 1)}): {key}"


def _rule(source: YamlSource, key: str, item: object, problems: list[str]) -> TriggerRule | None:
    if not isinstance(item, dict):
        problems.append(f"{_where(source, key)} is not a rule; expected a mapping with a name and a kind")
        return None
    name, kind = item.get("name"), item.get("kind")
    count = len(problems)
    if fault := name_fault(name):
        problems.append(f"{_where(source, f'{key}.name')} {name!r} {fault}")
    if not isinstance(kind, str) or kind not in _KINDS:
        near = did_you_mean(str(kind), _KINDS)
        problems.append(
            f"{_where(source, f'{key}.kind')} {kind!r} is not a kind{near or ''}; kinds: {', '.join(_KINDS)}"
        )
        return None
    shared = {"use_case": source.data.get("use_case", "")}
    values = {name: value for name, value in {**shared, **item}.items() if name != "kind"}
    _check_values(source, key, values, _KINDS[kind], problems)
    _check_spellings(source, key, problems)
    return _KINDS[kind](**_converted(source, key, values)) if len(problems) == count else None


def _check_values(
    source: YamlSource, key: str, values: Mapping[str, Any], kind: type[TriggerRule], problems: list[str]
) -> None:
    known = {each.name: each for each in fields(kind)}
    for name, value in values.items():
        if name not in known:
            near = did_you_mean(name, known)
            problems.append(
                f"{_where(source, f'{key}.{name}')} is not a key of kind {kind.kind}{near or ''}; "
                f"keys: {', '.join(known)}"
            )
        elif fault := _type_fault(str(known[name].type), value):
            problems.append(f"{_where(source, f'{key}.{name}')} is {value!r}; expected {fault}")
    for name, each in known.items():
        if each.default is MISSING and each.default_factory is MISSING and name not in values:
            problems.append(f"{_where(source, key)} has no {name}, which kind {kind.kind} needs")


def _check_spellings(source: YamlSource, key: str, problems: list[str]) -> None:
    """Note values that readers of YAML take for different ones, but those that already are a problem."""
    for place, ambiguity in source.ambiguities.items():
        where = _where(source, place)
        if place.startswith(f"{key}.") and not any(problem.startswith(f"{where} ") for problem in problems):
            problems.append(f"{where}: {ambiguity}")


def _type_fault(declared: str, value: object) -> str:
    """Return what was expected of a value of the wrong type; empty if it is right."""
    if declared == "str":
        return "" if isinstance(value, str) and value.isprintable() else "a text"
    if declared == "float":
        return "" if isinstance(value, int | float) and not isinstance(value, bool) else "a number of seconds"
    if declared == "bool":
        return "" if isinstance(value, bool) else "true or false"
    if declared.startswith("tuple"):
        is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return "" if is_list else "a list of texts"
    is_mapping = isinstance(value, dict) and all(isinstance(each, str | int | float | bool) for each in value.values())
    return "" if is_mapping else "a mapping of names to values"


def _converted(source: YamlSource, key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a rule; those of parameters are the texts that are written in the file."""
    converted = dict(values)
    if isinstance(converted.get("on"), list):
        converted["on"] = tuple(converted["on"])
    if "parameters" in converted:
        converted["parameters"] = {
            name: source.spellings.get(f"{key}.parameters.{name}") or _text(value)
            for name, value in converted["parameters"].items()
        }
    return converted


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bucket_faults(bucket: str) -> Iterator[tuple[str, str]]:
    if not bucket or set(bucket) & set(":/\\"):
        name = bucket.rstrip("/").rpartition("/")[2].rpartition(":")[2]
        yield "bucket", f"is {bucket!r}; expected the bare name of a bucket{f', {name!r}' if name else ''}"


def _key_faults(what: str, key: str) -> Iterator[tuple[str, str]]:
    if not key:
        yield what, "is empty and would take every object, those that runs write included; name a part of the bucket"
    elif key.startswith("/") or "//" in key or {".", ".."} & set(key.split("/")):
        yield what, f"is {key!r}; expected a path such as train/intel.zip, without a slash first, '..' or '//'"
