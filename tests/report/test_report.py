"""The text of run reports: for every run status, and for records that are damaged or malicious."""

import html.parser
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import mlops_core
from mlops_core import MetricCurves
from mlops_core.cli import cli
from mlops_core.errors import StoreError, UsageError
from mlops_core.evaluation.confusion import ConfusionMatrix
from mlops_core.evaluation.evaluation_file import write_evaluation
from mlops_core.evaluation.metrics import (
    Direction,
    GroupBreakdown,
    GroupMetrics,
    Metric,
    MetricReport,
    MetricValue,
    Unit,
)
from mlops_core.gates.verdicts import ClauseVerdict, Verdict
from mlops_core.predictions import Prediction, write_predictions
from mlops_core.report import write_report
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.records import DatasetRecord, RunRecord, RunStatus, StepRecord, StepStatus
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

GALLERY = Path(__file__).parent / "gallery"
HOSTILE = '</script></style><script>alert(1)</script><img src=x onerror=alert(2)> "\' onload="alert(3) \x00'
METRIC = Metric(name="acc", section="s", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
STEPS = ({"name": "train", "kind": "training"}, {"name": "evaluate", "kind": "evaluation"})


class Page(html.parser.HTMLParser):
    """Elements, ids and text of a page, and whether every element is closed in order."""

    VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta"})

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.text = []
        self._open = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not self._open or self._open[-1] not in {"script", "style"}:
            self.text.append(data)

    def words(self):
        return " ".join(" ".join(self.text).split())


def read(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def store(workspace):
    with Store(workspace) as opened:
        yield opened


def record(**changes):
    fields = {
        "run_id": "20260101-000000-abcdef",
        "use_case": "NOWHERE",
        "plugin": "mlops-nowhere 1.0",
        "runner": "local",
        "status": RunStatus.ACCEPTED,
        "created": "2026-01-01T00:00:00.000+00:00",
        "seed": 0,
        "parameters": {},
        "config": "",
        "pipeline": {"metrics": [METRIC.to_json()], "steps": list(STEPS), "model": "train.model"},
    }
    return RunRecord(**{**fields, **changes})


def artifact(store, write):
    folder = store.work_folder("test") / "content"
    folder.mkdir()
    write(folder)
    return store.artifacts.add(folder)


def evaluated(store, rows=(), *, classes=("a", "b"), report=None):
    """Return the record of an evaluation step with these predictions and this report."""
    outputs = {"predictions": artifact(store, lambda folder: write_predictions(folder, classes, rows))}
    if report:
        outputs["evaluation"] = artifact(store, lambda folder: write_evaluation(folder, report, [METRIC]))
    return StepRecord(name="evaluate", status=StepStatus.DONE, outputs=outputs, started="2026-01-01T00:00:05+00:00")


def written(store, made):
    store.runs.save(made)
    return read(write_report(store, made.run_id))


def test_report_of_an_accepted_run_shows_each_clause_and_metric(gallery, page_of):
    words = read(page_of("accepted")).words()
    workspace, ids = gallery
    assert f"Run {ids['accepted']} ✓ accepted" in words
    assert "The model passed the gate and is registered as version 2." in words
    assert "2 of 2 gate clauses passed." in words
    assert "acc >= q_acc value 0.9 threshold 0.5 0.9 meets it" in words
    assert "Generated data. The data set gallery is synthetic" in words
    assert "Approve the model: mlops models approve 2 --usecase GALLERY --why REASON" in words
    evaluation = json.loads((workspace / "runs" / ids["accepted"] / "evaluation.json").read_text())
    interval = evaluation["classification_metrics"]["acc"]["confidence_interval"]
    assert f"{interval['low']:.4g} to {interval['high']:.4g} 95%, wilson by group, 80 samples in 20 groups" in words
    assert "8 of 80 samples are misclassified." in words


def test_report_of_a_rejected_run_shows_the_failed_clause_and_the_changes(gallery, page_of):
    page = read(page_of("rejected"))
    words = page.words()
    _, ids = gallery
    assert "Execution failed due to <acc> < 0.95" in words
    assert "✕ failed acc >= q_acc value 0.8 threshold 0.95 0.8 does not meet it" in words
    assert "q_acc parameters 0.5 0.95" in words
    assert "training.skill configuration 0.9 0.8" in words
    assert "-0.1 worse intervals overlap" in words
    assert f"../{ids['accepted']}/report.html" in [attributes.get("href") for _, attributes in page.elements]
    assert f"Reused from run {ids['first']}" in words


def test_report_of_a_failed_run_shows_the_error_and_the_last_log_lines(gallery, page_of):
    words = read(page_of("failed")).words()
    assert "✕ failed" in words
    assert "Not available. The gate was not evaluated (run status: failed)." in words
    assert "ValueError: no <b>model</b> today" in words
    assert "Last log lines of train" in words
    assert "Traceback (most recent call last)" in words
    assert f"Resume the run: mlops run --resume {gallery[1]['failed']}" in words
    assert "Not available. The evaluation did not finish (status of step 'evaluate': skipped)." in words


def test_parallel_steps_are_counted_and_their_bars_overlap(page_of):
    page = read(page_of("first"))
    assert "up to 2 in parallel" in page.words()
    bars = [attributes for tag, attributes in page.elements if tag == "rect" and "bar" in attributes["class"].split()]
    places = [(float(bar["x"].rstrip("%")), float(bar["width"].rstrip("%"))) for bar in bars]
    assert len(places) == 4
    (left, width), (right, _), *_ = places
    assert right < left + width


def test_killed_run_is_reported_as_stopped(store):
    words = written(store, record(status=RunStatus.RUNNING, steps=(StepRecord(name="train"),))).words()
    assert "! stopped" in words
    assert "The run was stopped before it finished" in words
    assert "Not available. The gate was not evaluated (run status: stopped)." in words


@pytest.mark.parametrize("status", list(RunStatus))
def test_empty_record_has_a_report_in_every_status(store, status):
    words = written(store, record(status=status, pipeline={})).words()
    assert words.count("Not available.") >= 8


def test_record_of_another_version_has_a_report(store):
    pipeline = {"metrics": [{"name": "x"}], "steps": [1, {"kind": "training"}], "parameters": [3], "model": None}
    assert "Not available." in written(store, record(pipeline=pipeline, parameters={"q": 1})).words()


def test_no_text_of_a_record_becomes_markup(store):
    rows = [
        Prediction(sample=HOSTILE, group=HOSTILE, label=HOSTILE, scores=(0.1, 0.9)),
    ]
    classes = (HOSTILE, "other")
    matrix = ConfusionMatrix(classes=classes, counts=((0, 1), (0, 0)))
    value = MetricValue(value=0.5, low=0.4, high=0.6, method="wilson")
    report = MetricReport(values={"acc": value}, confusion_matrices={HOSTILE: matrix}, notes={HOSTILE: HOSTILE})
    clause = ClauseVerdict(clause=HOSTILE, metric="acc", value=0.5, threshold=0.9, passed=False, reason=HOSTILE)
    metric = replace(METRIC, title=HOSTILE, description=HOSTILE)
    made = record(
        plugin=HOSTILE,
        runner=HOSTILE,
        status=RunStatus.REJECTED,
        parameters={HOSTILE: HOSTILE},
        config=HOSTILE,
        pipeline={"metrics": [metric.to_json()], "steps": list(STEPS)},
        dataset=DatasetRecord(name=HOSTILE, path=HOSTILE, digest=HOSTILE, files=1, size_bytes=1, is_generated=True),
        steps=(
            StepRecord(name="train", status=StepStatus.FAILED, error=HOSTILE, because=HOSTILE, warning=HOSTILE),
            replace(evaluated(store, rows, classes=classes, report=report), key_components={HOSTILE: HOSTILE}),
        ),
        verdict=Verdict(accepted=False, clauses=(clause,), message=HOSTILE),
        environment={HOSTILE: HOSTILE},
        error=HOSTILE,
    )
    page = written(store, made)
    tags = {tag for tag, _ in written(store, record(steps=made.steps[1:], verdict=made.verdict)).elements}
    assert {tag for tag, _ in page.elements} - tags <= {"details", "summary", "pre"}
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.words().count("<script>alert(1)</script>") > 15


def test_report_refers_only_to_the_workspace_and_blocks_requests(page_of):
    text = page_of("accepted").read_text()
    page = Page(text)
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert attributes.get("src", "data:").startswith("data:")
        assert re.match(r"#|\.\./[\w-]+/report\.html$|logs/[\w-]+\.log$", attributes.get("href", "#")), attributes
        assert "style" not in attributes
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_damaged_evaluation_and_predictions_are_reported_in_place(store):
    def spoil(folder):
        (folder / "predictions.jsonl").write_text("nonsense\n")

    step = StepRecord(
        name="evaluate",
        status=StepStatus.DONE,
        outputs={
            "predictions": artifact(store, spoil),
            "evaluation": artifact(store, lambda folder: (folder / "evaluation.json").write_text("[1, 2]")),
        },
    )
    words = written(store, record(steps=(step,))).words()
    assert "holds list, not an object" in words
    assert "(line 1): expected a header" in words


@pytest.mark.parametrize(
    "evaluation",
    [
        {"confusion_matrices": {"x": {"classes": ["a", "b"], "counts": [[1], [2, 3]]}}},
        {"confusion_matrices": {"x": {"classes": ["a", "b"], "counts": [["1", None], [2, 3]]}}},
        {"confusion_matrices": {"x": {"classes": 3, "counts": 4}}},
        {"confusion_matrices": [], "notes": [], "s": {"acc": {"value": "high"}}},
        {"s": {"acc": {"value": 1e999, "confidence_interval": {"low": None, "high": "x", "level": 0.95}}}},
        {"s": {"acc": {"value": -4, "confidence_interval": {"low": 9, "high": 2, "method": "wilson"}}}},
    ],
)
def test_edited_evaluation_has_a_report(store, evaluation):
    made = record()
    store.runs.save(made)
    (store.runs.folder(made.run_id) / "evaluation.json").write_text(json.dumps(evaluation))
    assert read(write_report(store, made.run_id)).words()


def test_missing_metric_is_marked(store):
    clause = ClauseVerdict(
        clause="acc >= 0.5", metric="acc", value=None, threshold=0.5, passed=False, reason="acc is NaN"
    )
    value = MetricValue(value=float("nan"), low=float("nan"), high=float("nan"))
    made = record(
        status=RunStatus.REJECTED,
        verdict=Verdict(accepted=False, clauses=(clause,), message="no"),
        steps=(evaluated(store, report=MetricReport(values={"acc": value})),),
    )
    words = written(store, made).words()
    assert "value - threshold 0.5 acc is NaN" in words
    assert "NaN ✕ is NaN" in words


def test_missing_plugin_or_data_set_leaves_a_report_without_previews(store, tmp_path):
    rows = [Prediction(sample="one.wav", group="g", label="a", scores=(0.2, 0.8))]
    step = evaluated(store, rows)
    data = DatasetRecord(name="d", path=str(tmp_path / "gone"), digest="0" * 64, files=1, size_bytes=1)
    words = written(store, record(steps=(step,), dataset=data)).words()
    assert "No preview: the data set is no longer at the path that the run read." in words
    assert "✕ wrong a predicted as b" in words
    words = written(store, record(steps=(step,), dataset=replace(data, path=str(tmp_path)))).words()
    assert "No preview: no use case 'NOWHERE'" in words


def test_report_contains_previews_of_each_kind_and_the_error_of_a_failed_one(page_of):
    page = read(page_of("accepted"))
    sources = [attributes["src"].partition(",")[0] for tag, attributes in page.elements if "src" in attributes]
    assert set(sources) == {"data:audio/wav;base64", "data:image/png;base64"}
    words = page.words()
    assert "</pre><script>document.title = 'owned'</script>" in words
    assert "hook mlops_get_sample_preview failed: OSError: no <such> file" in words
    assert "No preview for this sample." in words
    assert "<u>a tone</u>" in words


def test_unreadable_history_is_named_and_the_others_are_drawn(store):
    good = artifact(store, lambda folder: (folder / "history.csv").write_text("epoch,loss\n1,3\n2,\n3,1\n"))
    bad = artifact(store, lambda folder: (folder / "history.csv").write_text("epoch,loss\n1,<b>low</b>\n"))
    step = StepRecord(name="train", status=StepStatus.DONE, outputs={"model": good, "other": bad})
    page = written(store, record(steps=(step,)))
    assert sum(attributes.get("class") == "curve training" for _, attributes in page.elements) == 1
    assert "(line 2): '<b>low</b>' is not a number" in page.words()


def test_report_of_a_large_run_is_small(store):
    size, rows = 100, 20_000
    names = tuple(f"class {number}" for number in range(size))
    wrong = set(range(0, rows, 7))

    def predictions():
        for at in range(rows):
            truth = at % size
            scores = [0.001] * 3
            scores[(truth + (at in wrong)) % 3] = 0.998
            yield Prediction(sample=f"s{at:06d}", group="g", label=("x", "y", "z")[truth % 3], scores=tuple(scores))

    counts = tuple(tuple((row * column) % 13 for column in range(size)) for row in range(size))
    matrices = {f"by {name}": ConfusionMatrix(classes=names, counts=counts) for name in ("sample", "part")}
    value = MetricValue(value=0.5, low=0.4, high=0.6, method="wilson", count=rows)
    report = MetricReport(values={"acc": value}, confusion_matrices=matrices)
    step = evaluated(store, predictions(), classes=("x", "y", "z"), report=report)
    steps = tuple(
        StepRecord(
            name=f"step-{number}",
            status=StepStatus.DONE,
            key="0" * 64,
            key_components={f"code module_{at}": "0" * 64 for at in range(30)},
            started=f"2026-01-01T00:{number // 60 % 60:02d}:{number % 60:02d}+00:00",
            duration_s=2,
        )
        for number in range(1000)
    )
    made = record(steps=(*steps, step), config="key: value\n" * 100_000)
    store.runs.save(made)
    path = write_report(store, made.run_id)
    assert path.stat().st_size < 5_000_000
    assert "2858 of 20000 samples are misclassified" in read(path).words()


def test_matrix_that_is_too_large_is_replaced_by_its_confusions(store):
    names = tuple(f"c{number}" for number in range(400))
    counts = tuple(tuple(9 if (row, column) == (3, 7) else 0 for column in range(400)) for row in range(400))
    matrix = ConfusionMatrix(classes=names, counts=counts)
    step = evaluated(store, report=MetricReport(values={}, confusion_matrices={"sample": matrix}))
    words = written(store, record(steps=(step,))).words()
    assert "A matrix of 400 classes is too large to draw" in words
    assert "c3 predicted as c7 9 of 9" in words


def test_previous_accepted_run_is_an_earlier_one_of_the_same_use_case(store):
    for number, (use_case, status) in enumerate(
        [
            ("NOWHERE", RunStatus.ACCEPTED),
            ("NOWHERE", RunStatus.ACCEPTED),
            ("ELSEWHERE", RunStatus.ACCEPTED),
            ("NOWHERE", RunStatus.REJECTED),
            ("NOWHERE", RunStatus.FAILED),
            ("NOWHERE", RunStatus.ACCEPTED),
        ]
    ):
        store.runs.save(record(run_id=f"2026010{number}-000000-aaaaaa", use_case=use_case, status=status))
    words = read(write_report(store, "20260104-000000-aaaaaa")).words()
    assert (
        "Compared with run 20260101-000000-aaaaaa of 2026-01-01, the previous accepted run (no report yet: mlops"
        in words
    )
    words = read(write_report(store, "20260100-000000-aaaaaa")).words()
    assert "This workspace has no earlier accepted run of NOWHERE." in words


def test_key_figures_are_the_metrics_of_the_gate_in_its_order(store):
    names = ("loss", "recall_of_a", "recall_of_b", "acc")
    metrics = [replace(METRIC, name=name).to_json() for name in names]
    clauses = tuple(
        ClauseVerdict(clause=f"{name} >= 0.5", metric=name, value=0.7, threshold=0.5, passed=True, reason="")
        for name in ("acc", "loss", "acc")
    )
    made = record(verdict=Verdict(accepted=True, clauses=clauses), pipeline={"metrics": metrics, "steps": list(STEPS)})
    store.runs.save(made)
    values = {name: {"value": 0.7} for name in names}
    (store.runs.folder(made.run_id) / "evaluation.json").write_text(json.dumps({"s": values}))
    text = write_report(store, made.run_id).read_text()
    assert re.findall('class="tile-name">([^<]*)<', text) == ["acc", "loss", "Duration"]


@pytest.mark.parametrize(
    ("status", "shown"), [(None, "pending approval"), ("Approved", "approved"), ("Rejected", "rejected")]
)
def test_report_shows_the_approval_of_the_model_as_it_is_now_with_the_time(ran, workspace, status, shown):
    with Store(workspace) as store:
        if status:
            registry = Registry(store)
            registry.set_status(registry.version("TOY"), ApprovalStatus(status), why="x", moves_aliases=True)
        words = read(write_report(store, ran.run_id)).words()
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.search(f"Version 1 {shown} on {moment}", words)
    assert re.search(f"Version 1 on {moment}: . {status or 'PendingManualApproval'}", words)
    assert ("Approve the model:" in words) is (status is None)


def test_report_of_a_model_that_the_registry_has_lost_says_so(store):
    words = written(store, record(model_version=3)).words()
    assert re.search("Version 3 was not in the registry on", words)
    assert "Approve the model:" not in words


def test_reason_without_any_preview_is_given_once(store, tmp_path):
    rows = [Prediction(sample=f"{at}.wav", group=f"g{at}", label="ab"[at % 2], scores=(0.2, 0.8)) for at in range(4)]
    data = DatasetRecord(name="d", path=str(tmp_path / "gone"), digest="0" * 64, files=1, size_bytes=1)
    words = written(store, record(steps=(evaluated(store, rows),), dataset=data)).words()
    assert words.count("the data set is no longer at the path that the run read") == 1


def test_report_shows_the_number_of_groups_and_the_metrics_of_the_worst_groups_first(store):
    value = MetricValue(value=0.5, low=0.2, high=0.8, method="wilson by group", count=500, groups=12)
    by_group = {f"speaker {at:02d}": GroupMetrics(samples=at, values={"acc": at / 20}) for at in range(1, 13)}
    groups = GroupBreakdown(count=12, samples=500, metrics=by_group)
    step = evaluated(store, report=MetricReport(values={"acc": value}, groups=groups))
    words = written(store, record(steps=(step,))).words()
    assert "0.2 to 0.8 95%, wilson by group, 500 samples in 12 groups" in words
    assert "The test set has 500 samples in 12 groups." in words
    assert "speaker 01 1 0.05 speaker 02 2 0.1 " in words
    assert words.index("speaker 08 8 0.4") < words.index("4 more groups") < words.index("speaker 12 12 0.6")


@pytest.mark.parametrize(
    ("groups", "basis"), [(None, "800 samples"), (GroupBreakdown(count=800, samples=900), "800 groups")]
)
def test_samples_of_which_each_is_its_own_group_are_called_samples(store, groups, basis):
    value = MetricValue(value=0.5, low=0.4, high=0.6, method="bootstrap", count=800, groups=800)
    step = evaluated(store, report=MetricReport(values={"acc": value}, groups=groups))
    assert f"0.4 to 0.6 95%, bootstrap, {basis} " in written(store, record(steps=(step,))).words()


def test_report_draws_curves_and_says_where_groups_are_too_few(store):
    value = MetricValue(value=0.5, low=0.4, high=0.6, method="bootstrap", count=2, groups=2)
    lines = {"all <b>": ((0.0, 1.0), (0.5, 0.75), (1.0, 0.0)), "valves": ((0.0, 0.5), (1.0, 0.25))}
    curves = MetricCurves(title="precision and recall", x_label="recall", y_label="precision", lines=lines)
    step = evaluated(store, report=MetricReport(values={"acc": value}, curves=(curves,)))
    made = record(steps=(step,))
    page = written(store, made)
    text = (store.home / "runs" / made.run_id / "report.html").read_text()
    assert text.count('class="curve tone-') == 2
    assert "precision by recall all <b> valves" in page.words()
    assert "2 groups: too few for an interval" in page.words()


@pytest.mark.parametrize("groups", [2, 40])
def test_command_line_says_where_groups_are_too_few(store, groups):
    made = record()
    store.runs.save(made)
    value = MetricValue(value=0.5, low=0.4, high=0.6, method="bootstrap", count=groups, groups=groups)
    write_evaluation(store.home / "runs" / made.run_id, MetricReport(values={"acc": value}), [METRIC])
    shown = CliRunner().invoke(cli, ["--workspace", str(store.home), "runs", "show", made.run_id])
    assert shown.exit_code == 0, shown.output
    assert ("warning: acc: 2 groups: too few for an interval" in shown.output) is (groups == 2)


@pytest.mark.parametrize(
    ("test_sets", "is_compared"), [(("one", "one"), True), (("one", "two"), False), (("", "one"), False)]
)
def test_values_of_different_test_sets_are_neither_judged_nor_drawn_together(store, test_sets, is_compared):
    for number, (test_set, score) in enumerate(zip(test_sets, (0.9, 0.7), strict=True)):
        value = MetricValue(value=score, low=score - 0.2, high=score + 0.2, method="wilson", count=10)
        notes = {"test_set": test_set} if test_set else {}
        step = evaluated(store, report=MetricReport(values={"acc": value}, notes=notes))
        store.runs.save(record(run_id=f"2026010{number}-000000-aaaaaa", steps=(step,)))
    page = read(write_report(store, "20260101"))
    words = page.words()
    marks = [attributes for _, attributes in page.elements if attributes.get("class") in ("previous", "mark previous")]
    assert bool(marks) is is_compared
    assert ("-0.2 worse intervals overlap" in words) is is_compared
    assert ("worse" in words or "overlap" in words) is is_compared
    if test_sets[0] and not is_compared:
        assert "The runs were evaluated on different test sets: their metrics are not comparable." in words
    if not test_sets[0]:
        assert "Not comparable: acc: it is not known on which test set they were evaluated." in words


@pytest.mark.parametrize(
    "damage",
    [
        {"plugin": None},
        {"parameters": [1]},
        {"duration_s": "long"},
        {"steps": [{"name": "train", "status": "done", "outputs": {"model": 7}}]},
        {"steps": [{"name": "train", "status": "done", "started": 4, "duration_s": None}]},
        {"dataset": {"name": "d", "path": 3, "digest": 1, "files": None, "size_bytes": "x"}},
    ],
)
def test_edited_record_is_named_and_does_not_affect_other_reports(store, damage):
    damaged, later = record(), record(run_id="20260102-000000-abcdef")
    for made in (damaged, later):
        store.runs.save(made)
    path = store.runs.folder(damaged.run_id) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(StoreError, match=f"report of run {damaged.run_id}: its record in .* has an unexpected format"):
        write_report(store, damaged.run_id)
    assert read(write_report(store, later.run_id)).words()


def test_long_list_of_differences_is_folded_after_the_first_rows(store):
    for number, value in enumerate(("old", "new")):
        config = "".join(f"key_{at:02d}: {value}\n" for at in range(40))
        store.runs.save(record(run_id=f"2026010{number}-000000-aaaaaa", config=config))
    page = read(write_report(store, "20260101"))
    words = page.words()
    assert words.index("key_11 configuration old new") < words.index("28 more differences")
    assert words.index("28 more differences") < words.index("key_39 configuration old new")


def test_unknown_run_and_unwritable_report_are_errors(store):
    with pytest.raises(UsageError, match="no run 'nope'"):
        write_report(store, "nope")
    made = record()
    store.runs.save(made)
    (store.runs.folder(made.run_id) / "report.html").mkdir()
    with pytest.raises(StoreError, match="cannot write the report .*report.html"):
        write_report(store, made.run_id)


def test_removed_artifact_is_named(store):
    step = evaluated(store, [Prediction(sample="s", group="g", label="a", scores=(1.0, 0.0))])
    trained = StepRecord(name="train", status=StepStatus.DONE, outputs={"model": "0" * 64})
    made = record(steps=(trained, replace(step, outputs={"predictions": "1" * 64, "evaluation": "2" * 64})))
    words = written(store, made).words()
    assert "The artifact train.model is no longer in the workspace." in words
    assert "The artifact evaluate.predictions is no longer in the workspace." in words
    assert "The artifact evaluate.evaluation is no longer in the workspace." in words


def test_report_says_that_a_training_step_wrote_no_history(ran, workspace):
    with Store(workspace) as store:
        words = read(write_report(store, ran.run_id)).words()
    assert "Not available. Step 'train' wrote no history.csv." in words
    assert Path(workspace, "runs", ran.run_id, "report.html").is_file()


# --- A report is never replaced by a poorer one -------------------------------------------------------------


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A workspace with a run of GALLERY, whose data is in a folder of the user's own, and the text of its report."""
    monkeypatch.syspath_prepend(str(GALLERY))
    monkeypatch.setenv("PYTHONPATH", str(GALLERY))
    workspace, data = tmp_path / "workspace", tmp_path / "data"
    made = mlops_core.run("GALLERY", workspace=workspace)
    shutil.copytree(made.dataset.path, data)
    made = mlops_core.run("GALLERY", workspace=workspace, overrides=[f"dataset.path={data}"])
    return workspace, made.run_id, data, (workspace / "runs" / made.run_id / "report.html").read_bytes()


def rewritten(workspace, run_id):
    """Write the report again; return the written page and the notes."""
    notes = []
    with Store(workspace) as store:
        return write_report(store, run_id, note=notes.append), notes


def previews_of(path):
    classes = [attributes.get("class") for tag, attributes in read(path).elements if tag == "figure"]
    return classes.count("preview")


def move_data(data, monkeypatch):
    data.rename(data.with_name("elsewhere"))


def remove_plugin(data, monkeypatch):
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry != str(GALLERY)])


