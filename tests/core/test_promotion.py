"""``best`` moves by a paired test of stored predictions: never by chance, never by a tie, never across test sets."""

from dataclasses import replace

import pytest
from scipy.stats import binomtest

import mlops_core
from mlops_core import MetricReport, MetricValue, Prediction, write_predictions
from mlops_core.errors import PluginError
from mlops_core.evaluation.metrics import Direction
from mlops_core.evaluation.paired import compare_pairs
from mlops_core.runners.evidence import version_comparison
from mlops_core.workspace.maintenance.housekeeping import find_garbage, remove_garbage
from mlops_core.workspace.model_versions import ModelVersion
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord
from mlops_core.workspace.registry import BEST, Registry
from mlops_core.workspace.store import Store


@pytest.fixture
def store(workspace):
    with Store(workspace) as opened:
        yield opened


def register(store, name, rows, value, *, classes=("no", "yes"), **changes):
    """Register a version as a run does: with a record and stored predictions."""
    folder = store.work_folder("predictions") / "content"
    folder.mkdir()
    write_predictions(folder, classes, rows)
    step = StepRecord(name="evaluate", outputs={"predictions": store.artifacts.add(folder)})
    record = RunRecord(
        run_id=name,
        use_case="TOY",
        plugin="toy 1",
        runner="local",
        status=RunStatus.ACCEPTED,
        created="2026-01-01",
        seed=0,
        parameters={},
        config="",
        pipeline={},
        steps=(step,),
    )
    store.runs.save(record)
    model = {"use_case": "TOY", "version": 0, "run_id": name, "created": "2026-01-01", "artifact": name}
    compared = {"metrics": {"acc": value}, "compared_by": "acc", "test_set": "t"}
    return Registry(store).register(ModelVersion(**{**model, **compared, **changes}))


def answers(right, *, count=100, per_group=1):
    """Return one row per sample; `right` says which of them are right."""
    return [
        Prediction(
            sample=f"s{n}", group=f"g{n // per_group}", label="yes", scores=(0.0, 1.0) if n in right else (1.0, 0.0)
        )
        for n in range(count)
    ]


def not_installed():
    raise PluginError("use case 'TOY' is not installed")


def promote(store, version, compute=not_installed):
    return Registry(store).promote_best(version, compare=version_comparison(store, compute))


def promoted(store, old, new, **options):
    """Register and promote a version with the right answers `old`, then one with `new`; return the second line."""
    count = options.get("count", 100)
    for name, right in (("old", old), ("new", new)):
        note = promote(store, register(store, name, answers(right, **options), len(right) / count))
    return note


@pytest.mark.parametrize(("gained", "moves"), [(5, False), (6, True)])
def test_best_moves_when_mcnemars_exact_test_shows_it(store, gained, moves):
    note = promoted(store, set(range(60)), set(range(60 + gained)))
    p_value = binomtest(0, gained, 0.5, alternative="less").pvalue
    assert bool(p_value <= 0.025) is moves
    assert f"one-sided p = {p_value:.2g}, at most 0.025 moves it, 100 samples" in note
    assert Registry(store).alias_target("TOY", BEST) == (2 if moves else 1)
    difference = f"acc 0.6 -> {0.6 + gained / 100:.6g}, +0.0{gained} (95% interval +"
    start = (
        "best: moved from version 1 to 2: "
        if moves
        else ("best: stays at version 1: not enough evidence that version 2 is better: ")
    )
    assert note.startswith(start + difference)


def test_a_better_value_by_chance_keeps_best_and_says_how_much_more_data_would_decide(store):
    note = promoted(store, set(range(60)), {*range(55), *range(60, 68)})
    further = int(note.partition("; about ")[2].partition(" further test samples would decide")[0].replace(",", ""))
    assert note.endswith("to move it: mlops models alias best 2 --why ...")
    scale = (100 + further) / 100
    pairs = {str(n): (float(n < 60), float(n < 55 or 60 <= n < 68)) for n in range(100)}
    repeated = {f"{name}-{copy}": pair for name, pair in pairs.items() for copy in range(round(scale))}
    shown = compare_pairs(repeated, groups={name: name for name in repeated}, seed=0)
    assert shown.is_improvement
    fewer = {f"{name}-{copy}": pair for name, pair in pairs.items() for copy in range(round(scale / 2))}
    assert not compare_pairs(fewer, groups={name: name for name in fewer}, seed=0).is_improvement


def test_a_tie_keeps_the_old_version_although_other_answers_are_right(store):
    note = promoted(store, set(range(60)), set(range(40, 100)))
    assert note == "best: stays at version 1: acc 0.6 -> 0.6 is a tie, which keeps the older version"


def test_a_worse_version_keeps_best_with_difference_and_interval(store):
    note = promoted(store, set(range(60)), set(range(50)))
    assert note.startswith("best: stays at version 1: acc 0.6 -> 0.5 is not better: -0.1 (95% interval -0.17")
    assert Registry(store).alias_target("TOY", BEST) == 1


def test_samples_of_few_groups_show_nothing_however_many_they_are(store):
    note = promoted(store, set(range(50)), set(range(95)), per_group=20)
    assert "one-sided p = 0.12, at most 0.025 moves it, 100 samples, 5 groups" in note
    assert Registry(store).alias_target("TOY", BEST) == 1


