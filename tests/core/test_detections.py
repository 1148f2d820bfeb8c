"""Detections: a second format of predictions, and what core does with it."""

import json
import random
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mlops_core import (
    Detection,
    Direction,
    FoundBox,
    Gate,
    GateOutcome,
    Metric,
    MetricReport,
    MetricValue,
    Prediction,
    Predictions,
    Preview,
    Slice,
    StepError,
    TrueBox,
    Unit,
    parse_condition,
    read_predictions,
    write_predictions,
)
from mlops_core.evaluation.baselines import constant_warning
from mlops_core.gates.evidence import ChampionPredictions, GateEvidence
from mlops_core.predictions import PredictionRows, digest_test_set, merge_predictions
from mlops_core.predictions.boxes import BoxFate, count_errors
from mlops_core.report.sections.samples import samples_section
from mlops_core.report.worst import WorstSamples, find_worst, iter_judged
from mlops_core.serving.workers.answers import AnswerFormat, encoded, summary
from mlops_core.testing.use_cases import canaries

CLASSES = ("pump", "valve")


def true(label="valve", x=0.0, *, crowd=False, size=10.0):
    return TrueBox(label=label, box=(x, 0.0, x + size, size), is_crowd=crowd)


def found(label="valve", x=0.0, size=10.0):
    return FoundBox(label=label, box=(x, 0.0, x + size, size))


def row(sample="a.png", *, truth=(), boxes=(), scores=None, group=None):
    scores = (0.9,) * len(boxes) if scores is None else scores
    count = sum(not box.is_crowd for box in truth)
    return Prediction(
        sample=sample, group=group or sample, label=count, scores=scores, truth=tuple(truth), found=tuple(boxes)
    )


ROWS = (
    row("a.png", truth=(true(), true("pump", 30, crowd=True)), boxes=(found(), found("pump", 60)), scores=(0.9, 0.2)),
    row("b.png", truth=(true("pump"), true("pump", 40)), boxes=(found("pump"),)),
    row("c.png"),
)
FACTS = {"box_score_threshold": 0.3}


def written(folder, rows=ROWS, **options):
    folder.mkdir(exist_ok=True)
    write_predictions(folder, CLASSES, rows, **({"facts": FACTS, "has_boxes": True} | options))
    return folder


def test_detections_are_read_as_they_were_written(tmp_path):
    read = read_predictions(written(tmp_path))
    assert read == Predictions(classes=CLASSES, rows=ROWS, facts=FACTS, has_boxes=True)
    header = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[0])
    assert header["format"] == "mlops-detections/1"


def test_many_rows_are_kept_with_their_boxes(tmp_path):
    rows = tuple(replace(ROWS[number % 3], sample=f"{number:05d}", group="g") for number in range(5100))
    read = read_predictions(written(tmp_path, rows))
    assert isinstance(read.rows, PredictionRows)
    assert read.rows == rows


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (row(boxes=(found(),), scores=()), "0 scores for 1 found boxes"),
        (row(boxes=(found(),), scores=(float("nan"),)), "not finite"),
        (row(boxes=(found(size=0.0),)), "left < right"),
        (row(truth=(true(size=float("inf")),)), "finite"),
        (row(truth=(true("tank"),)), "'tank'"),
        (row(boxes=(found("tank"),)), "'tank'"),
        (replace(ROWS[2], label="valve"), "number of its objects"),
        (replace(ROWS[2], label=-1), "number of its objects"),
    ],
)
def test_a_row_that_cannot_be_a_detection_is_refused(tmp_path, bad, words):
    with pytest.raises(StepError, match=words) as error:
        written(tmp_path, (bad,))
    assert bad.sample in str(error.value)
    assert not (tmp_path / "predictions.jsonl").exists()


def test_boxes_in_the_format_of_scores_are_refused(tmp_path):
    with pytest.raises(StepError, match="has_boxes=True"):
        write_predictions(tmp_path, (), [replace(ROWS[0], scores=(1.0,))])


@pytest.mark.parametrize(
    "change",
    [
        {"truth": None},
        {"found": [{"label": "valve", "box": [0, 0, 1]}]},
        {"found": [{"label": 7, "box": [0, 0, 1, 1]}]},
        {"truth": [{"label": "valve", "box": [0, 0, "1", 1]}]},
        {"truth": [{"label": "valve", "box": [0, 0, 1, 1], "crowd": 1}]},
        {"truth": [{"box": [0, 0, 1, 1]}]},
        {"colour": "red"},
    ],
)
def test_a_damaged_row_is_named_with_its_line(tmp_path, change):
    path = written(tmp_path) / "predictions.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | change)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StepError, match=r"predictions.jsonl \(line 3\)"):
        read_predictions(tmp_path)