def claim_twice(data, monkeypatch):
    copy = data.parent / "second" / "second-0.1.0.dist-info"
    copy.mkdir(parents=True)
    (copy / "METADATA").write_text("Metadata-Version: 2.1\nName: second\nVersion: 0.1.0\n")
    (copy / "entry_points.txt").write_text("[mlops.usecases]\nGALLERY = second.plugin\n")
    monkeypatch.syspath_prepend(str(copy.parent))


def change_data(data, monkeypatch):
    for path in data.iterdir():
        path.write_bytes(path.read_bytes() + b"changed")


@pytest.mark.parametrize("harm", [move_data, remove_plugin, claim_twice, change_data])
def test_report_is_not_replaced_by_one_that_shows_less(shown, harm, monkeypatch):
    workspace, run_id, data, before = shown
    report = workspace / "runs" / run_id / "report.html"
    count = previews_of(report)
    assert count > 3
    harm(data, monkeypatch)
    path, notes = rewritten(workspace, run_id)
    assert report.read_bytes() == before
    assert path == report.with_name("report-incomplete.html")
    assert previews_of(path) == 0
    assert f"previews: 0 instead of {count} (No preview: " in notes[0]
    assert f"{report} is kept" in notes[0]
    words = read(path).words()
    assert "Incomplete report. An earlier report of this run, report.html in the same folder, shows more: " in words


