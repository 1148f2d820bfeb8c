"""Rows as columns: the same rows in little memory, and a merge and digests that do not hold all of them."""

import hashlib
import json
import random
import tracemalloc
from array import array
from itertools import pairwise

import pytest

from mlops_core import MetricReport, Prediction, Predictions, proportion
from mlops_core.errors import StepError
from mlops_core.predictions import (
    PredictionRows,
    digest_test_set,
    iter_predictions,
    merge_predictions,
    merging,
    read_predictions,
    write_predictions,
)
from mlops_core.predictors import Interval
from mlops_core.steps.evaluation import evaluate_predictions
from mlops_core.steps.groups import Numbering

INTERVAL = Interval(low=1.0, high=2.0, level=0.9)


def clip(number, *, part=0, model="", size=3):
    share = random.Random(number).random()
    return Prediction(
        sample=f"clip-{number:06d}.wav",
        part=part,
        group=f"speaker-{number // size}",
        label="ab"[share > 0.5],
        scores=(share, 1 - share),
        model=model,
    )


ODD = [
    Prediction(sample="ü\udc80\n", group="", label=3, scores=(1.5,), interval=INTERVAL),
    Prediction(sample="a", group="b", label=2**60, scores=(-0.0,), part=-3),
    Prediction(sample="a", group="b", label=0.1, scores=(2,), interval=None, model="float"),
    Prediction(sample="a", group="b", label="x", scores=(1.0, 2.0)),
    Prediction(sample=7, group=None, label=True, scores=("x",), part="p"),
    Prediction(sample="a", group="b", label=1.0, scores=(10**400,), part=2**70),
]


def test_rows_are_what_was_put_in_whatever_it_was():
    rows = PredictionRows.of(iter(ODD), width=1)
    assert list(rows) == ODD
    assert rows == tuple(ODD)
    assert tuple(ODD) == rows
    assert rows == ODD
    assert [type(row.label) for row in rows] == [type(row.label) for row in ODD]
    assert rows != tuple(ODD[:-1])
    assert rows != "x"
    assert (rows[-1], rows[1:3], len(rows[::2])) == (ODD[-1], ODD[1:3], 3)
    assert rows.select([2, 0]) == [ODD[2], ODD[0]]
    assert rows.select([2, 0]).select([1]) == [ODD[0]]
    assert (rows.sample(0), rows.group(0), rows.sample(4), rows.group(4)) == ("ü\udc80\n", "", 7, None)
    first = (ODD[0],)
    assert rows + first == (*ODD, ODD[0])
    assert first + rows == (ODD[0], *ODD)
    with pytest.raises(IndexError):
        rows[6]
    assert repr(rows) == "<PredictionRows 6 rows>"


def test_more_distinct_texts_than_are_remembered_are_kept_all_the_same():
    rows = [Prediction(sample=str(n), group=str(n % 70_000), label=float(n), scores=(0.0,)) for n in range(140_000)]
    kept = PredictionRows.of(rows, width=1)
    assert all(kept[n] == rows[n] for n in range(0, 140_000, 997))


def test_a_file_is_read_into_a_fraction_of_the_memory_of_its_rows(tmp_path):
    write_predictions(tmp_path, ("a", "b"), map(clip, range(20_000)))
    tracemalloc.start()
    rows = read_predictions(tmp_path).rows
    columns = tracemalloc.get_traced_memory()[0]
    objects = tuple(iter_predictions(tmp_path))
    as_objects = tracemalloc.get_traced_memory()[0] - columns
    tracemalloc.stop()
    assert len(rows) == len(objects) == 20_000
    assert columns < as_objects / 3


