"""The monitor: alarms, proposals, its state, and what it refuses."""

import dataclasses
import itertools
import json
import math
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlops_core.errors import ConfigError, DatasetError, StoreError
from mlops_core.serving.drift import DriftAlarm, DriftPolicy, open_monitor, prepare
from mlops_core.serving.watch.watching import held_out_in_words

from .conftest import make_reference

if TYPE_CHECKING:
    from mlops_core.serving import DriftDetector

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def feed(monitor, samples, *, start=0):
    """Feed samples an hour apart; return the alarms."""
    raised = [
        monitor.observe_at(list(sample), BEGIN + timedelta(hours=start + at)) for at, sample in enumerate(samples)
    ]
    return [alarm for alarm in raised if alarm]


def test_a_shift_is_found_within_a_few_samples_and_the_feature_is_named(reference, quick, normal):
    monitor = open_monitor(reference, quick, model="AED version 3")
    shifted = normal(30)
    shifted[:, 2] += 2.5
    first = feed(monitor, shifted)[0]
    assert first.observed <= 20
    assert first.value >= first.threshold
    top = first.features[0]
    assert top.name == "f2"
    assert top.has_moved
    assert top.shift == pytest.approx(2.5, abs=1.0)
    assert top.ks > 0.5
    assert [each.name for each in first.features if each.has_moved] == ["f2"]
    assert "f2 by +" in first.reason
    assert first.model == "AED version 3"
    assert DriftAlarm.from_json(first.to_json()) == first


def test_more_noise_on_all_features_is_found_by_a_window(reference, quick, normal):
    alarms = feed(open_monitor(reference, quick), normal(60) * 2.5)
    assert alarms
    assert alarms[0].observed <= 30


def test_alarms_of_the_same_stream_are_the_same(reference, quick, normal):
    stream = normal(150) + 0.8
    one, other = (feed(open_monitor(reference, quick), stream) for _ in range(2))
    assert one
    assert one == other


def test_one_proposal_is_made_within_the_cool_down(reference, normal):
    policy = DriftPolicy(days=1, requests_per_hour=100 / 24, windows=(10, 25), cooldown_days=7)
    alarms = feed(open_monitor(reference, policy, model="m"), normal(20 * 24) + 3)  # 20 days
    assert len(alarms) > 10
    proposals = [alarm.proposal for alarm in alarms if alarm.proposal]
    assert len(proposals) == 3
    times = [datetime.fromisoformat(each.proposed_at) for each in proposals]
    assert all(later - earlier >= timedelta(days=7) for earlier, later in itertools.pairwise(times))
    assert proposals[0].alarm == alarms[0].id
    assert proposals[0].next_at == "2026-05-08T" + proposals[0].proposed_at[11:]
    assert len({alarm.id for alarm in alarms}) == len(alarms)


def test_a_closed_monitor_continues_as_if_it_had_not_been_closed(reference, normal, tmp_path):
    policy = DriftPolicy(days=1, requests_per_hour=300 / 24, run_length=100, windows=(10, 25))
    stream = [*normal(100), *(normal(300) + 0.7)]
    whole = open_monitor(reference, policy, tmp_path / "whole")
    expected = feed(whole, stream)
    found = []
    for start in range(0, len(stream), 37):
        monitor = open_monitor(reference, policy, tmp_path / "parts")
        found += feed(monitor, stream[start : start + 37], start=start)
        last = monitor.state()
        monitor.close()
    assert found == expected
    assert len(found) > 1
    assert last == whole.state()
    lines = (tmp_path / "parts" / "alarms.jsonl").read_text().splitlines()
    assert [DriftAlarm.from_json(line) for line in lines] == expected
    assert sum(alarm.proposal is not None for alarm in found) == sum(a.proposal is not None for a in expected)
    whole.close()


KILLED = """
import json, sys
from types import SimpleNamespace
from mlops_core.serving.drift import DriftPolicy, open_monitor
data = json.loads(open(sys.argv[1]).read())
reference = SimpleNamespace(**data["reference"])
monitor = open_monitor(reference, DriftPolicy(**data["policy"]), __import__("pathlib").Path(sys.argv[2]))
for sample in data["stream"]:
    monitor.observe([sample])
    print(int(monitor.state()["seen"]), flush=True)
    __import__("time").sleep(0.002)
"""


