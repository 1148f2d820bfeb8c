"""Captured requests of several servers in the order of their time; what is left out, and what is refused."""

import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops_core.errors import DatasetError
from mlops_core.evaluation.reference_statistics import ReferenceStatistics, write_reference
from mlops_core.serving import Exchange, ServingProtocol
from mlops_core.serving.drift.replay.captures import CaptureReader, UndescribedRequestError, answer_scores

MODEL = "ECHO version 3"
PLUGINS = os.pathsep.join(str(Path(__file__).parents[2] / each) for each in ("serving/echo", "toy"))


class Protocol(ServingProtocol):
    name = "test"
    can_capture = True

    def read_captured(self, line):
        if "answer" not in line:
            return None
        return Exchange(
            request_id=line["id"],
            received=datetime.fromtimestamp(line["at"], UTC),
            headers={},
            content_type="text/plain",
            body=b"x",
            answer_type=line.get("type", "application/json"),
            answer=line["answer"].encode(),
            model=line.get("model", MODEL),
        )


def line(at, low, *, name="", **more):
    answer = json.dumps({"predictions": [{"scores": {"high": 1 - low, "low": low}}]})
    return json.dumps({"id": name or f"r{at}", "at": at, "answer": answer, **more})


def reader(**more):
    return CaptureReader(("low", "high"), model=MODEL, protocols=[Protocol()], **more)


def lows(found):
    return [vector[0] for _, vector in found]


def test_requests_of_two_servers_are_merged_by_time_and_used_once(tmp_path):
    one, other = tmp_path / "a.jsonl", tmp_path / "deep" / "b.jsonl"
    other.parent.mkdir()
    one.write_text("\n".join([line(10, 0.1), line(30, 0.3), line(20, 0.2), line(30, 0.3), ""]))  # the clock jumped
    other.write_text(line(15, 0.15) + "\n" + line(5, 0.05) + "\n" + line(10, 0.1) + "\n" + line(40, 0.4)[:-9])  # torn
    found = reader().read([tmp_path])
    assert lows(found) == [0.05, 0.1, 0.15, 0.2, 0.3]
    assert [time for time, _ in found] == [5, 10, 15, 20, 30]
    assert (found.requests, found.duplicates, found.unreadable, found.late) == (5, 2, 1, 2)


def test_one_id_for_many_requests_loses_none_of_them(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(line(at, at / 10, name="always") for at in range(5)))
    assert lows(reader().read([tmp_path / "a.jsonl"])) == [0, 0.1, 0.2, 0.3, 0.4]


def test_a_batch_keeps_its_order(tmp_path):
    answers = json.dumps({"predictions": [{"scores": [each, 1.0]} for each in (0.3, None, 0.1)]})
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "1", "at": 1, "answer": answers}))
    found = reader().read([tmp_path])
    assert lows(found)[::2] == [0.3, 0.1]
    assert math.isnan(lows(found)[1])


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("text/csv", "low,0.25,0.75\nhigh,0.5,0.5\n"),
        ("text/csv; header=present", "class,low,high\nlow,0.25,0.75\nhigh,0.5,0.5\n"),
        ("application/jsonlines", '{"scores": {"low": 0.25, "high": 0.75}}\n{"scores": {"low": 0.5, "high": 0.5}}\n'),
    ],
)
def test_all_formats_of_answers_are_read(tmp_path, kind, answer):
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "1", "at": 1, "answer": answer, "type": kind}))
    assert [list(vector) for _, vector in reader().read([tmp_path])] == [[0.25, 0.75], [0.5, 0.5]]


@pytest.mark.parametrize("answer", ["7.5\n8.5\n", "7.5,7,8\n8.5,8,9\n", "prediction,low,high\n7.5,7,8\n8.5,8,9\n"])
def test_predicted_numbers_are_read(tmp_path, answer):
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "1", "at": 1, "answer": answer, "type": "text/csv"}))
    found = CaptureReader(("prediction",), model=MODEL, protocols=[Protocol()]).read([tmp_path])
    assert [list(vector) for _, vector in found] == [[7.5], [8.5]]


