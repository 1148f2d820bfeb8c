"""Requests made of files, files made of answers, and steps that are declared wrongly."""

import itertools

import pytest

from mlops_core import (
    DATASET,
    BatchPrediction,
    DatasetError,
    PipelineError,
    Step,
    StepKind,
    batch_prediction_step,
)
from mlops_core.serving import Payload, RecordRules, assembled, payloads


def bodies(path, **rules):
    return [payload.body for payload in payloads(path, RecordRules(**rules), name=path.name)]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"1\r\n22\n\n333")
    return path


def test_a_file_is_one_request_or_its_lines_are(rows):
    assert bodies(rows, limit_bytes=10) == [b"1\r\n22\n\n333"]
    assert bodies(rows, by_line=True) == [b"1\r\n", b"22\n", b"\n", b"333\n"]
    assert bodies(rows, by_line=True, is_multi=True) == [b"1\r\n22\n\n333\n"]


@pytest.mark.parametrize("limit", range(4, 14))
def test_as_many_lines_as_fit_make_a_request(rows, limit):
    lines = [b"1\r\n", b"22\n", b"\n", b"333\n"]
    made = bodies(rows, by_line=True, is_multi=True, limit_bytes=limit)
    assert b"".join(made) == b"".join(lines)
    assert all(len(body) <= limit for body in made)
    for one, other in itertools.pairwise(made):
        assert len(one) + len(other.splitlines(keepends=True)[0]) > limit


def test_what_is_larger_than_a_request_is_refused_with_its_size(rows):
    with pytest.raises(DatasetError, match=r"rows.csv has 10 bytes, more than the 9 B of a request"):
        bodies(rows, limit_bytes=9)
    with pytest.raises(DatasetError, match=r"line 4 of rows.csv has at least 3 bytes, more than the 2 B|line 1 of"):
        bodies(rows, by_line=True, limit_bytes=2)
    rows.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"rows.csv is empty"):
        bodies(rows)


def test_n_lines_need_n_answers_and_line_breaks_are_never_doubled():
    multi = RecordRules(by_line=True, is_multi=True, ends_lines=True)
    asked = Payload(body=b"1\n2\n", lines=2)
    assert assembled(b"a\nb", asked, multi, name="x") == assembled(b"a\nb\n", asked, multi, name="x") == b"a\nb\n"
    for answer, count in ((b"a\n", 1), (b"", 0), (b"a\nb\nc", 3)):
        with pytest.raises(DatasetError, match=f"a request of 2 lines was answered by {count} lines"):
            assembled(answer, asked, multi, name="x")
    assert assembled(b"a", Payload(body=b"1"), RecordRules(), name="x") == b"a"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"split": "recordio"}, "split='recordio' is not one of none, line"),
        ({"strategy": "multi"}, "strategy='multi' needs split='line'"),
        ({"max_payload_mb": 0}, "max_payload_mb=0 is not a whole number from 1 to 100"),
        ({"max_payload_mb": 51, "max_concurrent": 2}, "max_payload_mb=51 times max_concurrent=2 is more than 100"),
        ({"timeout_s": 3601}, "timeout_s=3601 is not a whole number"),
        ({"retries": 4}, "retries=4 is not a whole number from 0 to 3"),
    ],
)
def test_impossible_batch_predictions_are_refused_by_name(values, message):
    with pytest.raises(PipelineError, match=message):
        BatchPrediction(content_type="text/csv", **values)


def test_a_batch_step_is_cores_own_and_survives_a_round_trip():
    batch = BatchPrediction(content_type="text/csv", retries=2)
    step = batch_prediction_step("score", model="train.model", data="rows.tables", batch=batch)
    assert Step.from_json(step.to_json()) == step
    with pytest.raises(PipelineError, match="cannot read fetch.dataset"):
        batch_prediction_step("score", model="train.model", data=DATASET, batch=batch)
    with pytest.raises(PipelineError, match="make it with batch_prediction_step"):
        Step(
            name="score",
            kind=StepKind.BATCH,
            run="my_plugin:predict",
            inputs={"model": "a.b", "data": "a.c"},
            outputs=("predictions",),
            batch=batch,
        )
    with pytest.raises(PipelineError, match="need each other"):
        Step(name="score", kind=StepKind.BATCH, run="my_plugin:predict", outputs=("predictions",))
