"""The parts of the report one by one: escaping, scales, curves, timelines, the worst samples."""

import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_core.datasets.previews import PREVIEW_LIMIT, Preview
from mlops_core.errors import PluginError, StepError
from mlops_core.predictions import Prediction, write_predictions
from mlops_core.quantities import format_duration, format_number, format_size
from mlops_core.report.charts import Scale, nice_scale
from mlops_core.report.histories import read_series, thinned
from mlops_core.report.markup import document, element, group, script
from mlops_core.report.timeline import timeline
from mlops_core.report.worst import as_distribution, find_worst
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord, StepStatus

# --- Markup -----------------------------------------------------------------------------------------------


def test_text_and_attributes_are_escaped_and_elements_are_not():
    made = element("p", "a<b>&", element("em", "x"), None, 3, title="\"'<&", class_="c", hidden=True, open=False)
    assert made.html == '<p title="&quot;&#x27;&lt;&amp;" class="c" hidden>a&lt;b&gt;&amp;<em>x</em>3</p>'


def test_void_elements_have_no_end_and_names_get_hyphens():
    assert element("meta", http_equiv="x").html == '<meta http-equiv="x">'
    assert group(element("svg", stroke_width=1.23456, viewBox="0 0 1 1")).html == (
        '<svg stroke-width="1.235" viewBox="0 0 1 1"></svg>'
    )


def test_a_script_that_would_end_itself_is_refused():
    with pytest.raises(ValueError, match="its own end"):
        script("let a = '</SCRIPT>';")


@given(st.text())
def test_any_text_can_be_written_as_utf_8(text):
    assert document(element("p", text + "\ud800"), language="en").encode("utf-8").startswith(b"<!DOCTYPE html>")


# --- Scales -----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5))
def test_a_nice_scale_holds_every_value(values):
    scale = nice_scale(values)
    tolerance = 1e-6 * (abs(scale.low) + abs(scale.high))
    assert scale.low < scale.high
    assert scale.low <= min(values) + tolerance
    assert max(values) <= scale.high + tolerance
    assert len(scale.ticks()) == 5


def test_a_scale_has_round_ends_and_fractions_end_at_one():
    assert nice_scale([0.03, 7.4]) == Scale(0, 8)
    fractions = nice_scale([0.48, 0.99])
    assert fractions.high == pytest.approx(1)
    assert fractions.low <= 0.48
    assert nice_scale([5, 5]).low < 5 < nice_scale([5, 5]).high
    assert nice_scale([math.nan, math.inf]) == Scale(0, 1)


def test_values_beyond_a_scale_are_put_to_its_ends():
    assert [Scale(0, 10).place(value) for value in (-3, 0, 5, 40)] == [0, 0, 0.5, 1]


# --- Quantities -------------------------------------------------------------------------------------------


def test_numbers_are_written_for_people():
    durations = [format_duration(seconds) for seconds in (0.04, 9.94, 9.96, 59.4, 59.6, 185, 3600 * 2 + 240)]
    assert durations == ["0.0 s", "9.9 s", "10 s", "59 s", "1 min 00 s", "3 min 05 s", "2 h 04 min"]
    assert [format_number(value) for value in (None, math.nan, -math.inf, 0.81254, 12)] == [
        "-",
        "not a number",
        "minus infinite",
        "0.8125",
        "12",
    ]
    assert [format_size(size) for size in (7, 2048, 5 << 20, 3 << 30)] == ["7 B", "2.0 KiB", "5.0 MiB", "3.0 GiB"]


# --- Curves -----------------------------------------------------------------------------------------------


def history(tmp_path, text):
    path = tmp_path / "history.csv"
    path.write_text(text)
    return read_series(path)


def test_columns_that_differ_in_their_prefix_belong_together(tmp_path):
    x_label, series = history(
        tmp_path, "epoch,loss,val_loss,train_acc,validation_acc,nothing\n1,3,4,.1,.2,\n2,2,3,.3,.4,\n"
    )
    assert x_label == "epoch"
    assert [(one.name, one.quantity, one.is_held_out) for one in series] == [
        ("loss", "loss", False),
        ("val_loss", "loss", True),
        ("train_acc", "acc", False),
        ("validation_acc", "acc", True),
    ]
    assert series[1].points == ((1, 4), (2, 3))


def test_empty_cells_short_rows_and_what_is_not_finite_are_gaps(tmp_path):
    _, (loss, other) = history(tmp_path, "epoch,loss,other\n1,5,1\n2,,2\n3,nan,3\n\n4,inf,4\n5\n6,1,6\n")
    assert loss.points == ((1, 5), (6, 1))
    assert len(other.points) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no curve"),
        ("epoch\n1\n", "has no curve"),
        ("epoch,loss\n", "has no curve"),
        ("epoch,loss\n1,2\nlast,3\n", r"\(line 3\): 'last' is not a number"),
        ("epoch,loss\n,3\n", r"\(line 2\): '' is not a step"),
    ],
)
def test_a_file_that_is_no_history_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(StepError, match=message):
        history(tmp_path, text)


def test_a_long_curve_keeps_its_ends_and_its_peaks():
    points = [(float(at), 0.0) for at in range(100_000)]
    points[54_321] = (54_321.0, 9.0)
    points[777] = (777.0, -9.0)
    kept = thinned(points)
    assert len(kept) <= 400
    assert {points[0], points[-1], points[54_321], points[777]} <= set(kept)
    assert kept == sorted(kept)


# --- Timelines --------------------------------------------------------------------------------------------


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


