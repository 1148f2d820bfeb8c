"""Counters, gauges and histograms of a server, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PREFIX = "mlops_serving"
_DRIFT_COUNTERS = {
    "alarms": "Drift: alarms since the state was created.",
    "seen": "Drift: samples since the state was created.",
    "observed": "Drift: samples that were observed; of many, one in so many is.",
    "not_finite": "Drift: samples left out for a number that is not finite.",
}


class Histogram:
    """Durations in seconds, counted in buckets."""

    def __init__(self, name: str, text: str) -> None:
        """Start without any value."""
        self.name = name
        self._text = text
        self._counts = [0] * (len(_BUCKETS_S) + 1)
        self._sum = 0.0

    def add(self, value_s: float) -> None:
        """Count a value."""
        self._counts[next((n for n, limit in enumerate(_BUCKETS_S) if value_s <= limit), len(_BUCKETS_S))] += 1
        self._sum += value_s

    def lines(self) -> Iterator[str]:
        """Yield the histogram in the text format."""
        yield from _heading(self.name, "histogram", self._text)
        totals = list(accumulate(self._counts))
        for limit, total in zip((*map(str, _BUCKETS_S), "+Inf"), totals, strict=True):
            yield f'{_PREFIX}_{self.name}_bucket{{le="{limit}"}} {total}'
        yield f"{_PREFIX}_{self.name}_sum {self._sum}"
        yield f"{_PREFIX}_{self.name}_count {totals[-1]}"


class ServingMeasurements:
    """What a server counts.

    Attributes:
        request_s: time from the headers of a request to its response.
        queue_s: time that requests waited for a worker.
        model_s: time that workers took to decode, predict and encode.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.request_s = Histogram("request_seconds", "Time from the headers of a request to its response.")
        self.queue_s = Histogram("queue_seconds", "Time that requests waited for a worker.")
        self.model_s = Histogram("model_seconds", "Time that workers took to decode, predict and encode.")
        self._by_status: Counter[int] = Counter()
        self._received_bytes = 0
        self._samples = 0

    def count(self, *, status: int, duration_s: float, received_bytes: int) -> None:
        """Count a request."""
        self._by_status[status] += 1
        self._received_bytes += received_bytes
        self.request_s.add(duration_s)

    def count_answer(self, *, waited_s: float, model_s: float, samples: int) -> None:
        """Count an answer of a worker."""
        self.queue_s.add(waited_s)
        self.model_s.add(model_s)
        self._samples += samples

    def text(
        self,
        *,
        gauges: Mapping[str, float],
        dropped: Mapping[str, int],
        info: Mapping[str, str],
        drift: Mapping[str, float] | None = None,
    ) -> str:
        """Return everything in the text format.

        Args:
            gauges: name -> present value.
            dropped: kind of a line -> number of lines that were not written.
            info: label -> value of the gauge that names the model.
            drift: what a drift detector says: statistics by name, a threshold as ``<name>_threshold``, counters.
        """
        return "".join(f"{line}\n" for line in (*self._lines(gauges, dropped, info), *_drift_lines(drift or {})))

    def _lines(self, gauges: Mapping[str, float], dropped: Mapping[str, int], info: Mapping[str, str]) -> Iterator[str]:
        yield from _heading("requests_total", "counter", "Requests by status.")
        for status, count in sorted(self._by_status.items()):
            yield f'{_PREFIX}_requests_total{{code="{status}"}} {count}'
        yield from _heading("errors_total", "counter", "Requests that were answered with a status of 500 and above.")
        yield f"{_PREFIX}_errors_total {sum(n for status, n in self._by_status.items() if status >= 500)}"
        yield from _heading("received_bytes_total", "counter", "Bytes of request bodies.")
        yield f"{_PREFIX}_received_bytes_total {self._received_bytes}"
        yield from _heading("samples_total", "counter", "Samples that were predicted.")
        yield f"{_PREFIX}_samples_total {self._samples}"
        yield from _heading("dropped_lines_total", "counter", "Lines that were not written.")
        for kind, count in dropped.items():
            yield f'{_PREFIX}_dropped_lines_total{{kind="{_label(kind)}"}} {count}'
        for histogram in (self.request_s, self.queue_s, self.model_s):
            yield from histogram.lines()
        for name, value in gauges.items():
            yield from _heading(name, "gauge", "")
            yield f"{_PREFIX}_{name} {value}"
        yield from _heading("model_info", "gauge", "The model that is served.")
        labels = ",".join(f'{name}="{_label(value)}"' for name, value in info.items())
        yield f"{_PREFIX}_model_info{{{labels}}} 1"


def _drift_lines(state: Mapping[str, float]) -> Iterator[str]:
    """Yield statistics with their thresholds as two families with a label, and every other number by its name."""
    statistics = [name for name in state if f"{name}_threshold" in state]
    if statistics:
        for kind, suffix, text in (
            ("statistic", "", "Drift: statistics of the observed samples."),
            ("threshold", "_threshold", "Drift: an alarm is raised when the statistic reaches it."),
        ):
            yield from _heading(f"drift_{kind}", "gauge", text)
            for name in statistics:
                yield f'{_PREFIX}_drift_{kind}{{name="{_label(name)}"}} {state[f"{name}{suffix}"]}'
    shown = {name for each in statistics for name in (each, f"{each}_threshold")}
    for name, value in state.items():
        if name in _DRIFT_COUNTERS:
            yield from _heading(f"drift_{name}_total", "counter", _DRIFT_COUNTERS[name])
            yield f"{_PREFIX}_drift_{name}_total {value}"
        elif name not in shown:
            yield from _heading(f"drift_{name}", "gauge", "")
            yield f"{_PREFIX}_drift_{name} {value}"


def _heading(name: str, kind: str, text: str) -> Iterator[str]:
    if text:
        yield f"# HELP {_PREFIX}_{name} {text}"
    yield f"# TYPE {_PREFIX}_{name} {kind}"


def _label(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