def test_on_ten_samples_best_can_move_only_by_six_of_them(store):
    assert "not enough evidence" in promoted(store, {0, 1, 2, 3}, {0, 1, 2, 3, 4}, count=10)
    version = register(store, "great", answers(set(range(10)), count=10), 1.0)
    assert promote(store, version).startswith("best: moved from version 1 to 3: acc 0.4 -> 1")


def test_the_same_versions_give_the_same_line(store):
    lines = []
    for _ in range(2):
        first = register(store, "old", answers(set(range(60)), per_group=2), 0.6)
        second = register(store, "new", answers(set(range(30, 100)), per_group=2), 0.7)
        compare = version_comparison(store, not_installed)
        lines.append(compare(first, second))
    assert lines[0] == lines[1]
    assert lines[0].method == "bootstrap by group"


def errors(numbers):
    return [Prediction(sample=f"s{n}", group=f"s{n}", label=0.0, scores=(number,)) for n, number in enumerate(numbers)]


def squared(predictions):
    value = sum(row.scores[0] ** 2 for row in predictions.rows) / len(predictions.rows)
    return MetricReport(values={"mse": MetricValue(value=value, low=value, high=value)})


def of_mse(value, **changes):
    return {"metrics": {"mse": value}, "compared_by": "mse", "direction": Direction.LOWER, "classes": (), **changes}


def test_any_other_metric_than_the_share_of_right_answers_is_computed_by_the_use_case(store):
    numbers = [1 + n % 7 / 10 for n in range(60)]
    first = register(store, "old", errors(numbers), 0, **of_mse(sum(x * x for x in numbers) / 60))
    smaller = [number * 0.9 for number in numbers]
    better = register(store, "new", errors(smaller), 0, **of_mse(sum(x * x for x in smaller) / 60))
    promote(store, first)
    note = promote(store, better)
    assert note.endswith(
        "whether mse 1.70367 -> 1.37997 is better cannot be tested: mse cannot be computed: use case 'TOY' is not "
        "installed; to move it: mlops models alias best 2 --why ..."
    )
    assert Registry(store).alias_target("TOY", BEST) == 1
    note = promote(store, better, lambda: squared)
    assert note.startswith("best: moved from version 1 to 2: mse 1.70367 -> 1.37997, -0.3237 (95% interval -0.3")
    assert "one-sided p = 0.0005" in note


def test_a_value_that_the_plugin_computes_differently_now_is_not_compared(store):
    promote(store, register(store, "old", errors([1.0] * 30), 0, **of_mse(1.0)))
    better = register(store, "new", errors([0.5] * 30), 0, **of_mse(0.1))
    note = promote(store, better, lambda: squared)
    assert "mse of the predictions of version 2 is 0.25, but 0.1 was registered: the plugin computes it" in note
    assert Registry(store).alias_target("TOY", BEST) == 1


def test_predictions_that_are_gone_or_damaged_keep_best_and_the_line_says_what_to_do(store):
    first = register(store, "old", answers(set(range(50))), 0.5)
    better = register(store, "new", answers(set(range(80))), 0.8)
    promote(store, first)
    folder = next(iter((store.home / "objects").glob("*/*")))
    table = next(path for path in folder.iterdir() if path.is_file())
    table.chmod(0o644)
    whole = table.read_bytes()
    table.write_bytes(whole + b" ")
    note = promote(store, better)
    assert "are gone (artifact " in note
    assert "has changed" in note
    assert note.endswith("to move it: mlops models alias best 2 --why ...")
    store.artifacts.discard(folder.name)
    assert "are not in the workspace)" in promote(store, better)
    assert Registry(store).alias_target("TOY", BEST) == 1


def test_predictions_of_other_samples_are_not_compared_whatever_the_registered_digest_says(store):
    promote(store, register(store, "old", answers(set(range(50))), 0.5))
    other = [replace(row, sample=f"other-{row.sample}") for row in answers(set(range(80)))]
    note = promote(store, register(store, "new", other, 0.8))
    assert "different test sets" in note
    assert Registry(store).alias_target("TOY", BEST) == 1


def test_cleaning_up_keeps_the_predictions_that_best_is_compared_by(store):
    first = register(store, "old", answers(set(range(50))), 0.5)
    promote(store, first)
    for number in range(3):
        register(store, f"run-{number}", answers(set(range(20 + number))), 0.2 + number / 100)
    remove_garbage(store, find_garbage(store, keep=0))
    note = promote(store, register(store, "new", answers(set(range(80))), 0.8))
    assert note.startswith("best: moved from version 1 to 5")


def test_a_run_compares_its_predictions_with_those_of_the_best_version(toy, workspace):
    """A bias of -6 makes all words of 6 of the toy's 12 lengths wrong; one of -1 only those of one length."""
    bad = {"overrides": ["training.bias=-6"], "parameters": {"q_acc": "0.1"}}
    assert mlops_core.run(toy, workspace=workspace, **bad).alias_note == "best: version 1 is the first"
    better = mlops_core.run(toy, workspace=workspace, overrides=["training.bias=-1"]).alias_note
    assert "not enough evidence that version 2 is better: acc 0.5 -> 0.916667, +0.4167 (95% interval +" in better
    assert "one-sided p = 0.031, at most 0.025 moves it, 60 samples, 12 groups" in better
    perfect = mlops_core.run(toy, workspace=workspace).alias_note
    assert perfect.startswith("best: moved from version 1 to 3: acc 0.5 -> 1, +0.5 (95% interval +")