def test_a_kill_between_an_alarm_and_its_state_makes_no_second_proposal(reference, quick, normal, tmp_path):
    monitor = open_monitor(reference, quick, tmp_path, model="m")
    stream = normal(60) + 3
    feed(monitor, normal(5))
    monitor.close()
    before = (tmp_path / "state.json").read_bytes()
    monitor = open_monitor(reference, quick, tmp_path, model="m")
    raised = feed(monitor, stream, start=5)
    after = monitor.state()
    monitor.close()
    assert raised[0].proposal is not None
    for state in (before, None):  # the last one that was written, or none yet
        (tmp_path / "state.json").unlink(missing_ok=True)
        if state:
            (tmp_path / "state.json").write_bytes(state)
        (tmp_path / "alarms.jsonl").write_text("".join(f"{alarm.to_json()}\n" for alarm in raised))
        again = open_monitor(reference, quick, tmp_path, model="m")
        assert again.alarms == len(raised)
        if state:
            assert again.state()["seen"] == again.state()["observed"] == raised[-1].seen <= after["seen"]
        more = feed(again, stream, start=65)
        again.close()
        assert more
        assert not any(alarm.proposal for alarm in more)  # the cool-down lasts


def test_after_a_kill_the_last_state_is_whole(reference, normal, tmp_path):
    policy = {"days": 1.0, "requests_per_hour": 1000 / 24, "windows": (10,), "run_length": 1000}
    stream = normal(2000).tolist()
    (tmp_path / "data.json").write_text(json.dumps({"reference": vars(reference), "policy": policy, "stream": stream}))
    folder = tmp_path / "state"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "data.json"), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        seen = 0
        for line in process.stdout:
            seen = int(line)
            if seen >= 57 and (folder / "state.json").exists():
                break
        process.send_signal(signal.SIGKILL)
        seen = max([seen, *map(int, process.stdout.read().split())])
    assert process.returncode == -signal.SIGKILL
    again = open_monitor(reference, DriftPolicy(**policy), folder)
    kept = int(again.state()["seen"])
    assert 0 < kept <= seen  # a thread writes it: how many samples later is not promised
    fresh = open_monitor(reference, DriftPolicy(**policy))
    for sample in stream[:kept]:
        fresh.observe([sample])
    assert again.state() == fresh.state()
    assert json.loads((folder / "state.json").read_text())["state"]["counters"][0] <= kept  # or an alarm is newer
    again.close()


def test_a_state_of_another_reference_or_policy_is_refused(reference, quick, normal, tmp_path):
    monitor = open_monitor(reference, quick, tmp_path)
    feed(monitor, normal(12))
    monitor.close()
    before = (tmp_path / "state.json").read_bytes()
    with pytest.raises(StoreError, match=r"state\.json is of another reference .* use another folder"):
        open_monitor(make_reference(normal(200)), quick, tmp_path)
    with pytest.raises(StoreError, match="is of another policy"):
        open_monitor(reference, DriftPolicy(days=2, requests_per_hour=100 / 24, windows=(10, 25)), tmp_path)
    assert (tmp_path / "state.json").read_bytes() == before
    again = open_monitor(reference, quick, tmp_path)
    assert again.state()["seen"] == 12
    again.close()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 1}', None])
