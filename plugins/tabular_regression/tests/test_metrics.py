"""The metrics against their definitions, and the verdict of the gate."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlops_tabular_regression.metrics import GATE, METRICS, MSE_THRESHOLD, compute_metrics

from mlops_core import Interval, Prediction, Predictions


def predictions(targets, result, *, half=1.0, groups=None):
    return Predictions(
        classes=(),
        rows=tuple(
            Prediction(
                sample=f"row {index}",
                group=f"g{index if groups is None else groups[index]}",
                label=float(target),
                scores=(float(score),),
                interval=None if half is None else Interval(low=score - half, high=score + half, level=0.9),
            )
            for index, (target, score) in enumerate(zip(targets, result, strict=True))
        ),
    )


def draw(count=400):
    generator = np.random.default_rng(0)
    targets = generator.normal(10, 3, count)
    return targets, targets + generator.normal(0.2, 1, count)


def test_values_follow_their_definitions():
    targets, result = draw()
    values = compute_metrics(predictions(targets, result)).values
    errors = targets - result
    assert values["mse"].value == pytest.approx(np.mean(errors**2))
    assert values["mse"].standard_deviation == pytest.approx(np.std(errors))
    assert values["mae"].value == pytest.approx(np.mean(np.abs(errors)))
    assert values["r2"].value == pytest.approx(
        1 - np.var(errors) / np.var(targets) - errors.mean() ** 2 / np.var(targets)
    )
    assert values["interval_coverage"].value == np.mean(np.abs(errors) <= 1)
    assert values["interval_width"].value == pytest.approx(2)
    assert values.keys() == {metric.name for metric in METRICS}
    assert [metric.fault(values[metric.name].value) for metric in METRICS] == [""] * len(METRICS)


def test_intervals_contain_the_true_mean_squared_error_about_as_often_as_their_level_says():
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        errors = generator.normal(0, 2, 150)
        value = compute_metrics(predictions(errors, np.zeros(150))).values["mse"]
        hits += value.low <= 4 <= value.high
    assert hits >= 49  # of 60 at 95 %: 57 are expected; fewer than 49 would come once in a thousand times


def test_intervals_count_rows_of_one_group_once():
    targets, result = draw(40)
    single = compute_metrics(predictions(targets, result)).values
    repeated = compute_metrics(
        predictions(np.repeat(targets, 25), np.repeat(result, 25), groups=np.repeat(range(40), 25))
    ).values
    for name in ("mse", "mae", "r2"):
        assert repeated[name].value == pytest.approx(single[name].value)
        assert repeated[name].high - repeated[name].low == pytest.approx(single[name].high - single[name].low, rel=0.2)
    coverage, alone = repeated["interval_coverage"], single["interval_coverage"]
    assert coverage.high - coverage.low > 0.6 * (alone.high - alone.low)


def test_without_intervals_there_is_no_coverage():
    targets, result = draw(20)
    report = compute_metrics(predictions(targets, result, half=None))
    assert set(report.values) == {"mse", "mae", "r2"}
    rows = (*predictions(targets, result).rows, *predictions([1], [1], half=None).rows)
    assert "interval_coverage" not in compute_metrics(Predictions(classes=(), rows=rows)).values


def test_no_rows_and_a_constant_target_are_rejected_by_the_gate():
    assert math.isnan(compute_metrics(predictions([], [])).values["mse"].value)
    assert math.isnan(compute_metrics(predictions([3, 3, 3], [1, 2, 3])).values["r2"].value)
    verdict = GATE.evaluate(compute_metrics(predictions([], [])), metrics=METRICS, parameters={MSE_THRESHOLD: 6.0})
    assert not verdict.accepted


@pytest.mark.parametrize(("error", "is_accepted"), [(0.0, True), (2.0, True), (2.5, False)])
def test_the_gate_accepts_up_to_its_threshold_and_explains_a_rejection(error, is_accepted):
    report = compute_metrics(predictions(np.arange(30), np.arange(30) + error))
    verdict = GATE.evaluate(report, metrics=METRICS, parameters={MSE_THRESHOLD: 4.0})
    assert verdict.accepted is is_accepted
    assert verdict.message.startswith("" if is_accepted else "Execution failed due to MSE > 4")


def test_many_rows_are_measured_in_a_few_seconds():
    targets, result = draw(100_000)
    assert compute_metrics(predictions(targets, result)).values["mse"].high < 1.1


_INTERVALS = """
import numpy as np
from mlops_core import Prediction, Predictions
from mlops_tabular_regression.metrics import compute_metrics
draw = np.random.default_rng(0)
rows = tuple(
    Prediction(sample=str(n), group=str(n), label=float(x), scores=(float(x + draw.normal()),), interval=None)
    for n, x in enumerate(draw.normal(10, 3, 400))
)
values = compute_metrics(Predictions(classes=(), rows=rows)).values
print([(name, value.low.hex(), value.high.hex()) for name, value in sorted(values.items())])
"""


def test_the_intervals_do_not_depend_on_the_kernels_that_a_processor_has():
    texts = {
        subprocess.run(
            [sys.executable, "-c", _INTERVALS],
            env={**os.environ, "OPENBLAS_CORETYPE": kernel},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for kernel in ("Prescott", "Haswell" if has_avx2() else "Nehalem")
    }
    assert len(texts) == 1


def has_avx2():
    path = Path("/proc/cpuinfo")
    return path.exists() and " avx2 " in path.read_text()