def test_random_damage_is_an_error_or_changes_nothing_else(tmp_path):
    content = (written(tmp_path) / "predictions.jsonl").read_bytes()
    draw = random.Random(1)
    for _ in range(300):
        changed = bytearray(content)
        changed[draw.randrange(len(changed))] = draw.randrange(256)
        (tmp_path / "predictions.jsonl").write_bytes(bytes(changed))
        try:
            read = read_predictions(tmp_path)
        except StepError:
            continue
        assert all(isinstance(one, Prediction) for one in read.rows)


def test_shards_are_merged_in_order_and_keep_the_format(tmp_path):
    parts = [written(tmp_path / "one", (ROWS[1],)), written(tmp_path / "two", (ROWS[2], ROWS[0]))]
    (tmp_path / "all").mkdir()
    merge_predictions(parts, tmp_path / "all")
    assert read_predictions(tmp_path / "all") == Predictions(classes=CLASSES, rows=ROWS, facts=FACTS, has_boxes=True)


def test_shards_of_different_formats_are_refused(tmp_path):
    (tmp_path / "two").mkdir()
    write_predictions(tmp_path / "two", CLASSES, [Prediction(sample="x", group="x", label="pump", scores=(1.0, 0.0))])
    with pytest.raises(StepError, match="expected one format"):
        merge_predictions([written(tmp_path / "one"), tmp_path / "two"], tmp_path)


def of(rows):
    return Predictions(classes=CLASSES, rows=tuple(rows), facts=FACTS, has_boxes=True)


def test_the_digest_of_the_test_set_is_over_pages_and_true_boxes():
    digest = digest_test_set(of(ROWS))
    assert digest_test_set(of(reversed(ROWS))) == digest
    assert digest_test_set(of([replace(ROWS[0], truth=ROWS[0].truth[::-1]), *ROWS[1:]])) == digest
    assert digest_test_set(of([replace(one, found=(), scores=()) for one in ROWS])) == digest
    moved = replace(ROWS[1], truth=(true("pump"), true("pump", 41)))
    assert digest_test_set(of([ROWS[0], moved, ROWS[2]])) != digest
    relabelled = replace(ROWS[1], truth=(true("pump"), true("valve", 40)))
    assert digest_test_set(of([ROWS[0], relabelled, ROWS[2]])) != digest
    uncrowded = replace(ROWS[0], truth=(true(), true("pump", 30)))
    assert digest_test_set(of([uncrowded, *ROWS[1:]])) != digest


def test_errors_are_counted_and_marked():
    one = row(
        truth=(true("valve", 0), true("valve", 20), true("pump", 40), true("pump", 100, crowd=True, size=50)),
        boxes=(found("valve", 1), found("pump", 20), found("valve", 70), found("pump", 110), found("valve", 0.5)),
        scores=(0.8, 0.7, 0.6, 0.9, 0.2),
    )
    errors = count_errors(one, threshold=0.3)
    assert (errors.right, errors.confused, errors.missed, errors.invented) == (1, 1, 1, 1)
    assert errors.count == 3
    assert [box.fate for box in errors.boxes] == [
        BoxFate.RIGHT,
        BoxFate.CONFUSED,
        BoxFate.MISSED,
        BoxFate.INVENTED,
    ]
    assert count_errors(one, threshold=0.1).invented == 2


def test_the_worst_samples_are_those_with_the_most_errors(tmp_path):
    worst = find_worst(written(tmp_path), limit=2, per_confusion=2)
    assert worst.has_boxes
    assert (worst.count, worst.wrong) == (3, 1)
    assert worst.samples[0].sample == "b.png"
    assert worst.samples[0].errors.missed == 1
    assert WorstSamples.from_json(json.loads(json.dumps(worst.to_json()))) == worst
    assert [one.loss for one in iter_judged(tmp_path)] == [0.0, 1.0, 0.0]


def test_the_report_says_what_became_of_the_objects(tmp_path):
    preview = Preview(media_type="image/png", data=b"PNG", caption="around the errors")
    worst = find_worst(written(tmp_path), limit=3)
    page = str(samples_section(SimpleNamespace(worst=worst, previews={"b.png": preview})).body)
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "1 of 2 objects found, 1 missed" in text
    assert "around the errors" in text
    assert page.count("data:image/png") == 1


def test_a_model_that_finds_nothing_is_not_better_than_a_constant():
    assert constant_warning(of(ROWS)) == ""
    assert "finds nothing" in constant_warning(of(replace(one, found=(), scores=()) for one in ROWS))
    same = (found("valve", 90), found("pump", 80))
    warning = constant_warning(of(replace(one, found=same, scores=(0.9, 0.8)) for one in ROWS))
    assert warning == "the model finds no object: none of its boxes touches an object of its class"
    compared = tuple(replace(one, model="float") for one in ROWS)
    missed = tuple(replace(one, found=(), scores=()) for one in ROWS)
    assert "finds nothing" in constant_warning(of((*missed, *compared)))


