"""Two runs compared in full: samples, files, source files, paired tests, samples that changed sides, text and page."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlops_core import (
    Direction,
    Metric,
    MetricReport,
    MetricValue,
    Prediction,
    SplitRow,
    Unit,
    UsageError,
    proportion,
    row_digest,
    run,
    write_predictions,
    write_split,
)
from mlops_core.cli import cli
from mlops_core.datasets.digests import TreeFile
from mlops_core.evaluation.comparability import TEST_SET_NOTE
from mlops_core.evaluation.evaluation_file import write_evaluation
from mlops_core.evaluation.paired import PairedDifference
from mlops_core.predictions import digest_test_set, read_predictions
from mlops_core.report.compared.code import compare_code
from mlops_core.report.compared.data import changes_of_rows
from mlops_core.report.compared.page import render_comparison
from mlops_core.report.compared.paired_tests import PairedTest, paired_tests
from mlops_core.report.compared.runs import SHOWN_SIDES, compare_stored_runs
from mlops_core.report.compared.sides import compare_sides
from mlops_core.report.comparison import compare_runs
from mlops_core.report.facts import Missing, read_facts
from mlops_core.report.split_rows import read_part_counts
from mlops_core.workspace.records import DatasetRecord, RunRecord, RunStatus, StepRecord, StepStatus
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

ACC = Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
SIZE = Metric(name="size", section="m", unit=Unit.NONE, minimum=0, maximum=math.inf, direction=Direction.LOWER)
MAE = Metric(name="mae", section="m", unit=Unit.NONE, minimum=0, maximum=math.inf, direction=Direction.LOWER)


class Judge:
    """Accuracy or mean absolute error, and a size that no row shows."""

    def compute_metrics(self, predictions):
        values = {"size": MetricValue(value=predictions.facts.get("size", 1), low=math.nan, high=math.nan)}
        rows = predictions.rows
        if predictions.classes:
            hits = [predictions.classes[row.scores.index(max(row.scores))] == row.label for row in rows]
            values["acc"] = proportion(sum(hits), len(hits))
        else:
            errors = [abs(row.scores[0] - row.label) for row in rows]
            values["mae"] = MetricValue(value=sum(errors) / len(errors), low=math.nan, high=math.nan)
        return MetricReport(values=values)

    def sample_preview(self, sample, dataset):
        return None


@pytest.fixture
def store(workspace):
    with Store(workspace) as opened:
        yield opened


class Maker:
    """Writes runs with given predictions and splits into a workspace."""

    def __init__(self, store):
        self.store = store

    def add(self, run_id, rows=(), *, classes=("cat", "dog"), split=None, facts=None, metrics=(ACC, SIZE), **changes):
        outputs = {}
        if rows:
            folder = self.store.work_folder("made") / "content"
            folder.mkdir()
            write_predictions(folder, classes, rows, facts=facts)
            predictions = read_predictions(folder)
            outputs["predictions"] = self.store.artifacts.add(folder)
            folder = self.store.work_folder("made") / "content"
            folder.mkdir()
            report = Judge().compute_metrics(predictions)
            notes = {TEST_SET_NOTE: digest_test_set(predictions)}
            report = MetricReport(values={m.name: report.values[m.name] for m in metrics}, notes=notes)
            write_evaluation(folder, report, metrics)
            outputs["evaluation"] = self.store.artifacts.add(folder)
        steps = [StepRecord(name="evaluate", status=StepStatus.DONE, outputs=outputs)]
        if split is not None:
            folder = self.store.work_folder("made") / "content"
            folder.mkdir()
            write_split(folder, [replace(row, digest=row.digest or row_digest([row.sample])) for row in split])
            steps.insert(0, StepRecord(name="split", outputs={"split": self.store.artifacts.add(folder)}))
        pipeline = {
            "metrics": [metric.to_json() for metric in metrics],
            "steps": [{"name": "evaluate", "kind": "evaluation"}],
        }
        fields = {"use_case": "U", "plugin": "p 1", "runner": "local", "status": RunStatus.ACCEPTED, "seed": 0}
        fields |= {"created": "2026-01-01T00:00:00", "parameters": {}, "config": "", "pipeline": pipeline}
        record = RunRecord(run_id=run_id, steps=tuple(steps), **{**fields, **changes})
        self.store.runs.save(record)
        return record


@pytest.fixture
def maker(store):
    return Maker(store)


def answers(right, *, names=None, label="cat", score=0.9):
    """Return one row per sample; `right` says whether the answer is."""
    rows = []
    for number, is_right in enumerate(right):
        name = names[number] if names else f"s{number:03}"
        scores = (score, 1 - score) if is_right is (label == "cat") else (1 - score, score)
        rows.append(Prediction(sample=name, group=name, label=label, scores=scores))
    return rows


def compared(store, **options):
    return compare_stored_runs(store, "a", "b", use_case=Judge(), **options)


# --- Samples and files ------------------------------------------------------------------------------------


def row(sample, *, group="g", label="cat", part="train", digest="", **columns):
    return SplitRow(sample=sample, group=group, label=label, part=part, digest=digest, columns=columns)


def by_sample(*rows):
    return {each.sample: each for each in rows}


def test_samples_are_compared_by_label_group_and_part():
    changes = changes_of_rows(
        by_sample(row("same"), row("gone"), row("label"), row("group"), row("moved")),
        by_sample(
            row("same"), row("new"), row("label", label="dog"), row("group", group="h"), row("moved", part="test")
        ),
    )
    assert (changes.added, changes.removed, changes.unchanged) == (("new",), ("gone",), 1)
    assert {change.sample: change.fields for change in changes.changed} == {
        "group": {"group": ("g", "h")},
        "label": {"label": ("cat", "dog")},
        "moved": {"part": ("train", "test")},
    }
    assert changes.field_counts() == {"label": 1, "group": 1, "part": 1}
    assert not changes.is_content_compared


def test_content_is_compared_where_both_splits_have_digests():
    old = by_sample(row("x", digest="1"), row("y", digest="2"))
    changes = changes_of_rows(old, by_sample(row("x", digest="1"), row("y", digest="3")))
    assert [(change.sample, dict(change.fields)) for change in changes.changed] == [("y", {"content": ("2", "3")})]
    assert changes.is_content_compared
    partly = changes_of_rows(old, by_sample(row("x", digest="1"), row("y")))
    assert not partly.changed
    assert not partly.is_content_compared  # y may have changed; nobody can know


def test_samples_of_a_run_without_split_are_not_called_unchanged(store, maker):
    maker.add("a", split=[row("x")])
    maker.add("b")
    found = compared(store)
    assert found.samples == Missing("The samples of run b are not known: No step of the run wrote a split.")
    assert found.to_json()["samples"] == {"missing": found.samples.reason}


def test_split_whose_artifact_is_gone_or_damaged_is_named(store, maker):
    maker.add("a", split=[row("x")])
    later = maker.add("b", split=[row("y")])
    folder = store.artifacts.path(later.steps[0].outputs["split"])
    shutil.rmtree(folder)
    assert "The artifact split.split is no longer in the workspace." in compared(store).samples.reason
    folder.mkdir()
    (folder / "split.csv").write_text("nonsense\n")
    assert "split.csv (row 1): no column 'sample'" in compared(store).samples.reason


def test_samples_of_each_part_are_counted_once(store, maker):
    record = maker.add("a", split=[row("x"), row("y"), row("z", part="test"), row("w", part="")])
    assert read_part_counts(store, record) == {"train": 2, "test": 1, "no part": 1}
    folder = store.artifacts.path(record.steps[0].outputs["split"])
    (folder / "split.csv").chmod(0o644)
    (folder / "split.csv").write_text("nonsense\n")
    assert read_part_counts(store, record) == {"train": 2, "test": 1, "no part": 1}
    store.manifests.discard(folder.name)
    assert "split.csv (row 1): no column" in read_part_counts(store, record).reason


def test_files_are_compared_by_the_lists_that_were_kept(store, maker):
    def data(digest, **files):
        found = [TreeFile(path=path, size=1, sha256=content * 64) for path, content in files.items()]
        store.manifests.save(digest, found)
        return DatasetRecord(name="d", path="/d", digest=digest, files=len(files), size_bytes=1)

    maker.add("a", dataset=data("a" * 64, same="1", gone="2", changed="3"))
    maker.add("b", dataset=data("b" * 64, same="1", new="2", changed="4"))
    files = compared(store).files
    assert (files.added, files.removed, files.changed, files.unchanged) == (("new",), ("gone",), ("changed",), 1)
    maker.add("b", dataset=DatasetRecord(name="d", path="/d", digest="c" * 64, files=1, size_bytes=1))
    assert compared(store).files == Missing("No list of the files that run b read was kept.")


# --- Source files -----------------------------------------------------------------------------------------


def test_source_files_are_compared_by_line_where_they_were_kept(toy, workspace):
    first, second = run("TOY", workspace=workspace), run("TOY", overrides=["training.bias=0.5"], workspace=workspace)
    with Store(workspace) as store:
        assert compare_code(store, first, second) == ()
        kept = store.artifacts.path(Registry(store).version("TOY", 1).code)
        changed = store.work_folder("code") / "content"
        shutil.copytree(kept, changed)
        path = next(changed.rglob("steps.py"))
        path.chmod(0o644)
        path.write_text("# one\n# two\n" + path.read_text().split("\n", 1)[1])
        path.parent.chmod(0o755)
        (path.parent / "more.py").write_text("x = 1\n")
        digest = store.artifacts.add(changed)
        with store.transaction() as db:
            db.execute("UPDATE model_versions SET record = json_set(record, '$.code', ?) WHERE version = 2", (digest,))
        found = {file.path.rpartition("/")[2]: file for file in compare_code(store, first, second)}
        assert (found["steps.py"].added, found["steps.py"].removed) == (2, 1)
        assert (found["more.py"].added, found["more.py"].is_new) == (1, True)
        assert len(found) == 2


def test_source_files_of_a_run_without_a_model_are_not_known(store, maker):
    maker.add("a")
    maker.add("b")
    assert "Run a registered no model" in compared(store).sources.reason


# --- Paired tests -----------------------------------------------------------------------------------------


def judged(store):
    earlier, later = read_facts(store, "a"), read_facts(store, "b")
    return paired_tests(store, earlier, later, compare_runs(earlier, later), use_case=Judge())


def test_metric_is_tested_on_the_same_samples(store, maker):
    maker.add("a", answers([n < 80 for n in range(100)]))
    maker.add("b", answers([n < 90 for n in range(100)]))
    test = judged(store)["acc"]
    assert test.words == "better"
    assert test.difference.value == pytest.approx(0.1)
    assert (round(test.difference.low, 3), round(test.difference.high, 3)) == (0.055, 0.174)
    assert test.difference.p_value == pytest.approx(0.00195, abs=1e-4)


def test_small_change_is_no_detectable_difference(store, maker):
    maker.add("a", answers([n < 80 for n in range(100)]))
    maker.add("b", answers([n < 82 for n in range(100)]))
    assert judged(store)["acc"].words == "no detectable difference"


def test_metric_that_rests_on_more_than_the_predictions_is_not_tested(store, maker):
    maker.add("a", answers([True] * 20), facts={"size": 10})
    maker.add("b", answers([True] * 20), facts={"size": 20})
    assert judged(store)["size"] == Missing("it cannot be computed again from the predictions alone")


def test_other_test_set_is_not_tested(store, maker):
    maker.add("a", answers([True] * 20))
    maker.add("b", answers([True] * 21))
    assert judged(store)["acc"] == Missing("the test sets differ")


def test_damaged_or_missing_predictions_are_one_line(store, maker):
    maker.add("a", answers([True] * 20))
    later = maker.add("b", answers([False] * 20))
    path = store.artifacts.path(later.steps[0].outputs["predictions"]) / "predictions.jsonl"
    path.parent.chmod(0o755)
    path.chmod(0o644)
    path.write_text(path.read_text()[:-40] + "\n")
    reason = judged(store)["acc"].reason
    assert reason.startswith("run b: ")
    assert "predictions.jsonl" in reason
    assert "\n" not in reason
    assert compare_sides(store, *map(store.runs.load, "ab")).reason.startswith("The predictions of run b cannot be")
    shutil.rmtree(path.parent)
    assert judged(store)["acc"].reason == "run b: the artifact evaluate.predictions is no longer in the workspace"


@pytest.mark.parametrize(
    ("low", "high", "p_value", "metric", "words"),
    [
        (0.1, 0.2, 0.01, ACC, "better"),
        (0.1, 0.2, 0.01, MAE, "worse"),
        (-0.2, -0.1, 0.01, ACC, "worse"),
        (-0.2, -0.1, math.nan, MAE, "better"),
        (0.0, 0.2, 0.01, ACC, "no detectable difference"),
        (0.01, 0.2, 0.06, ACC, "no detectable difference"),  # interval and test must agree
        (math.nan, math.nan, math.nan, ACC, "too few groups to test"),
    ],
)
def test_words_follow_from_interval_p_value_and_direction(low, high, p_value, metric, words):
    value = (low + high) / 2
    found = PairedDifference(
        earlier=0.0, later=value, low=low, high=high, p_value=p_value, method="score", count=9, groups=9, differing=9
    )
    assert PairedTest(metric=metric, difference=found).words == words


# --- Samples that changed sides ---------------------------------------------------------------------------


def test_samples_that_changed_sides_come_with_both_answers_the_largest_change_first(store, maker):
    maker.add("a", answers([True, True, False, False, True]))
    rows = [*answers([True, False], score=0.9), *answers([True], names=["s002"], score=0.6)]
    rows += answers([True, False], names=["s003", "s004"], score=0.99)
    maker.add("b", rows)
    sides = compared(store).sides
    assert [change.sample for change in sides.lost] == ["s004", "s001"]
    assert [change.sample for change in sides.gained] == ["s003", "s002"]
    assert sides.gained[0].amount == pytest.approx(0.99 - 0.1)
    assert (sides.lost[0].earlier.guesses[0].label, sides.lost[0].later.guesses[0].label) == ("cat", "dog")
    assert sides.common == 5


def test_only_samples_with_the_same_label_are_compared(store, maker):
    maker.add("a", answers([True, True, True]))
    maker.add("b", [*answers([False], label="dog"), *answers([True, True], names=["s001", "new"])])
    sides = compared(store).sides
    assert (sides.common, sides.relabelled, sides.only_earlier, sides.only_later) == (1, 1, 1, 1)
    assert (sides.gained, sides.lost) == ((), ())


def test_regression_lists_the_largest_changes_of_the_absolute_error(store, maker):
    def predicted(*values):
        return [Prediction(sample=f"s{n}", group=f"s{n}", label=10.0, scores=(v,)) for n, v in enumerate(values)]

    maker.add("a", predicted(10, 12, 5, 10), classes=(), metrics=(MAE,))
    maker.add("b", predicted(11, 10, 9, 10), classes=(), metrics=(MAE,))
    found = compared(store)
    assert [(change.sample, change.amount) for change in found.sides.gained] == [("s2", 4), ("s1", 2)]
    assert [(change.sample, change.amount) for change in found.sides.lost] == [("s0", -1)]
    assert "Larger error in B (1)" in render_comparison(found)
    assert json.loads(json.dumps(found.to_json()["changed_sides"]))["gained"][0]["earlier"]["prediction"] == 5


def test_runs_without_a_common_sample_or_of_another_kind_are_not_compared(store, maker):
    maker.add("a", answers([True, True]))
    maker.add("b", answers([True, True], names=["x", "y"]))
    assert compared(store).sides == Missing("The two runs have no test sample in common.")
    maker.add("b", [Prediction(sample="s000", group="g", label=1.0, scores=(1.0,))], classes=(), metrics=(MAE,))
    assert compared(store).sides == Missing("One run predicts classes, the other numbers.")


def test_samples_with_several_labels_have_no_sides(store, maker):
    rows = [
        Prediction(sample="s", part=part, group="s", label=label, scores=(0.9, 0.1))
        for part, label in enumerate(("cat", "dog"))
    ]
    maker.add("a", rows)
    maker.add("b", rows)
    assert compared(store).sides == Missing("Samples have several labels: no single answer is right or wrong.")


# --- Text and page ----------------------------------------------------------------------------------------


def call(workspace, *arguments):
    return CliRunner().invoke(cli, ["--workspace", str(workspace), "runs", "compare", *arguments])


def test_text_fits_80_columns_and_says_what_is_not_known(store, maker, workspace):
    maker.add("a", answers([True] * 30), split=[row(f"s{n:03}") for n in range(30)], config="a: " + "x" * 200)
    names = [f"{'n' * 60}-{n}.wav" for n in range(30)]
    split = [row(name) for name in names]
    maker.add("b", answers([True] * 30, names=names), split=split, config="a: " + "y" * 200)
    out = call(workspace, "a", "b").output
    assert "samples: 30 added, 30 removed, 0 changed, 0 unchanged; their content was not" in out
    assert "changed sides: not known: The two runs have no test sample in common." in out
    assert "source files: not known" in out
    assert max(len(line) for line in out.splitlines() if "nnnn" not in line) <= 80


def test_page_of_runs_with_nothing_in_common_is_whole(store, maker):
    maker.add("a", use_case="U")
    maker.add("b", use_case="V", status=RunStatus.FAILED)
    page = render_comparison(compared(store))
    for heading in ("Metrics", "Samples that changed sides", "Configuration", "Data", "Code", "Environment"):
        assert f">{heading}</h2>" in page
    assert "U · V" in page
    assert "has no metrics" in page


def test_page_shows_each_sample_once_with_both_answers_and_folds_the_rest(store, maker):
    count = SHOWN_SIDES + 3
    maker.add("a", answers([False] * count))
    maker.add("b", answers([True] * count))
    page = render_comparison(compared(store, with_previews=True))
    assert page.count("<h3>s000</h3>") == 1
    assert "Wrong in A, right in B (15)" in page
    assert "3 more" in page


@pytest.fixture
def gallery_plugin(monkeypatch):
    """The use case GALLERY is installed."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "gallery"))