def test_a_damaged_state_is_refused_and_left_alone(reference, quick, normal, tmp_path, damage):
    monitor = open_monitor(reference, quick, tmp_path)
    feed(monitor, normal(12))
    monitor.close()
    path = tmp_path / "state.json"
    if damage is None:
        data = json.loads(path.read_text())
        data["state"]["mmd"]["10"]["window"]["shape"] = [5, 8]
        damage = json.dumps(data)
    path.write_text(damage)
    with pytest.raises(StoreError, match="remove it to begin anew") as caught:
        open_monitor(reference, quick, tmp_path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == damage
    path.unlink()
    open_monitor(reference, quick, tmp_path).close()


def test_a_folder_belongs_to_one_monitor_at_a_time(reference, quick, tmp_path):
    first = open_monitor(reference, quick, tmp_path)
    with pytest.raises(StoreError, match="another process keeps its state in"):
        open_monitor(reference, quick, tmp_path)
    first.close()
    first.close()
    open_monitor(reference, quick, tmp_path).close()


def test_a_torn_line_of_alarms_does_not_spoil_the_next_one(reference, quick, normal, tmp_path):
    monitor = open_monitor(reference, quick, tmp_path)
    (tmp_path / "alarms.jsonl").write_text('{"id": "torn')
    alarm = feed(monitor, normal(40) + 3)[0]
    monitor.close()  # a thread writes until then
    lines = (tmp_path / "alarms.jsonl").read_text().splitlines()
    assert DriftAlarm.from_json(lines[1]) == alarm


def test_alarms_are_passed_on(reference, quick, normal):
    passed = []
    monitor = open_monitor(reference, quick, on_alarm=passed.append, clock=lambda: BEGIN)
    facts = [monitor.observe([sample]) for sample in (normal(40) + 3).tolist()]
    assert passed
    assert passed[0].raised_at == "2026-05-01T00:00:00.000Z"
    assert [each["alarm"] for each in facts if "alarm" in each] == [alarm.id for alarm in passed]
    assert facts[0].keys() == {"mmd_10", "mmd_25", "cusum"}
    json.dumps(facts)


def test_a_server_says_how_many_false_alarms_held_out_data_raised(reference, quick):
    preparation = open_monitor(reference, quick).preparation
    rate = preparation.held_out
    assert held_out_in_words(preparation).startswith(f"{rate.alarms} false alarms in {rate.samples:,} samples; ")
    without = dataclasses.replace(preparation, held_out=None, held_out_note="why not")
    assert held_out_in_words(without) == "why not"


def test_samples_that_are_not_observed_need_no_description(reference, normal):
    """What is skipped is counted, so that the same samples are observed as if all had been described."""
    policy = DriftPolicy(days=1, requests_per_hour=700 / 24, run_length=100, windows=(10, 25))  # one in seven
    whole, frugal = open_monitor(reference, policy), open_monitor(reference, policy)
    stream = [*normal(400), *(normal(1000) + 0.7)]
    expected = feed(whole, stream)
    found, described = [], 0
    for at, sample in enumerate(stream):
        if frugal.may_observe(2):
            described += 1
            found += feed(frugal, [sample], start=at)
        else:
            frugal.skip(1)
    assert found == expected != []
    assert frugal.state() == whole.state()
    assert described < len(stream) / 2


def test_a_sample_that_was_skipped_in_error_is_replaced_by_the_next_one(reference, normal):
    policy = DriftPolicy(days=1, requests_per_hour=700 / 24, run_length=100, windows=(10, 25))
    monitor = open_monitor(reference, policy)
    monitor.skip(7)  # one of them was to be observed
    assert monitor.may_observe(1)
    feed(monitor, normal(1))
    assert (monitor.state()["observed"], monitor.state()["seen"]) == (1, 8)


def test_the_monitor_is_a_drift_detector(reference, quick):
    detector: DriftDetector = open_monitor(reference, quick)
    assert detector.observe([]) == {}
    state = detector.state()
    assert {"mmd_10", "mmd_10_threshold", "cusum", "cusum_threshold", "seen", "observed", "alarms"} <= state.keys()
    assert all(math.isfinite(value) for value in state.values())


def test_only_one_in_so_many_samples_is_observed(reference, normal):
    policy = DriftPolicy(days=30, requests_per_hour=10, run_length=240, windows=(10,))  # 7200 / 240
    monitor = open_monitor(reference, policy)
    assert monitor.preparation.plan.every == 30
    facts = [monitor.observe([sample]) for sample in normal(3000).tolist()]
    assert monitor.state()["observed"] == 100
    assert all(sum(map(bool, facts[at : at + 30])) == 1 for at in range(0, 3000, 30))
    assert len({next(at for at in range(30) if facts[start + at]) for start in range(0, 3000, 30)}) > 10


def test_numbers_that_are_missing_or_not_finite_are_counted_and_left_out(reference, quick):
    monitor = open_monitor(reference, quick)
    before = monitor.state()
    for bad in (None, math.nan, math.inf):
        assert monitor.observe([[0.1, bad, 0.2, 0.3]]) == {}
    after = monitor.state()
    assert after == {**before, "seen": 3, "not_finite": 3}


def test_huge_numbers_leave_all_statistics_finite(reference, quick):
    monitor = open_monitor(reference, quick)
    for sign in (1, -1, 1):
        monitor.observe([[sign * 1.7e308] * 4])
    assert all(math.isfinite(value) for value in monitor.state().values())


def test_a_sample_of_another_dimension_is_refused(reference, quick):
    monitor = open_monitor(reference, quick)
    with pytest.raises(DatasetError, match=r"a sample has 3 features; the reference has 4 \(f0, f1, f2, \.\.\.\)"):
        monitor.observe([[1.0, 2.0, 3.0]])


def test_constant_features_are_named_and_seen_when_they_move(normal, quick):
    values = normal(200)
    values[:, 1] = 5.0
    monitor = open_monitor(make_reference(values), quick)
    assert monitor.preparation.facts()["constant_features"] == ["f1"]
    still = np.array(normal(8))
    still[:, 1] = 5.0
    assert feed(monitor, still) == []
    moved = np.array(normal(60))
    moved[:, 1] = 5.5
    alarms = feed(monitor, moved)
    assert any(each.name == "f1" and each.has_moved for alarm in alarms for each in alarm.features)


@pytest.mark.parametrize(
    ("change", "policy", "error", "message"),
    [
        ({"vectors": ()}, {}, DatasetError, "has 0 samples of 4 features"),
        ({"vectors": ((1.0, 2.0, 3.0, 4.0),) * 60}, {}, DatasetError, "all 4 features are constant .* 60 samples"),
        ({"cut": 49}, {}, DatasetError, "has 49 samples; the smallest window of 10 needs at least 50"),
        ({"cut": 120}, {"windows": (30,)}, DatasetError, "has 120 samples; a window of 30 needs at least 150"),
        ({"put": math.nan}, {}, DatasetError, "sample 3, feature 'f2' is nan"),
        ({"put": -math.inf}, {}, DatasetError, "sample 3, feature 'f2' is -inf"),
        ({"ragged": True}, {}, DatasetError, "sample 199 has 3 features; expected 4"),
        ({"groups": ("a",) * 100 + ("b",) * 100}, {}, DatasetError, "in 2 groups; at least 10 are needed"),
        ({"groups": ("a",)}, {}, DatasetError, "1 groups for 200 samples"),
        ({"put": 1e300}, {}, DatasetError, "a number of 1e\\+300"),
        (
            {},
            {"days": 0.001, "windows": (10, 25)},
            ConfigError,
            "one in 12 observed samples; .* 25 needs at least 33.3",
        ),
    ],
)
def test_references_that_cannot_serve_are_refused(reference, change, policy, error, message):
    vectors = [list(vector) for vector in reference.vectors]
    if "cut" in change:
        vectors = vectors[: change["cut"]]
    if "put" in change:
        vectors[3][2] = change["put"]
    if "ragged" in change:
        vectors[-1].pop()
    reference.vectors = change.get("vectors", tuple(map(tuple, vectors)))
    reference.groups = change.get("groups", ())
    with pytest.raises(error, match=message) as caught:
        prepare(reference, DriftPolicy(**policy))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"days": 0}, {"days": math.nan}, {"requests_per_hour": -1}, {"windows": ()}, {"windows": (4,)}, {"run_length": 0},
     {"windows": (20, 20)}, {"cooldown_days": math.inf}],
)  # fmt: skip
def test_impossible_policies_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"drift: {next(iter(wrong))}"):
        DriftPolicy(**wrong)


