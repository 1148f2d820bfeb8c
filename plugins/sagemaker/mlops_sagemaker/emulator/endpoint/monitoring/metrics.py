"""CloudWatch's metrics and alarms, which moto stores but does not evaluate.

An alarm is evaluated when data of its metric arrive, when it is described and while a deployment watches it, over the
periods that end at that moment; its periods are shortened by the time scale of the endpoint. It watches a metric or an
expression over several. A state that ``SetAlarmState`` sets holds until new data of the metric arrive.
"""

from __future__ import annotations

import datetime as dt
import math
import operator
import re
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moto.cloudwatch.exceptions import InvalidParameterValue
from moto.cloudwatch.models import cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from mlops_sagemaker.emulator.endpoint.monitoring.expressions import ExpressionError, names_in, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Place = tuple[str, str]
    """An account and a region."""
    Metric = tuple[str, str, frozenset[tuple[str, str]]]
    """Namespace, name and dimensions of a metric."""

NAMESPACE = "AWS/SageMaker"
_KEPT = 20_000
_REPLACED = (
    *("put_metric_alarm", "put_metric_data", "set_alarm_state", "describe_alarms"),
    "get_metric_statistics",
)
_REFUSED = ("AlarmRule", "ThresholdMetricId")
_ONLY = "value"
"""Name of the metric of an alarm without an expression."""
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)\Z")
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "SampleCount": lambda values: float(len(values)),
    "Average": lambda values: sum(values) / len(values),
    "Sum": sum,
    "Minimum": min,
    "Maximum": max,
}
_MISSING = ("breaching", "notBreaching", "ignore", "missing")
_ALARM, _OK, _UNKNOWN = "ALARM", "OK", "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    """A metric of an alarm, with the statistic of each period."""

    metric: Metric
    statistic: str
    period_s: float


class MetricAlarms:
    """The alarms of all regions; thread-safe."""

    def __init__(self, *, time_scale: float) -> None:
        """Shorten the periods of alarms by `time_scale`."""
        self._scale = time_scale
        self._lock = threading.RLock()
        self._data: dict[tuple[Place, Metric], deque[tuple[float, float]]] = {}
        self._held: dict[tuple[Place, str], float] = {}
        self._tripped: dict[tuple[Place, str], float] = {}
        self._former: dict[str, Any] = {}

    # --- moto ---------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Replace the operations of moto that store data and alarms without looking at them."""
        for name in _REPLACED:
            self._former[name] = getattr(CloudWatchResponse, name)
        former = dict(self._former)
        alarms = self

        def put_metric_alarm(response: Any) -> Any:
            _require_evaluable(response)
            answer = former["put_metric_alarm"](response)
            alarms._created(_place(response), _parameter(response, "AlarmName"))
            return answer

        def put_metric_data(response: Any) -> Any:
            answer = former["put_metric_data"](response)
            namespace, data = _parameter(response, "Namespace"), _parameter(response, "MetricData") or ()
            alarms._received(_place(response), namespace, data)
            return answer

        def set_alarm_state(response: Any) -> Any:
            answer = former["set_alarm_state"](response)
            alarms._hold(_place(response), _parameter(response, "AlarmName"))
            return answer

        def describe_alarms(response: Any) -> Any:
            alarms.evaluate(_place(response))
            return former["describe_alarms"](response)

        def get_metric_statistics(response: Any) -> Any:
            return ActionResult(alarms._statistics(response))

        for method in (put_metric_alarm, put_metric_data, set_alarm_state, describe_alarms, get_metric_statistics):
            setattr(CloudWatchResponse, method.__name__, method)

    def remove(self) -> None:
        """Restore the operations of moto."""
        for name, method in self._former.items():
            setattr(CloudWatchResponse, name, method)
        self._former = {}

    # --- Metrics ------------------------------------------------------------------------------------------

    def record(self, place: Place, values: Mapping[str, float], *, dimensions: Iterable[Mapping[str, str]]) -> None:
        """Store a value of each metric of SageMaker, for each set of dimensions, and evaluate the alarms."""
        data = [
            {
                "MetricName": name,
                "Value": value,
                "Dimensions": [{"Name": key, "Value": text} for key, text in each.items()],
                "Timestamp": dt.datetime.now(dt.UTC).replace(tzinfo=None),  # as moto stores times
            }
            for each in dimensions
            for name, value in values.items()
        ]
        cloudwatch_backends[place[0]][place[1]].put_metric_data(NAMESPACE, data)
        self._received(place, NAMESPACE, data)

    def _statistics(self, response: Any) -> dict[str, Any]:
        """Return the response of ``GetMetricStatistics``; moto would add up metrics with further dimensions."""
        name, statistics = _parameter(response, "MetricName"), _parameter(response, "Statistics") or ()
        if not statistics or _parameter(response, "ExtendedStatistics") or _parameter(response, "Unit"):
            raise InvalidParameterValue("GetMetricStatistics: this endpoint supports Statistics, without Unit")
        dimensions = _dimensions(_parameter(response, "Dimensions") or ())
        start, end = (_seconds(_parameter(response, name)) for name in ("StartTime", "EndTime"))
        period_s = float(_parameter(response, "Period"))
        periods: dict[int, list[float]] = {}
        with self._lock:
            key = (_place(response), (str(_parameter(response, "Namespace")), str(name), dimensions))
            for moment, value in self._data.get(key, ()):
                if start <= moment < end:
                    periods.setdefault(int((moment - start) // period_s), []).append(value)
        points = [
            {
                "Timestamp": dt.datetime.fromtimestamp(start + number * period_s, dt.UTC),
                "Unit": "None",
                **{each: _STATISTICS[each](values) for each in statistics},
            }
            for number, values in sorted(periods.items())
        ]
        return {"Label": name, "Datapoints": points}

    def _received(self, place: Place, namespace: str, data: Iterable[Mapping[str, Any]]) -> None:
        changed = set()
        with self._lock:
            for each in data:
                metric = (namespace, str(each["MetricName"]), _dimensions(each.get("Dimensions") or ()))
                series = self._data.setdefault((place, metric), deque(maxlen=_KEPT))
                moment = _seconds(each.get("Timestamp"))
                series.extend((moment, value) for value in _values(each))
                changed.add(metric)
        self.evaluate(place, changed)

    # --- Alarms -------------------------------------------------------------------------------------------

    def exists(self, place: Place, name: str) -> bool:
        """Return whether there is an alarm of this name."""
        return name in cloudwatch_backends[place[0]][place[1]].alarms

    def in_alarm(self, place: Place, names: Iterable[str], *, since: float = math.inf) -> list[str]:
        """Return the alarms among `names` that are in alarm, or have been since a moment of `time.time`."""
        self.evaluate(place)
        alarms = cloudwatch_backends[place[0]][place[1]].alarms
        with self._lock:
            return [
                name
                for name in names
                if (name in alarms and alarms[name].state_value == _ALARM)
                or self._tripped.get((place, name), -math.inf) >= since
            ]

    def evaluate(self, place: Place, metrics: Iterable[Metric] | None = None) -> None:
        """Update the states of the alarms of a region, or of those of some metrics."""
        chosen = None if metrics is None else set(metrics)
        with self._lock:
            for alarm in tuple(cloudwatch_backends[place[0]][place[1]].alarms.values()):
                terms, _ = _terms(alarm)
                if chosen is None or any(term.metric in chosen for term in terms.values()):
                    self._judge(place, alarm)

    def _created(self, place: Place, name: str) -> None:
        with self._lock:
            self._held.pop((place, name), None)
            self._tripped.pop((place, name), None)
            alarm = cloudwatch_backends[place[0]][place[1]].alarms[name]
            alarm.state_value = _UNKNOWN
            self._judge(place, alarm)

    def _hold(self, place: Place, name: str) -> None:
        with self._lock:
            self._held[place, name] = time.time()
            if cloudwatch_backends[place[0]][place[1]].alarms[name].state_value == _ALARM:
                self._tripped[place, name] = time.time()

    def _judge(self, place: Place, alarm: Any) -> None:
        terms, expression = _terms(alarm)
        series = {name: self._data.get((place, term.metric), ()) for name, term in terms.items()}
        held = self._held.get((place, alarm.name))
        if held is not None:
            if not any(moment > held for each in series.values() for moment, _ in each):
                return
            del self._held[place, alarm.name]
        count = int(alarm.evaluation_periods)
        by_name = {name: self._by_period(series[name], term, count=count) for name, term in terms.items()}
        values = [{name: points[number] for name, points in by_name.items()} for number in range(count)]
        state, reason = _state(alarm, [value_of(expression, each) for each in values])
        if state == _ALARM:
            self._tripped[place, alarm.name] = time.time()
        if state != alarm.state_value:
            alarm.update_state(reason, "{}", state)

    def _by_period(self, series: Sequence[tuple[float, float]], term: _Term, *, count: int) -> list[float | None]:
        """Return the statistic of each of the last periods, the newest first; None for a period without data."""
        now, period_s = time.time(), term.period_s * self._scale
        periods: list[list[float]] = [[] for _ in range(count)]
        for moment, value in reversed(series):
            age = int((now - moment) / period_s) if moment <= now else 0
            if age < count:
                periods[age].append(value)
            elif age > 2 * count:  # clients may send data a little late, so not at the first old value
                break
        statistic = _statistic(term.statistic)
        return [statistic(values) if values else None for values in periods]


def _terms(alarm: Any) -> tuple[dict[str, _Term], str]:
    """Return the metrics of an alarm by name, and the expression over them."""
    if not alarm.metric_data_queries:
        term = _Term(
            metric=(str(alarm.namespace), str(alarm.metric_name), _dimension_set(alarm.dimensions)),
            statistic=str(alarm.statistic or alarm.extended_statistic),
            period_s=float(alarm.period),
        )
        return {_ONLY: term}, _ONLY
    terms, expression = {}, ""
    for query in alarm.metric_data_queries:
        if query.metric_stat is None:
            expression = str(query.expression)
            continue
        stat = query.metric_stat
        metric = (str(stat.metric.namespace), str(stat.metric.metric_name), _dimension_set(stat.metric.dimensions))
        terms[str(query.id)] = _Term(metric=metric, statistic=str(stat.stat), period_s=float(stat.period))
        if query.return_data is not False and not expression:
            expression = str(query.id)
    return terms, expression


def _state(alarm: Any, periods: Sequence[float | None]) -> tuple[str, str]:
    """Return the state of an alarm by the values of its periods, with the reason."""
    count, treatment = len(periods), alarm.treat_missing_data or "missing"
    threshold, compare = float(alarm.threshold), _COMPARISONS[alarm.comparison_operator]
    points = [value for value in periods if value is not None]
    breaches = sum(compare(point, threshold) for point in points)
    if treatment == "breaching":
        breaches += count - len(points)
    needed = int(alarm.datapoints_to_alarm or count)
    if breaches >= needed:
        shown = ", ".join(f"{point:g}" for point in points) or "no data"
        return _ALARM, f"Threshold Crossed: {shown} against {threshold:g} ({alarm.comparison_operator})"
    if points or treatment == "notBreaching":
        return _OK, f"Threshold not crossed in {needed} of {count} periods"
    if treatment == "ignore":
        return alarm.state_value, alarm.state_reason
    return _UNKNOWN, "no data"


def _statistic(name: str) -> Callable[[Sequence[float]], float]:
    if name in _STATISTICS:
        return _STATISTICS[name]
    share = float(name[1:]) / 100

    def percentile(values: Sequence[float]) -> float:
        ordered = sorted(values)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return percentile


def _require_evaluable(response: Any) -> None:
    """Raise for an alarm that would never change its state here.

    Raises:
        InvalidParameterValue: names what is not supported.
    """
    name = _parameter(response, "AlarmName")
    for member in _REFUSED:
        if _parameter(response, member):
            raise InvalidParameterValue(f"alarm {name}: {member} is not supported by this endpoint")
    compared = _parameter(response, "ComparisonOperator")
    if compared not in _COMPARISONS:
        raise InvalidParameterValue(f"alarm {name}: ComparisonOperator {compared} is not supported by this endpoint")
    treatment = _parameter(response, "TreatMissingData")
    if treatment and treatment not in _MISSING:
        raise InvalidParameterValue(f"alarm {name}: TreatMissingData must be one of {', '.join(_MISSING)}")
    if _parameter(response, "Threshold") is None or not _parameter(response, "EvaluationPeriods"):
        raise InvalidParameterValue(f"alarm {name}: Threshold and EvaluationPeriods must be set")
    queries = _parameter(response, "Metrics")
    fault = _expression_fault(queries) if queries else _metric_fault(response)
    if fault:
        raise InvalidParameterValue(f"alarm {name}: {fault}")


def _metric_fault(response: Any) -> str:
    statistic, extended = _parameter(response, "Statistic"), _parameter(response, "ExtendedStatistic")
    if bool(statistic) is bool(extended):
        return "exactly one of Statistic and ExtendedStatistic must be set"
    missing = [member for member in ("MetricName", "Namespace", "Period") if not _parameter(response, member)]
    return f"{missing[0]} must be set" if missing else _statistic_fault(str(statistic or extended))


def _expression_fault(queries: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong with the metrics and the expression of an alarm; empty for nothing."""
    statistics = {each["Id"]: each["MetricStat"] for each in queries if each.get("MetricStat")}
    expressions = [each["Expression"] for each in queries if each.get("Expression")]
    returned = [each for each in queries if each.get("ReturnData") is not False]
    if len(returned) != 1 or len(expressions) > 1:
        return "exactly one of Metrics must return data, and at most one may be an expression here"
    for stat in statistics.values():
        if fault := _statistic_fault(str(stat["Stat"])):
            return fault
    try:
        unknown = names_in(expressions[0]) - set(statistics) if expressions else set()
    except ExpressionError as error:
        return str(error)
    return f"expression names {min(unknown)}, which is not one of its metrics" if unknown else ""


def _statistic_fault(name: str) -> str:
    is_known = name in _STATISTICS or _PERCENTILE.match(name)
    return "" if is_known else f"statistic {name} is not supported by this endpoint"


def _place(response: Any) -> Place:
    return response.current_account, response.region


def _parameter(response: Any, name: str) -> Any:
    """Return a parameter of the request, as moto's own methods read it."""
    return response._get_param(name)  # noqa: SLF001  moto has no public accessor


def _dimension_set(dimensions: Iterable[Any]) -> frozenset[tuple[str, str]]:
    return frozenset((each.name, each.value) for each in dimensions)


def _dimensions(listed: Iterable[Mapping[str, str]]) -> frozenset[tuple[str, str]]:
    return frozenset((each["Name"], each["Value"]) for each in listed)


def _seconds(moment: Any) -> float:
    if moment is None:
        return time.time()
    if isinstance(moment, dt.datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
    return float(moment)


def _values(datum: Mapping[str, Any]) -> list[float]:
    """Return the values of a datum; the mean, once per sample, of one that gives statistics only."""
    if datum.get("Values"):
        counts = datum.get("Counts") or [1] * len(datum["Values"])
        return [float(v) for v, n in zip(datum["Values"], counts, strict=True) for _ in range(int(float(n)))]
    statistics = datum.get("StatisticValues")
    if statistics:
        count = max(1, int(float(statistics["SampleCount"])))
        return [float(statistics["Sum"]) / count] * count
    return [float(datum.get("Value", 0))]