def test_tables_and_lines_of_features_are_read(tmp_path):
    (tmp_path / "a.csv").write_text("high,time,low\n0.9,2026-05-01T10:00:00Z,0.1\n,2026-05-01T09:00:00,0.2\nx,1,2\n")
    (tmp_path / "b.jsonl").write_text(
        '{"time": 1777626000.5, "features": {"low": 0.3, "high": null}, "id": "q"}\n'
        '{"time": 1, "features": [0.4, 0.6]}\n'
    )
    found = reader().read([tmp_path / "a.csv", tmp_path / "b.jsonl"])
    assert lows(found) == [0.4, 0.2, 0.3, 0.1]
    assert found.unreadable == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            line(1, 0.1, model="ECHO version 2"),
            r"a\.jsonl line 1 was answered by ECHO version 2, not by ECHO version 3",
        ),
        (
            '{"id": "1", "at": 1, "answer": "{\\"scores\\": {\\"low\\": 1, \\"mid\\": 0}}"}',
            "'mid' is new, 'high' is missing",
        ),
        ('{"time": 1, "features": [1, 2, 3]}', "line 1: 3 features; expected 2"),
        ('{"time": 1, "features": {"low": 1}}', r"\(1 instead of 2\): 'high' is missing"),
        (
            '{"other": 1}\n[]\nno JSON',
            "none of its 3 lines can be read; expected features or captured requests of 'test'",
        ),
    ],
)
def test_captures_of_another_model_or_format_are_refused(tmp_path, text, message):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DatasetError, match=message):
        reader().read([tmp_path / "a.jsonl"])


@pytest.mark.parametrize(
    "damaged",
    [
        '{"time": 1, "features": [[1], 2]}',
        '{"time": 1, "features": [{}, 2]}',
        f'{{"time": 1, "features": [{"9" * 400}, 2]}}',
        f'{{"time": {"9" * 400}, "features": [1, 2]}}',
        '{"time": -1e11, "features": [1, 2]}',
        '{"time": NaN, "features": [1, 2]}',
        json.dumps({"id": "1", "at": 1, "answer": '{"predictions": 5}'}),
        json.dumps({"id": "1", "at": 1, "answer": "low," + "1" * 200_000, "type": "text/csv"}),
    ],
    ids=["list", "object", "integer", "time of 400 digits", "year -1199", "NaN", "number", "large field"],
)
def test_one_damaged_line_is_counted_and_the_others_are_used(tmp_path, damaged):
    (tmp_path / "a.jsonl").write_text("\n".join([line(10, 0.1), damaged, line(30, 0.3)]))
    found = reader().read([tmp_path])
    assert (lows(found), found.unreadable) == ([0.1, 0.3], 1)


@pytest.mark.parametrize("damaged", [b"0.5\xff,0.5,2", b"0.5,0.5,-1e11", b"1" * 200_000 + b",0.5,2", b"0.5,0.5"])
def test_one_damaged_row_is_counted_and_the_others_are_used(tmp_path, damaged):
    (tmp_path / "a.csv").write_bytes(b"low,high,time\n0.1,0.9,1\n" + damaged + b"\n0.3,0.7,3\n")
    found = reader().read([tmp_path / "a.csv"])
    assert (lows(found), found.unreadable) == ([0.1, 0.3], 1)


def test_a_request_on_which_the_plugin_fails_is_counted_and_named(tmp_path):
    def vectors(exchange):
        if exchange.request_id == "bad":
            raise UndescribedRequestError("no picture")
        return answer_scores(exchange, ("low", "high"))

    (tmp_path / "a.jsonl").write_text("\n".join([line(10, 0.1), line(20, 0.2, name="bad"), line(30, 0.3)]))
    found = reader(vectors=vectors).read([tmp_path])
    assert lows(found) == [0.1, 0.3]
    assert (found.counts()["undescribed_requests"], found.unreadable) == (1, 0)
    assert found.first_failure == "no picture"
    (tmp_path / "a.jsonl").write_text(line(20, 0.2, name="bad"))
    with pytest.raises(DatasetError, match="none of its 1 lines can be used; the plugin failed on one: no picture"):
        reader(vectors=vectors).read([tmp_path])


def test_files_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="holds no files"):
        reader().read([tmp_path])
    with pytest.raises(DatasetError, match="no file"):
        reader().read([tmp_path / "a.jsonl"])
    (tmp_path / "a.csv").write_text("low,mid\n1,2\n")
    with pytest.raises(DatasetError, match=r"a\.csv: .*'mid' is new, 'high' is missing"):
        reader().read([tmp_path / "a.csv"])


@pytest.fixture
def drift(tmp_path, normal):
    """Return a function that calls ``mlops drift`` with a model folder and its reference."""
    values = normal(200, 3)
    reference = ReferenceStatistics(
        features=("a", "b", "c"),
        vectors=tuple(map(tuple, values.tolist())),
        samples=tuple(map(str, range(200))),
    )
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.txt").write_text("plain")
    write_reference(model, reference)

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-c", "from mlops_core.cli import main; main()", "drift", arguments[0], "-u", "ECHO",
             "--model", str(model), *map(str, arguments[1:])],
            capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": PLUGINS, "MLOPS_HOME": str(tmp_path / "home")},
        )  # fmt: skip

    return call