def test_the_calibration_is_made_once_and_again_for_another_policy(reference, quick, tmp_path):
    first = prepare(reference, quick, tmp_path)
    stamp = (tmp_path / "calibration.json").stat().st_mtime_ns
    again = prepare(reference, quick, tmp_path)
    assert (tmp_path / "calibration.json").stat().st_mtime_ns == stamp
    assert again.calibration == first.calibration
    assert again.held_out == first.held_out
    prepare(reference, DriftPolicy(days=2, requests_per_hour=100 / 24, windows=(10, 25)), tmp_path)
    assert (tmp_path / "calibration.json").stat().st_mtime_ns != stamp
    (tmp_path / "calibration.json").write_text("{")
    assert prepare(reference, quick, tmp_path).calibration == first.calibration


def test_the_rate_on_held_out_data_shows_a_reference_whose_halves_differ(normal, quick):
    same = prepare(make_reference(normal(300)), quick).held_out
    groups = [f"g{at // 10}" for at in range(300)]
    centres = np.repeat(normal(30) * 2, 10, axis=0)
    blind = prepare(make_reference(normal(300) * 0.3 + centres), quick).held_out
    aware = prepare(make_reference(normal(300) * 0.3 + centres, groups), quick)
    assert 0.2 < same.ratio < 5
    assert aware.facts()["groups"] == 30
    assert blind.samples > 0


