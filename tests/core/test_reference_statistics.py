"""Reference statistics: drawn the same everywhere, bounded, refused when damaged, and made of held-out samples only."""

import json
import random
from dataclasses import replace

import pytest

from mlops_core import Prediction, Predictions, SampleDescription, StepError, write_descriptions
from mlops_core.evaluation import reference_statistics as statistics
from mlops_core.evaluation.reference_statistics import (
    MOST_SAMPLES,
    ReferenceStatistics,
    merge_references,
    read_reference,
    reference_of_evaluation,
    reference_of_predictions,
    write_reference,
)


def described(count, *, groups=0):
    source = random.Random(0)
    return [
        SampleDescription(
            sample=f"clip-{number}.wav",
            vector=(source.random(), source.gauss(0, 1)),
            group=f"speaker-{number % groups}" if groups else "",
        )
        for number in range(count)
    ]


def row(sample, *scores, part=0, group="", model=""):
    return Prediction(sample=sample, part=part, group=group or sample, label="no", scores=scores, model=model)


def test_a_file_restores_what_was_written(tmp_path):
    made = ReferenceStatistics.draw(("level", "pitch"), described(40, groups=8))
    path = write_reference(tmp_path, made)
    assert read_reference(path) == made
    assert read_reference(path).digest == made.digest
    groups = {one.sample: one.group for one in described(40, groups=8)}
    assert made.groups == tuple(groups[sample] for sample in made.samples)


def test_samples_in_any_order_and_in_any_parts_give_the_same_reference():
    samples = described(3 * MOST_SAMPLES, groups=300)
    whole = ReferenceStatistics.draw(("level", "pitch"), samples)
    shuffled = random.Random(1).sample(samples, len(samples))
    assert ReferenceStatistics.draw(("level", "pitch"), shuffled) == whole
    parts = [ReferenceStatistics.draw(("level", "pitch"), shuffled[start::4]) for start in range(4)]
    assert merge_references(parts) == whole
    assert len(whole) == MOST_SAMPLES


def test_of_too_many_samples_whole_groups_are_kept():
    samples = described(2 * MOST_SAMPLES, groups=400)  # ten in each
    kept = ReferenceStatistics.draw(("level", "pitch"), samples)
    sizes = [kept.groups.count(group) for group in set(kept.groups)]
    assert set(sizes) == {10}
    assert len(sizes) == MOST_SAMPLES // 10


def test_wide_vectors_are_bounded_by_their_numbers(monkeypatch):
    monkeypatch.setattr(statistics, "MOST_NUMBERS", 100)
    assert len(ReferenceStatistics.draw(("level", "pitch"), described(80))) == 50


def test_scores_of_parts_are_averaged_and_other_models_are_left_out():
    rows = (
        row("one", 0.5, 0.5, part=0, group="g"),
        row("one", 1.0, 0.0, part=1, group="g"),
        row("two", 0.25, 0.75, group="g"),
        row("two", 0.0, 1.0, group="g", model="float"),
    )
    found = reference_of_predictions(Predictions(classes=("no", "yes"), rows=rows))
    assert dict(zip(found.samples, found.vectors, strict=True)) == {"one": (0.75, 0.25), "two": (0.25, 0.75)}
    assert (found.features, found.source, found.groups) == (("no", "yes"), "scores", ("g", "g"))


def test_a_description_takes_the_place_of_scores_and_has_the_groups_of_the_predictions(tmp_path):
    predictions = Predictions(
        classes=("no", "yes"), rows=(row("one", 0.5, 0.5, group="g"), row("two", 1, 0, group="g"))
    )
    samples = [SampleDescription(sample=name, vector=(0.5,)) for name in ("one", "two")]
    write_descriptions(tmp_path, ["level"], samples)
    found = reference_of_evaluation(predictions, tmp_path)
    assert (found.features, found.source, found.groups) == (("level",), "description", ("g", "g"))


def test_a_described_sample_that_was_not_tested_is_refused(tmp_path):
    predictions = Predictions(classes=("no", "yes"), rows=(row("one", 0.5, 0.5),))
    write_descriptions(tmp_path, ["level"], [SampleDescription(sample="trained-on", vector=(0.5,))])
    with pytest.raises(StepError, match="describes 'trained-on', which has no prediction; expected test samples only"):
        reference_of_evaluation(predictions, tmp_path)


@pytest.mark.parametrize(
    ("vector", "message"),
    [((0.5,), "has 1 numbers; expected 2"), ((0.5, float("nan")), "pitch of 'clip-1' is not a finite number")],
)
def test_a_description_that_cannot_be_used_fails_the_step(tmp_path, vector, message):
    with pytest.raises(StepError, match=message):
        write_descriptions(tmp_path, ["level", "pitch"], [SampleDescription(sample="clip-1", vector=vector)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "mlops-reference/2"}, "the format is 'mlops-reference/2'; expected 'mlops-reference/1'"),
        ({"samples": ["a"]}, "1 samples, 2 vectors and 0 groups"),
        ({"samples": ["a", "a"]}, "the sample 'a' appears twice"),
        ({"features": []}, "0 features"),
        ({"vectors": [[1.0], ["x"]]}, "'x' is not a number"),
        ({"vectors": [[1.0], [1.0, 2.0]]}, "the vector of 'b' has 2 numbers; expected 1"),
        ({"source": "elsewhere"}, "the source is 'elsewhere'"),
        ({"groups": None}, "a name is not a text"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, change, message):
    made = ReferenceStatistics(features=("level",), vectors=((1.0,), (2.0,)), samples=("a", "b"))
    path = write_reference(tmp_path, made)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(StepError, match=message) as caught:
        read_reference(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("evaluate the model again")


def test_numbers_that_differ_in_the_last_bits_have_the_same_digest():
    made = ReferenceStatistics.draw(("level", "pitch"), described(20))
    nearly = [replace(one, vector=tuple(number * (1 + 1e-12) for number in one.vector)) for one in described(20)]
    assert ReferenceStatistics.draw(("level", "pitch"), nearly).digest == made.digest