QUICK = ("--days", 1, "--requests-per-hour", 5, "--windows", "10,20")


def write_table(path, values):
    rows = [f"{60 * at},{','.join(map(repr, map(float, vector)))}" for at, vector in enumerate(values)]
    path.write_text("\n".join(["time,a,b,c", *rows]))


def test_check_finds_drift_and_names_the_feature(drift, tmp_path, normal):
    values = normal(120, 3)
    values[60:, 1] -= 3
    write_table(tmp_path / "t.csv", values)
    done = drift("check", tmp_path / "t.csv", "--json", *QUICK)
    assert done.returncode == 3, done.stderr
    data = json.loads(done.stdout)
    late = [alarm for alarm in data["alarms"] if alarm["raised_at"] >= "1970-01-01T01:00"]
    assert late[0]["raised_at"] < "1970-01-01T01:15"
    assert late[0]["features"][0]["name"] == "b"
    assert data["counts"]["samples"] == 120
    text = drift("check", tmp_path / "t.csv", *QUICK)
    assert text.returncode == 3
    assert "b -" in text.stdout
    assert "false alarms in" in text.stdout


def test_the_calibration_is_kept_in_the_workspace_and_used_again(drift, tmp_path, normal):
    write_table(tmp_path / "t.csv", normal(60, 3))
    (tmp_path / "home").mkdir()
    first = drift("check", tmp_path / "t.csv", "--json", *QUICK)
    [kept] = (tmp_path / "home" / "drift" / "ECHO").glob("folder-*/calibration.json")
    data = json.loads(kept.read_text())
    assert json.loads(first.stdout)["preparation"]["cusum"] == data["calibration"]["cusum"]
    data["calibration"]["cusum"] = 1e6  # shows that it is read
    kept.write_text(json.dumps(data))
    again = drift("check", tmp_path / "t.csv", "--json", *QUICK)
    assert json.loads(again.stdout)["preparation"]["cusum"] == 1e6
    assert [each.name for each in kept.parent.iterdir()] == ["calibration.json"]
    other = drift("check", tmp_path / "t.csv", "--json", "--seed", 1, *QUICK)
    assert json.loads(other.stdout)["preparation"]["cusum"] < 1e6


def test_memory_does_not_grow_with_the_captured_requests(tmp_path):
    def peak(count):
        with (tmp_path / "a.jsonl").open("w") as stream:
            for at in range(count, 0, -1):
                stream.write(f'{{"time": {at}, "id": "{at}", "features": [{at}, 1]}}\n')
        code = (
            "import pathlib, sys; from mlops_core.serving.drift.replay.captures import CaptureReader; "
            "found = CaptureReader(('low', 'high'), model='M').read([pathlib.Path(sys.argv[1])]); "
            "assert all(at == vector[0] for at, (_, vector) in enumerate(found, 1)); "
            "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0], len(found))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "a.jsonl"], capture_output=True, text=True, check=True
        )
        largest_kb, samples = map(int, done.stdout.split())
        assert samples == count
        return largest_kb

    assert peak(60_000) < peak(1000) + 10_000  # the caches of the database


def test_check_without_drift_ends_with_0_and_too_few_samples_are_refused(drift, tmp_path, normal):
    write_table(tmp_path / "t.csv", normal(60, 3))
    done = drift("check", tmp_path / "t.csv", "--days", 20, "--requests-per-hour", 4, "--windows", "10")
    assert (done.returncode, done.stderr) == (0, "")
    assert "60 samples in 1.0 h, 60 of them observed; 0 alarms" in done.stdout
    few = drift("check", tmp_path / "t.csv")
    assert few.returncode == 5
    assert "60 samples were captured, of which one in 180 is observed; the smallest window needs 20" in few.stderr
    assert "--days 0.17" in few.stderr


def test_simulate_shows_that_larger_shifts_are_found_sooner(drift):
    done = drift("simulate", "--json", "--runs", 8, "--days", 1, "--requests-per-hour", 5, "--windows", "10")
    assert done.returncode == 0, done.stderr
    rows = {row["change"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["all features by 1 sd"]["alarms"] == 8
    assert rows["all features by 1 sd"]["median"] < rows["all features by 0.25 sd"]["samples"] / 8
    assert rows["all features by 1 sd"]["median_hours"] == rows["all features by 1 sd"]["median"] / 5
    assert rows["none"]["expected"] > 0
    assert any(name.startswith("new class ") for name in rows)