def test_report_that_shows_as_much_replaces_the_earlier_one(shown):
    workspace, run_id, _, _ = shown
    path, notes = rewritten(workspace, run_id)
    assert (path.name, notes) == ("report.html", [])
    assert [found.name for found in path.parent.glob("*.html")] == ["report.html"]


def test_report_without_a_removed_artifact_or_log_is_written_beside(store):
    rows = [Prediction(sample="s", group="g", label="a", scores=(1.0, 0.0))]
    value = MetricValue(value=0.5, low=0.4, high=0.6, method="wilson", count=9)
    step = evaluated(store, rows, report=MetricReport(values={"acc": value}))
    failed = StepRecord(name="export", status=StepStatus.FAILED, error="no")
    made = record(status=RunStatus.FAILED, steps=(step, failed))
    written(store, made)
    log = store.runs.folder(made.run_id) / "logs" / "export.log"
    log.write_text("one\ntwo\n")
    assert write_report(store, made.run_id).name == "report.html"
    for digest in step.outputs.values():
        store.artifacts.path(digest).rename(store.home / digest)
    log.unlink()
    notes = []
    assert write_report(store, made.run_id, note=notes.append).name == "report-incomplete.html"
    for lost in ("metrics: 0 instead of 1", "worst predictions: 0 instead of 1", "failed steps: 0 instead of 2"):
        assert lost in notes[0]