def recall(predictions):
    right = sum(count_errors(one, threshold=0.3).right for one in predictions.rows)
    objects = sum(one.label for one in predictions.rows)
    value = right / objects if objects else float("nan")
    return MetricReport(values={"found": MetricValue(value=value, low=0, high=1, count=objects)})


def test_a_slice_of_a_class_has_all_pages_with_the_boxes_of_that_class():
    rows = [
        row(f"{n}", truth=(true(), true("pump", 30)), boxes=(found(), *([found("pump", 30)] if n % 2 else [])))
        for n in range(20)
    ]
    evidence = GateEvidence(predictions=of(rows), compute=recall, evaluate=recall)
    for condition, accepted in (("found[valve] >= 0.9", True), ("found[pump] >= 0.9", False)):
        part = parse_condition(condition).slice
        count, value = evidence.slice_values("found", part, declared=["found"], needs_interval=False)[part.value]
        assert count == 20
        assert (value.value >= 0.9) is accepted


FOUND = Metric(name="found", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)


@pytest.mark.parametrize(("shown", "is_decided"), [(9, False), (10, True)])
@pytest.mark.parametrize(
    "condition", ["found[pump] >= 0.9", "found[pump] >= best.found[pump]", "no_regression(found, by=label)"]
)
def test_a_class_that_few_pages_show_does_not_decide(condition, shown, is_decided):
    def model(*, finds_pumps):
        boxes = (found(), found("pump", 30)) if finds_pumps else (found(),)
        crowd = true("pump", 60, crowd=True)
        return of(
            row(f"{n:02}", truth=(true(), crowd, *([true("pump", 30)] if n < shown else [])), boxes=boxes)
            for n in range(40)
        )

    evidence = GateEvidence(
        predictions=model(finds_pumps=False),
        compute=recall,
        evaluate=recall,
        champion=ChampionPredictions(version=1, predictions=model(finds_pumps=True)),
    )
    gate = Gate(parse_condition(condition))
    verdict = gate.evaluate(recall(evidence.predictions), metrics=(FOUND,), parameters={}, evidence=evidence)
    part = Slice(column="label", value="pump")
    count, value = evidence.slice_values("found", part, declared=["found"], needs_interval=False)["pump"]
    assert (count, value.value) == (shown, 0.0)
    if condition.startswith("no_regression"):
        # The other class, which every page shows and both models find, decides alone without the rare one.
        assert ("'pump'" in verdict.message) is is_decided
    else:
        assert (verdict.outcome is GateOutcome.REJECTED) is is_decided
        assert (verdict.outcome is GateOutcome.UNDECIDED) is not is_decided


def test_canaries_of_detections_move_boxes():
    predictions = of(ROWS)
    value = {
        name: recall(getattr(canaries, name)(predictions)).values["found"].value
        for name in ("oracle", "inverted", "constant")
    }
    assert value == {"oracle": 1.0, "inverted": 0.0, "constant": 0.0}
    chance = recall(canaries.by_chance(predictions, seed=1)).values["found"].value
    assert chance < 1
    assert recall(canaries.shuffled(predictions, seed=1)).values["found"].value < 1


ANSWERS = [
    Detection(path="a.png", scores=(0.75, 0.5), labels=("pump", "valve, closed"), boxes=((1, 2, 3, 4), (5, 6, 7, 8))),
    Detection(path="b.png", scores=(), labels=(), boxes=()),
]


def test_an_answer_needs_a_label_and_a_box_for_each_score():
    with pytest.raises(ValueError, match="1 scores, 0 labels and 0 boxes"):
        Detection(path="a.png", scores=(0.5,), labels=(), boxes=())


def test_a_server_answers_with_objects():
    data = json.loads(encoded(ANSWERS, CLASSES, kind=AnswerFormat.JSON))
    assert data["predictions"][0]["objects"][0] == {"label": "pump", "score": 0.75, "box": [1, 2, 3, 4]}
    assert data["predictions"][1] == {"objects": []}
    lines = encoded(ANSWERS, CLASSES, kind=AnswerFormat.CSV, has_heading=True).decode().splitlines()
    assert lines == [
        "label,score,left,top,right,bottom",
        "pump,0.75,1.0,2.0,3.0,4.0",
        '"valve, closed",0.5,5.0,6.0,7.0,8.0',
    ]
    assert summary(ANSWERS, CLASSES)["objects"] == [2, 0]
