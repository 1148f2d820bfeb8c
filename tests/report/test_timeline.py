"""The steps of a run on a time axis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_core.report.timeline import timeline
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord, StepStatus


def run_with(*steps):
    return RunRecord(
        run_id="r",
        use_case="U",
        plugin="p",
        runner="local",
        status=RunStatus.ACCEPTED,
        created="",
        seed=0,
        parameters={},
        config="",
        pipeline={},
        steps=steps,
    )


def step(name, start_s, duration_s, **changes):
    started = f"2026-01-01T{start_s // 3600:02d}:{start_s // 60 % 60:02d}:{start_s % 60:02d}+00:00"
    return StepRecord(name=name, status=StepStatus.DONE, started=started, duration_s=duration_s, **changes)


def test_only_overlapping_steps_count_as_parallel():
    axis = timeline(run_with(step("a", 0, 10), step("b", 0, 5), step("c", 5, 5), step("d", 10, 10)))
    assert (axis.max_parallel, axis.span_s, axis.work_s) == (2, 20, 30)
    assert [(bar.start, bar.length) for bar in axis.bars] == [(0, 0.5), (0, 0.25), (0.25, 0.25), (0.5, 0.5)]


def test_idle_time_before_a_resumed_run_is_shortened():
    axis = timeline(run_with(step("a", 0, 10), step("b", 3600 * 9, 10)))
    assert axis.is_shortened
    assert axis.span_s == pytest.approx(21)
    assert axis.bars[1].length == pytest.approx(10 / 21)
    assert axis.bars[1].start + axis.bars[1].length == pytest.approx(1)


def test_reused_steps_have_no_bar_and_count_as_saved_time():
    reused = StepRecord(name="a", status=StepStatus.REUSED, duration_s=42, reused_from="before")
    axis = timeline(run_with(reused, StepRecord(name="b"), step("c", 0, 1)))
    assert [bar.step.name for bar in axis.bars] == ["c"]
    assert axis.saved_s == 42


@given(st.lists(st.tuples(st.integers(0, 80_000), st.floats(0, 9000)), max_size=8))
def test_every_bar_is_on_the_axis(spans):
    axis = timeline(run_with(*(step(f"s{number}", start, length) for number, (start, length) in enumerate(spans))))
    for bar in axis.bars:
        assert -1e-9 <= bar.start <= bar.start + bar.length <= 1 + 1e-9
        assert bar.length * axis.span_s == pytest.approx(bar.step.duration_s, abs=1e-6)


def test_step_with_an_unreadable_start_has_no_bar():
    assert timeline(run_with(StepRecord(name="a", status=StepStatus.DONE, started="yesterday"))).bars == ()