def test_report_without_the_metrics_of_the_previous_run_is_written_beside(store):
    value = MetricValue(value=0.5, low=0.4, high=0.6, method="wilson", count=9)
    older = evaluated(store, report=MetricReport(values={"acc": value}))
    newer = evaluated(store, report=MetricReport(values={"acc": replace(value, value=0.55)}))
    store.runs.save(record(steps=(older,), run_id="20260101-000000-000000"))
    made = record(steps=(newer,))
    written(store, made)
    digest = older.outputs["evaluation"]
    store.artifacts.path(digest).rename(store.home / digest)
    notes = []
    assert write_report(store, made.run_id, note=notes.append).name == "report-incomplete.html"
    assert "metrics of the previous accepted run: 0 instead of 1 (The artifact " in notes[0]


def test_report_of_an_earlier_state_is_kept_under_another_name(store):
    rows = [Prediction(sample="s", group="g", label="a", scores=(1.0, 0.0))]
    step = evaluated(store, rows)
    written(store, record(status=RunStatus.FAILED, steps=(step,)))
    before = (store.runs.folder(record().run_id) / "report.html").read_bytes()
    store.runs.save(record(steps=(replace(step, outputs={"predictions": "1" * 64}),)))
    path = write_report(store, record().run_id)
    assert path.name == "report.html"
    assert (path.with_name("report-earlier.html")).read_bytes() == before
    path.write_text("a page of another version")
    assert write_report(store, record().run_id) == path
    assert (path.with_name("report-earlier-2.html")).read_text() == "a page of another version"