@pytest.mark.parametrize("chunk", [1, 700, 1 << 20])
def test_parts_are_merged_in_the_same_order_however_much_fits_into_memory(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(merging, "_CHUNK_BYTES", chunk)
    rows = [clip(n, part=part, model=model) for n in range(60) for part in range(2) for model in ("", "float")]
    rows.append(Prediction(sample="tab\tnew\nline", group="g", label="a", scores=(0.5, 0.5)))
    random.Random(1).shuffle(rows)
    parts = [tmp_path / name for name in "abc"]
    for number, part in enumerate(parts):
        part.mkdir()
        write_predictions(part, ("a", "b"), rows[number::3], facts={"number": number})
    merge_predictions(parts, tmp_path)
    merged = read_predictions(tmp_path)
    assert list(merged.rows) == sorted(rows, key=lambda row: (row.model, row.sample, row.part))
    assert merged.facts == {"number": 0}
    before = (tmp_path / "predictions.jsonl").read_bytes()
    merge_predictions((tmp_path,), tmp_path)
    assert (tmp_path / "predictions.jsonl").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "predictions.jsonl"}


def test_rows_of_one_key_keep_their_order_in_a_merge(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "_CHUNK_BYTES", 1)
    rows = [Prediction(sample="s", group="g", label=float(n), scores=(0.0,)) for n in range(9)]
    write_predictions(tmp_path, (), rows)
    merge_predictions((tmp_path,), tmp_path)
    assert list(read_predictions(tmp_path).rows) == rows


def test_a_bad_row_among_many_is_named_and_the_file_before_stays(tmp_path):
    write_predictions(tmp_path, ("a", "b"), map(clip, range(3)))
    path = tmp_path / "predictions.jsonl"
    text = path.read_text() + '{"sample": "x", "group": "g", "label": "c", "scores": [0, 1]}\n'
    path.write_text(text)
    with pytest.raises(StepError, match="'x' has the label 'c', which is none of"):
        merge_predictions((tmp_path,), tmp_path)
    assert path.read_text() == text


@pytest.mark.parametrize("is_shuffled", [False, True])
def test_the_digest_of_a_test_set_is_that_of_its_distinct_samples_in_order(is_shuffled):
    rows = [clip(n, part=part) for n in range(50) for part in range(2)] + [clip(n, model="float") for n in range(3)]
    if is_shuffled:
        random.Random(2).shuffle(rows)
    identities = sorted({(row.sample, row.group, str(row.label)) for row in rows if not row.model})
    expected = hashlib.sha256(json.dumps(identities, ensure_ascii=False).encode()).hexdigest()
    for kept in (tuple(rows), PredictionRows.of(rows, width=2)):
        assert digest_test_set(Predictions(classes=("a", "b"), rows=kept)) == expected
    assert digest_test_set(Predictions(classes=(), rows=())) == hashlib.sha256(b"[]").hexdigest()


def test_keys_are_numbered_as_they_are_distinct():
    keys = [n * 7919 % 1000 for n in range(100_000)]
    numbering = Numbering.of(keys.__getitem__, len(keys))
    assert len(numbering) == 1000
    assert [keys[numbering.first[number]] for number in numbering.numbers] == keys
    assert len(Numbering.of(keys.__getitem__, 0)) == 0


@pytest.mark.parametrize("size", [1, 3, 40])
def test_an_evaluation_is_the_same_from_columns_and_from_objects(size):
    rows = [clip(n, part=part, size=size) for n in range(200) for part in range(2)]
    seen = []

    def compute(predictions):
        assert all(one <= other for one, other in pairwise(row.sample for row in predictions.rows))
        hits = sum(max(zip(row.scores, "ab", strict=True))[1] == row.label for row in predictions.rows)
        seen.append(len(predictions.rows))
        return MetricReport(values={"acc": proportion(hits, len(predictions.rows))})

    reports = [
        evaluate_predictions(Predictions(classes=("a", "b"), rows=kept), compute, metrics=[])
        for kept in (tuple(rows), PredictionRows.of(rows, width=2))
    ]
    assert reports[0] == reports[1]
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]
    value = reports[0].values["acc"]
    assert (value.method, value.groups) == ("wilson by group", -(-200 // size))
    assert (reports[0].groups is None) is (size == 1)


def test_a_selection_shares_the_columns():
    rows = PredictionRows.of(map(clip, range(1000)), width=2)
    assert rows.select(range(999, -1, -1))[0] == clip(999)
    assert isinstance(rows.select([1])._order, array)
