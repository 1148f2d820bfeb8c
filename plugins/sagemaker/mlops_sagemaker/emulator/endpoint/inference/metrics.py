"""CloudWatch's metrics and alarms, which moto stores but does not evaluate.

An alarm is evaluated when data of its metric arrive, when it is described and while a deployment watches it, over the
periods that end at that moment; its periods are shortened by the time scale of the endpoint. A state that
``SetAlarmState`` sets holds until new data of the metric arrive.
"""

from __future__ import annotations

import datetime as dt
import math
import operator
import re
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from moto.cloudwatch.exceptions import InvalidParameterValue
from moto.cloudwatch.models import cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Place = tuple[str, str]
    """An account and a region."""
    Metric = tuple[str, str, frozenset[tuple[str, str]]]
    """Namespace, name and dimensions of a metric."""

NAMESPACE = "AWS/SageMaker"
_KEPT = 20_000
_REFUSED = ("Metrics", "AlarmRule", "ThresholdMetricId")
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
        for name in ("put_metric_alarm", "put_metric_data", "set_alarm_state", "describe_alarms"):
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

        for method in (put_metric_alarm, put_metric_data, set_alarm_state, describe_alarms):
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
                "Timestamp": dt.datetime.now(dt.UTC),
            }
            for each in dimensions
            for name, value in values.items()
        ]
        cloudwatch_backends[place[0]][place[1]].put_metric_data(NAMESPACE, data)
        self._received(place, NAMESPACE, data)

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
                metric = _metric(alarm)
                if chosen is None or metric in chosen:
                    self._judge(place, alarm, metric)

    def _created(self, place: Place, name: str) -> None:
        with self._lock:
            self._held.pop((place, name), None)
            self._tripped.pop((place, name), None)
            alarm = cloudwatch_backends[place[0]][place[1]].alarms[name]
            alarm.state_value = _UNKNOWN
            self._judge(place, alarm, _metric(alarm))

    def _hold(self, place: Place, name: str) -> None:
        with self._lock:
            self._held[place, name] = time.time()
            if cloudwatch_backends[place[0]][place[1]].alarms[name].state_value == _ALARM:
                self._tripped[place, name] = time.time()

    def _judge(self, place: Place, alarm: Any, metric: Metric) -> None:
        series = self._data.get((place, metric), ())
        held = self._held.get((place, alarm.name))
        if held is not None:
            if not any(moment > held for moment, _ in series):
                return
            del self._held[place, alarm.name]
        state, reason = _state(alarm, series, period_s=float(alarm.period) * self._scale)
        if state == _ALARM:
            self._tripped[place, alarm.name] = time.time()
        if state != alarm.state_value:
            alarm.update_state(reason, "{}", state)


def _state(alarm: Any, series: Sequence[tuple[float, float]], *, period_s: float) -> tuple[str, str]:
    """Return the state of an alarm now, with the reason."""
    now, count = time.time(), int(alarm.evaluation_periods)
    periods: list[list[float]] = [[] for _ in range(count)]
    for moment, value in reversed(series):
        age = int((now - moment) / period_s) if moment <= now else 0
        if age < count:
            periods[age].append(value)
        elif age > 2 * count:  # clients may send data a little late, so the next ones are looked at, too
            break
    treatment = alarm.treat_missing_data or "missing"
    threshold, compare = float(alarm.threshold), _COMPARISONS[alarm.comparison_operator]
    statistic = _statistic(alarm)
    points = [statistic(values) for values in periods if values]
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


def _statistic(alarm: Any) -> Callable[[Sequence[float]], float]:
    if alarm.statistic:
        return _STATISTICS[alarm.statistic]
    share = float(alarm.extended_statistic[1:]) / 100

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
    statistic, extended = _parameter(response, "Statistic"), _parameter(response, "ExtendedStatistic")
    if bool(statistic) is bool(extended):
        raise InvalidParameterValue(f"alarm {name}: exactly one of Statistic and ExtendedStatistic must be set")
    if extended and not _PERCENTILE.match(str(extended)):
        raise InvalidParameterValue(f"alarm {name}: ExtendedStatistic {extended} is not supported by this endpoint")
    compared = _parameter(response, "ComparisonOperator")
    if compared not in _COMPARISONS:
        raise InvalidParameterValue(f"alarm {name}: ComparisonOperator {compared} is not supported by this endpoint")
    treatment = _parameter(response, "TreatMissingData")
    if treatment and treatment not in _MISSING:
        raise InvalidParameterValue(f"alarm {name}: TreatMissingData must be one of {', '.join(_MISSING)}")
    for member in ("MetricName", "Namespace", "Period", "EvaluationPeriods"):
        if not _parameter(response, member):
            raise InvalidParameterValue(f"alarm {name}: {member} must be set")
    if _parameter(response, "Threshold") is None:
        raise InvalidParameterValue(f"alarm {name}: Threshold must be set")


def _place(response: Any) -> Place:
    return response.current_account, response.region


def _parameter(response: Any, name: str) -> Any:
    """Return a parameter of the request, as moto's own methods read it."""
    return response._get_param(name)  # noqa: SLF001  moto has no public accessor


def _metric(alarm: Any) -> Metric:
    return str(alarm.namespace), str(alarm.metric_name), frozenset((each.name, each.value) for each in alarm.dimensions)


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