@pytest.mark.usefixtures("gallery_plugin")
def test_page_of_real_runs_has_the_sounds_and_pictures(gallery, tmp_path):
    workspace, ids = gallery
    path = tmp_path / "page.html"
    result = call(workspace, ids["first"], ids["accepted"], "--html", str(path))
    assert f"page: {path}" in result.output
    page = path.read_text()
    assert "<audio" in page
    assert "data:audio" in page
    assert "data:image/" in page
    assert "<script>document.title" not in page
    assert "paired test: acc: " in result.output


@pytest.mark.usefixtures("gallery_plugin")
def test_json_is_complete_and_strict(gallery):
    workspace, ids = gallery
    document = json.loads(call(workspace, ids["first"], ids["accepted"], "--json").output)
    assert {"samples", "files", "sources", "tests", "changed_sides", "differences", "metrics"} <= document.keys()
    assert len(document["changed_sides"]["gained"]) == 8
    assert document["tests"]["acc"]["words"] in {"better", "no detectable difference"}


def test_bad_input_is_one_line(gallery, tmp_path):
    workspace, ids = gallery
    unknown = call(workspace, "nope").exception
    assert isinstance(unknown, UsageError)
    place = call(workspace, ids["first"], "--html", str(tmp_path / "none" / "page.html")).exception
    assert isinstance(place, UsageError)
    assert "No such file or directory" in str(place)
    failed = call(workspace, ids["first"], ids["failed"])
    assert failed.exit_code == 0
    assert "B has no metrics: The evaluation did not finish" in failed.output
