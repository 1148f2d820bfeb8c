"""Selection of the samples with the worst predictions."""

import math
import tracemalloc
from dataclasses import replace

import pytest

from mlops_core.errors import StepError
from mlops_core.predictions import Prediction, write_predictions
from mlops_core.report.worst import as_distribution, find_worst, recorded_worst
from mlops_core.workspace.manifests import ManifestStore


def worst(tmp_path, rows, *, classes=("a", "b", "c"), limit=3):
    write_predictions(tmp_path, classes, rows)
    return find_worst(tmp_path, limit=limit)


def row(sample, label, *scores, part=0):
    return Prediction(sample=sample, part=part, group=f"g-{sample}", label=label, scores=scores)


def test_most_confident_mistakes_come_first(tmp_path):
    selection = worst(
        tmp_path,
        [row("fine", "a", 0.9, 0.05, 0.05), row("bad", "a", 0.01, 0.9, 0.09), row("so-so", "c", 0.4, 0.3, 0.3)],
        limit=2,
    )
    assert [sample.sample for sample in selection.samples] == ["bad", "so-so"]
    assert (selection.count, selection.wrong) == (3, 2)
    first = selection.samples[0]
    assert first.loss == pytest.approx(-math.log(0.01))
    assert [(guess.label, guess.score) for guess in first.guesses] == [("b", 0.9), ("c", 0.09), ("a", 0.01)]
    assert first.is_wrong


def test_scores_of_the_parts_of_a_sample_are_averaged(tmp_path):
    selection = worst(tmp_path, [row("x", "a", 0.2, 0.8, 0, part=0), row("x", "a", 1, 0, 0, part=1)])
    assert (selection.count, selection.wrong) == (1, 0)
    assert selection.samples[0].parts == 2
    assert selection.samples[0].label_score == pytest.approx(0.6)


def test_samples_of_a_compared_model_are_not_counted(tmp_path):
    rows = [row("x", "a", 0.9, 0.1, 0), replace(row("x", "a", 0.1, 0.9, 0), model="float")]
    selection = worst(tmp_path, rows)
    assert (selection.count, selection.wrong) == (1, 0)
    assert selection.samples[0].label_score == pytest.approx(0.9)


def test_equal_losses_are_ordered_by_name_whatever_the_file_order(tmp_path):
    names = ["d", "a", "c", "b", "e"]
    chosen = []
    for number, order in enumerate((names, names[::-1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        chosen.append([s.sample for s in worst(folder, [row(name, "a", 0, 1, 0) for name in order]).samples])
    assert chosen == [["a", "b", "c"]] * 2


def test_scores_that_are_not_a_distribution_are_ranked_by_their_softmax(tmp_path):
    assert as_distribution((0.2, 0.8)) == [0.2, 0.8]
    assert sum(as_distribution((-4.0, 900.0, 3.0))) == pytest.approx(1)
    selection = worst(tmp_path, [row("x", "a", -4.0, 9.0, 3.0), row("y", "a", 40.0, 1.0, 1.0)])
    assert [sample.sample for sample in selection.samples] == ["x", "y"]


def test_at_most_so_many_samples_of_each_confusion_are_selected(tmp_path):
    rows = [row(f"ab{number}", "a", 0.01 * number, 1 - 0.01 * number, 0) for number in range(1, 6)]
    rows += [row("ba", "b", 0.6, 0.4, 0), row("aa", "a", 0.6, 0.3, 0.1), row("cb", "c", 0, 0.55, 0.45)]
    write_predictions(tmp_path, ("a", "b", "c"), rows)
    selection = find_worst(tmp_path, limit=4, per_confusion=2)
    assert [sample.sample for sample in selection.samples] == ["ab1", "ab2", "ba", "cb"]
    assert (selection.count, selection.wrong) == (8, 7)
    assert [sample.sample for sample in find_worst(tmp_path, limit=1, per_confusion=2).samples] == ["ab1"]


def test_a_regression_has_no_confusions(tmp_path):
    write_predictions(tmp_path, (), [row(name, 1, number) for number, name in enumerate("abcd")])
    assert len(find_worst(tmp_path, limit=4, per_confusion=2).samples) == 4


def test_largest_errors_of_a_regression_come_first(tmp_path):
    rows = [row(name, label, score) for name, label, score in (("x", 3, 3.5), ("y", 9, 2.0), ("z", 1.5, 1.0))]
    selection = worst(tmp_path, rows, classes=(), limit=2)
    assert selection.is_regression
    assert [(sample.sample, sample.loss, sample.label_score) for sample in selection.samples] == [
        ("y", 7, 2),
        ("x", 0.5, 3.5),
    ]
    assert selection.wrong == 0


def test_memory_does_not_grow_with_the_number_of_predictions(tmp_path):
    write_predictions(tmp_path, ("a", "b"), (row(f"s{number:06d}", "a", 0.5, 0.5) for number in range(10_000)))
    tracemalloc.start()
    find_worst(tmp_path, limit=5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_the_worst_samples_of_an_artifact_are_found_once_and_survive_what_is_damaged(tmp_path):
    folder = tmp_path / ("ab" * 32)
    folder.mkdir()
    rows = [Prediction(sample=str(n), group="g", label="x", scores=(n / 9, 1 - n / 9)) for n in range(9)]
    write_predictions(folder, ("x", "y"), rows)
    manifests = ManifestStore(tmp_path / "manifests")
    first = recorded_worst(manifests, folder, limit=4, per_confusion=2)
    assert first == find_worst(folder, limit=4, per_confusion=2)
    (folder / "predictions.jsonl").unlink()  # a second page does not read it
    assert recorded_worst(manifests, folder, limit=4, per_confusion=2) == first
    with pytest.raises(StepError):
        recorded_worst(manifests, folder, limit=5, per_confusion=2)
    for text in ("", "{}", '{"format": "mlops-worst/0"}', '{"format": "mlops-worst/1", "samples": 3}'):
        manifests.save_note(folder.name, "worst-4-2.json", text)
        with pytest.raises(StepError):
            recorded_worst(manifests, folder, limit=4, per_confusion=2)
    manifests.discard(folder.name)
    assert manifests.find_note(folder.name, "worst-4-2.json") is None
