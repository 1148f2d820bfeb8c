"""Recorded events through the rules: what matches, what starts, and what is only reported again.

The bus starts one execution for each event that matches. `mlops watch` and this simulation keep one journal: the same
arrival counts once, a run waits for a quiet period, and a rule has one run at a time. Times are those of the events,
in the order in which they are delivered.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core import UsageError
from mlops_core.watching import Reception, StartJournal, StartStatus
from mlops_sagemaker.triggers.arrivals import arrival_of, event_time
from mlops_sagemaker.triggers.patterns import EventPattern, RuleIndex, read_event
from mlops_sagemaker.triggers.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlops_sagemaker.triggers.rules import EventRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One event and one rule.

    Attributes:
        number: of the event in its file, from 1.
        rule: name of the rule.
        result: ``new``, ``doubled`` or ``superseded`` for a match; ``no match`` otherwise.
        reason: the first field that does not match.
        parameters: what the target is given.
    """

    number: int
    rule: str
    result: str
    reason: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStart:
    """One run, deployment or proposal.

    Attributes:
        rule: name of the rule.
        at: when it starts, in seconds since 1970.
        keys: of the objects that it takes together; empty for an event that is not about an object.
    """

    rule: str
    at: float
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What came of a stream of events.

    Attributes:
        events: number of events.
        outcomes: of each event and rule that matches; with reasons, of every rule.
        deliveries: how often the bus would have called each target.
        starts: what starts when arrivals are counted once and gathered over quiet periods.
    """

    events: int
    outcomes: tuple[Outcome, ...]
    deliveries: Mapping[str, int]
    starts: tuple[SimulatedStart, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the simulation as JSON types only."""
        return asdict(self)


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a file, one JSON object per line.

    Raises:
        UsageError: the file cannot be read, or a line is not an event, has no time, or lacks what says which object
            arrived.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    event = read_event(line, origin=f"{path} (line {number})")
                    with _named(f"{path} (line {number})"):
                        event_time(event)
                        arrival_of(event)
                    yield event
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}; expected one event per line, as JSON") from None


@contextlib.contextmanager
def _named(event: str) -> Iterator[None]:
    """Say in errors which event they are about."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"event {event}: {error}") from None


def simulate(
    rules: Sequence[EventRule], events: Iterable[Mapping[str, Any]], *, run_s: float = 600, explains: bool = False
) -> Simulation:
    """Return what comes of events.

    Args:
        rules: for the service; schedules match no event.
        events: in the order of their delivery.
        run_s: how long each run takes, in seconds; what arrives meanwhile waits.
        explains: also give the reason for each rule that does not match.

    Raises:
        UsageError: an event has no time, or lacks what says which object arrived.
    """
    with StartJournal(None) as journal:
        return _Simulator(rules, journal, run_s=run_s, explains=explains).carry_out(events)


class _Simulator:
    def __init__(self, rules: Sequence[EventRule], journal: StartJournal, *, run_s: float, explains: bool) -> None:
        self._rules = {rule.name: rule for rule in rules if rule.pattern is not None and rule.rule.is_enabled}
        self._patterns = {name: EventPattern.of(rule.pattern) for name, rule in self._rules.items()}
        self._index = RuleIndex(self._patterns)
        self._journal = journal
        self._run_s = run_s
        self._explains = explains
        self._now = 0.0
        self._ends: dict[str, float] = {}
        self._starts: list[SimulatedStart] = []
        self._deliveries: dict[str, int] = dict.fromkeys(self._rules, 0)
        self._seen: set[tuple[str, str]] = set()

    def carry_out(self, events: Iterable[Mapping[str, Any]]) -> Simulation:
        outcomes: list[Outcome] = []
        count = 0
        for count, event in enumerate(events, start=1):
            with _named(str(count)):
                self._advance(max(self._now, event_time(event)))
                matched = self._index.match(event)
                outcomes += [self._deliver(count, self._rules[name], event) for name in matched]
            if self._explains:
                outcomes += self._reasons(count, event, matched)
        self._advance(float("inf"))
        return Simulation(
            events=count,
            outcomes=tuple(outcomes),
            deliveries=self._deliveries,
            starts=tuple(sorted(self._starts, key=lambda start: (start.at, start.rule))),
        )

    def _deliver(self, number: int, made: EventRule, event: Mapping[str, Any]) -> Outcome:
        self._deliveries[made.name] += 1
        parameters = {name: resolve(value, event) for name, value in made.parameters.items()}
        arrival = arrival_of(event)
        if arrival is None:
            result = self._act_once(made, event)
        else:
            seen = type(arrival)(**{**asdict(arrival), "at": self._now})
            result = self._journal.receive([(seen, (made.name,))])[0][2]
        return Outcome(number=number, rule=made.name, result=result, parameters=parameters)

    def _act_once(self, made: EventRule, event: Mapping[str, Any]) -> Reception:
        """Start at once; the service may send several events for one change of state, and they count once."""
        identity = made.name, json.dumps([event.get("resources"), event.get("detail")], sort_keys=True)
        if identity in self._seen:
            return Reception.DOUBLED
        self._seen.add(identity)
        self._starts.append(SimulatedStart(rule=made.name, at=self._now, keys=()))
        return Reception.NEW

    def _reasons(self, number: int, event: Mapping[str, Any], matched: tuple[str, ...]) -> Iterator[Outcome]:
        for name, pattern in self._patterns.items():
            if name not in matched:
                yield Outcome(number=number, rule=name, result="no match", reason=str(pattern.mismatch(event)))

    def _advance(self, now: float) -> None:
        """Let runs end and start until `now`."""
        while True:
            moments = [moment for name in self._rules if (moment := self._next(name)) is not None]
            if not moments or min(moments)[0] > now:
                break
            first, name = min(moments)
            self._now = max(self._now, first)
            self._step(name)
        if now != float("inf"):
            self._now = max(self._now, now)

    def _next(self, name: str) -> tuple[float, str] | None:
        if name in self._ends:
            return self._ends[name], name
        waiting = self._journal.waiting(self._rule(name))
        return (max(waiting.due_at, self._now), name) if waiting else None

    def _step(self, name: str) -> None:
        if name in self._ends:
            del self._ends[name]
            start = self._journal.unfinished(name)
            assert start is not None  # noqa: S101  for mypy: it has an end
            self._journal.finish(start, StartStatus.DONE, now=self._now)
            return
        start = self._journal.start(self._rule(name), run_id=f"run-{len(self._starts)}", now=self._now)
        assert start is not None  # noqa: S101  for mypy: it is due
        self._ends[name] = self._now + self._run_s
        keys = tuple(self._journal.keys_of(start))
        self._starts.append(SimulatedStart(rule=name, at=self._now, keys=keys))

    def _rule(self, name: str) -> Any:
        from dataclasses import replace

        return replace(self._rules[name].rule, name=name)