def test_steps_at_once_are_counted_and_those_that_follow_each_other_are_not():
    drawn = timeline(run_with(step("a", 0, 10), step("b", 0, 5), step("c", 5, 5), step("d", 10, 10)))
    assert (drawn.most_at_once, drawn.span_s, drawn.work_s) == (2, 20, 30)
    assert [(bar.start, bar.length) for bar in drawn.bars] == [(0, 0.5), (0, 0.25), (0.25, 0.25), (0.5, 0.5)]


def test_the_night_before_a_run_was_resumed_is_drawn_short():
    drawn = timeline(run_with(step("a", 0, 10), step("b", 3600 * 9, 10)))
    assert drawn.is_shortened
    assert drawn.span_s == pytest.approx(21)
    assert drawn.bars[1].length == pytest.approx(10 / 21)
    assert drawn.bars[1].start + drawn.bars[1].length == pytest.approx(1)


def test_reused_steps_have_no_bar_and_count_as_saved():
    reused = StepRecord(name="a", status=StepStatus.REUSED, duration_s=42, reused_from="before")
    drawn = timeline(run_with(reused, StepRecord(name="b"), step("c", 0, 1)))
    assert [bar.step.name for bar in drawn.bars] == ["c"]
    assert drawn.saved_s == 42


@given(st.lists(st.tuples(st.integers(0, 80_000), st.floats(0, 9000)), max_size=8))
def test_every_bar_is_on_the_axis(spans):
    drawn = timeline(run_with(*(step(f"s{at}", start, length) for at, (start, length) in enumerate(spans))))
    for bar in drawn.bars:
        assert -1e-9 <= bar.start <= bar.start + bar.length <= 1 + 1e-9
        assert bar.length * drawn.span_s == pytest.approx(bar.step.duration_s, abs=1e-6)


def test_a_time_that_cannot_be_read_is_left_out():
    assert timeline(run_with(StepRecord(name="a", status=StepStatus.DONE, started="yesterday"))).bars == ()


# --- The worst samples ------------------------------------------------------------------------------------


def worst(tmp_path, rows, *, classes=("a", "b", "c"), limit=3):
    write_predictions(tmp_path, classes, rows)
    return find_worst(tmp_path, limit=limit)


def row(sample, label, *scores, part=0):
    return Prediction(sample=sample, part=part, group=f"g-{sample}", label=label, scores=scores)


def test_the_most_confident_mistakes_come_first(tmp_path):
    found = worst(
        tmp_path,
        [row("fine", "a", 0.9, 0.05, 0.05), row("bad", "a", 0.01, 0.9, 0.09), row("so-so", "c", 0.4, 0.3, 0.3)],
        limit=2,
    )
    assert [sample.sample for sample in found.samples] == ["bad", "so-so"]
    assert (found.count, found.wrong) == (3, 2)
    first = found.samples[0]
    assert first.loss == pytest.approx(-math.log(0.01))
    assert [(guess.label, guess.score) for guess in first.guesses] == [("b", 0.9), ("c", 0.09), ("a", 0.01)]
    assert first.is_wrong


def test_the_parts_of_a_sample_are_judged_together(tmp_path):
    found = worst(tmp_path, [row("x", "a", 0.2, 0.8, 0, part=0), row("x", "a", 1, 0, 0, part=1)])
    assert (found.count, found.wrong) == (1, 0)
    assert found.samples[0].parts == 2
    assert found.samples[0].label_score == pytest.approx(0.6)


def test_equal_losses_are_ordered_by_name_whatever_the_order_of_the_file(tmp_path):
    names = ["d", "a", "c", "b", "e"]
    chosen = []
    for number, order in enumerate((names, names[::-1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        chosen.append([s.sample for s in worst(folder, [row(name, "a", 0, 1, 0) for name in order]).samples])
    assert chosen == [["a", "b", "c"]] * 2


def test_scores_that_are_no_distribution_are_ranked_by_their_softmax(tmp_path):
    assert as_distribution((0.2, 0.8)) == [0.2, 0.8]
    assert sum(as_distribution((-4.0, 900.0, 3.0))) == pytest.approx(1)
    found = worst(tmp_path, [row("x", "a", -4.0, 9.0, 3.0), row("y", "a", 40.0, 1.0, 1.0)])
    assert [sample.sample for sample in found.samples] == ["x", "y"]


def test_of_a_regression_the_largest_errors_come_first(tmp_path):
    rows = [row(name, label, score) for name, label, score in (("x", 3, 3.5), ("y", 9, 2.0), ("z", 1.5, 1.0))]
    found = worst(tmp_path, rows, classes=(), limit=2)
    assert found.is_regression
    assert [(sample.sample, sample.loss, sample.label_score) for sample in found.samples] == [
        ("y", 7, 2),
        ("x", 0.5, 3.5),
    ]
    assert found.wrong == 0


def test_predictions_are_read_row_by_row(tmp_path):
    write_predictions(tmp_path, ("a", "b"), (row(f"s{at:06d}", "a", 0.5, 0.5) for at in range(30_000)))
    tracemalloc.start()
    find_worst(tmp_path, limit=5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


# --- Previews ---------------------------------------------------------------------------------------------


def test_a_preview_that_could_be_executed_or_is_too_large_is_refused():
    with pytest.raises(PluginError, match="media type 'text/html'; expected one of audio/flac"):
        Preview(media_type="text/html", data=b"<script>")
    with pytest.raises(PluginError, match=f"at most {PREVIEW_LIMIT}"):
        Preview(media_type="image/png", data=bytes(PREVIEW_LIMIT + 1))
    assert Preview(media_type="audio/wav", data=b"").kind == "audio"