def test_a_rate_that_cannot_be_measured_on_held_out_data_does_not_end_the_detection(normal, tmp_path):
    policy = DriftPolicy(days=1, requests_per_hour=100 / 24, windows=(10,))
    varying = 14
    values = np.zeros((200, 2))
    values[:varying] = normal(varying, 2)
    groups = [f"g{at}" if at >= varying else "g" for at in range(200)]  # all that vary are in one half
    found = prepare(make_reference(values, groups), policy, tmp_path)
    assert found.held_out is None
    assert found.held_out_note.startswith("the rate on held-out data could not be measured: drift: all ")
    assert found.facts()["held_out_note"] == found.held_out_note
    assert prepare(make_reference(values, groups), policy, tmp_path).held_out_note == found.held_out_note
    monitor = open_monitor(make_reference(values, groups), policy, tmp_path)
    assert feed(monitor, normal(60, 2) + 3)
    monitor.close()


def test_the_windows_of_halves_fit_the_smaller_half(normal):
    groups = [f"large{at // 30}" for at in range(90)] + [f"g{at}" for at in range(110)]
    policy = DriftPolicy(days=1, requests_per_hour=300 / 24, windows=(10, 20))
    found = prepare(make_reference(normal(200), groups), policy)
    assert found.held_out.windows == [10]  # 20 needs 100 samples: one half has more, the other one fewer


def test_groups_raise_thresholds(normal, quick):
    values = normal(300) * 0.3 + np.repeat(normal(30) * 2, 10, axis=0)
    blind = prepare(make_reference(values), quick).calibration
    aware = prepare(make_reference(values, [f"g{at // 10}" for at in range(300)]), quick).calibration
    assert aware.thresholds[10] > 2 * blind.thresholds[10]
    assert aware.cusum > 2 * blind.cusum


def test_memory_does_not_grow_with_traffic(reference, quick, normal):
    import gc
    import tracemalloc

    tracemalloc.start()
    try:
        monitor = open_monitor(reference, quick)
        stream = normal(4000).tolist()
        sizes = []
        for begin in (0, 2000):
            for sample in stream[begin : begin + 2000]:
                monitor.observe([sample])
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert monitor.alarms > 5
    assert sizes[1] - sizes[0] < 30_000  # the statistics of 2,000 samples alone would take 48,000


def test_without_numpy_the_extra_is_named(monkeypatch, reference, quick):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    from mlops_core.errors import UsageError

    with pytest.raises(UsageError, match=r"needs NumPy.*\[serve\]"):
        open_monitor(reference, quick)


def test_a_failed_disk_loses_no_alarm_and_raises_nothing(reference, quick, normal, tmp_path, capsys):
    monitor = open_monitor(reference, quick, tmp_path / "state")
    (tmp_path / "state" / "alarms.jsonl").mkdir()
    assert feed(monitor, normal(40) + 3)
    monitor.close()  # a thread writes until then
    assert "is not recorded" in capsys.readouterr().err
