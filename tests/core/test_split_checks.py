"""What `execute` checks about splits, on every engine; and what runs and model versions record of them."""

import json
import shutil
import sys
from dataclasses import replace

import pytest

import mlops_core
from mlops_core import (
    DATASET,
    DatasetError,
    MlopsError,
    NearDuplicate,
    PluginError,
    Prediction,
    SplitRow,
    Step,
    StepError,
    StepKind,
    WrittenSplit,
    file_digest,
    hookimpl,
    row_digest,
    write_predictions,
    write_split,
)
from mlops_core.evaluation.coverage import read_left_out
from mlops_core.evaluation.evaluation_file import read_evaluation
from mlops_core.steps.context import StepRequest
from mlops_core.steps.execution import execute
from mlops_core.use_cases.discovery import find_use_case
from mlops_core.use_cases.manager import UseCase, load_use_case
from mlops_core.workspace.model_versions import ModelVersion
from mlops_core.workspace.records import RunRecord
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

COPY = """
import shutil

def copy(context):
    for output in context._request.step.outputs:
        shutil.copytree(context.input(output), context.output(output), dirs_exist_ok=True)
"""
SPLIT = Step(name="split", run="copying:copy", inputs={"split": "x.split", "data": DATASET}, outputs=("split",))
EVALUATE = Step(
    name="evaluate",
    kind=StepKind.EVALUATION,
    run="copying:copy",
    inputs={"predictions": "x.predictions", "split": "split.split"},
    outputs=("predictions",),
)


@pytest.fixture
def executed(tmp_path, toy, monkeypatch, core_may_change):
    """Execute a step that copies what it reads to its outputs."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "copying.py").write_text(COPY)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.setitem(sys.modules, "copying", None)
    del sys.modules["copying"]

    def execute_step(step, *, is_trained=True, parts=None, **inputs):
        folder = tmp_path / f"execution of {step.name}"
        shutil.rmtree(folder, ignore_errors=True)
        outputs = {name: folder / name for name in step.all_outputs}
        for path in (folder / "scratch", *outputs.values()):
            path.mkdir(parents=True)
        metric = load_use_case("TOY").metrics(None)[0]
        request = StepRequest(
            use_case="TOY",
            step=step,
            config={},
            parameters={},
            seed=0,
            inputs=inputs,
            outputs=outputs,
            scratch=folder / "scratch",
            metrics=(metric.to_json(),),
            is_trained=is_trained,
            parts=parts or {},
        )
        execute(request)
        return folder

    return execute_step


def row(sample, part, *, label="long", **fields):
    fields = {"group": sample, "digest": row_digest([sample]), **fields}
    return SplitRow(sample=sample, label=label, part=part, **fields)


SOUND = tuple(row(f"{part}-{label}", part, label=label) for part in ("train", "test") for label in ("long", "short"))


@pytest.fixture
def folders(tmp_path):
    def write(rows=SOUND, names=("test-long", "test-short"), scores=None):
        places = {name: tmp_path / "inputs" / name for name in ("split", "predictions", "data")}
        for place in places.values():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        write_split(places["split"], rows)
        predictions = [
            Prediction(sample=name, group=name, label=name.rpartition("-")[2], scores=(1.0, 0.0)) for name in names
        ]
        write_predictions(places["predictions"], ("long", "short"), predictions)
        return places

    return write


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"group": "test-long"}, r"'train-long' \(train\) and 'test-long' \(test\) are of the same group"),
        (
            {"digest": row_digest(["test-long"])},
            r"'train-long' \(train\) and 'test-long' \(test\) have the same",
        ),
    ],
)
def test_a_step_that_writes_a_split_that_leaks_fails(executed, folders, changed, message):
    places = folders([replace(SOUND[0], **changed), *SOUND[1:]])
    with pytest.raises(DatasetError, match=message):
        executed(SPLIT, split=places["split"], data=places["data"])
    executed(SPLIT, split=places["split"], data=places["data"], is_trained=None)  # the contract kit has its own checks


def test_a_step_that_writes_a_wrong_digest_of_a_file_fails(executed, folders):
    places = folders()
    path = places["data"] / "train-long"
    path.write_text("content")
    with pytest.raises(DatasetError, match="split: 'train-long' has the digest"):
        executed(SPLIT, split=places["split"], data=places["data"])
    write_split(places["split"], [replace(SOUND[0], digest=file_digest(path)), *SOUND[1:]])
    executed(SPLIT, split=places["split"], data=places["data"])


def test_a_step_that_writes_a_damaged_split_fails(executed, folders):
    places = folders()
    (places["split"] / "split.csv").write_text("sample;part\n")
    with pytest.raises(DatasetError, match=r"split\.csv \(row 1\): no column"):
        executed(SPLIT, split=places["split"], data=places["data"])


def test_a_file_of_that_name_in_the_data_set_is_not_a_manifest(executed, folders):
    places = folders()
    (places["data"] / "split.csv").write_text("file;fold\n")
    executed(SPLIT, split=places["split"], data=places["data"])
    step = replace(EVALUATE, inputs={**EVALUATE.inputs, "data": DATASET})
    executed(step, **places)


def test_near_duplicates_of_the_plugin_in_two_parts_are_refused(executed, folders, monkeypatch):
    asked = []

    def near_duplicates(self, split):
        asked.append([row.sample for row in split.rows("test")])
        yield NearDuplicate(first="train-long", second="test-long", reason="hum")

    monkeypatch.setattr(UseCase, "near_duplicates", near_duplicates)
    places = folders()
    with pytest.raises(DatasetError, match=r"'train-long' \(train\) and 'test-long' \(test\) are near .* \(hum\)"):
        executed(SPLIT, split=places["split"], data=places["data"])
    assert asked == [["test-long", "test-short"]]


def test_the_evaluation_records_the_manifests_that_it_read(executed, folders):
    places = folders()
    folder = executed(EVALUATE, predictions=places["predictions"], split=places["split"])
    notes = read_evaluation(folder / "evaluation", load_use_case("TOY").metrics(None)).notes
    digest = file_digest(places["split"] / "split.csv")
    assert json.loads(notes["splits"]) == {"split.split": {"digest": digest, "parts": {"test": 2, "train": 2}}}
    assert len(notes["test_content"]) == 64


def test_the_evaluation_of_a_trained_model_needs_a_manifest(executed, folders):
    places = folders()
    (places["split"] / "split.csv").unlink()
    with pytest.raises(PluginError) as error:
        executed(EVALUATE, predictions=places["predictions"], split=places["split"])
    assert str(error.value) == (
        "step 'evaluate' reads no split manifest (split.csv); expected one in one of its inputs (predictions, split): "
        "write it with mlops_core.write_split in the step that assigns the samples to parts, and let 'evaluate' read "
        "that output"
    )
    executed(EVALUATE, predictions=places["predictions"], split=places["split"], is_trained=False)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("test-long", "test-short", "train-long"), "predicted sample 'train-long' is in the split as train"),
        (("test-long", "test-short", "else-long"), r"predicted sample 'else-long' is not in split\.split"),
        (("test-long", "test-short", "test-long"), "sample 'test-long' is predicted twice"),
    ],
)
def test_predictions_of_other_samples_are_refused(executed, folders, names, message):
    places = folders(names=names)
    with pytest.raises(DatasetError, match=message):
        executed(EVALUATE, predictions=places["predictions"], split=places["split"])


def test_a_class_that_is_a_number_and_missing_in_a_part_is_refused(executed, folders):
    rows = [row(f"{part}-{label}", part, label=label) for part in ("train", "test") for label in ("0", "1")]
    places = folders([*rows, row("test-2", "test", label="2")])
    names = ("test-0", "test-1", "test-2")
    found = [Prediction(sample=n, group=n, label=n[-1], scores=(1.0, 0.0, 0.0)) for n in names]
    write_predictions(places["predictions"], ("0", "1", "2"), found)
    with pytest.raises(DatasetError, match="the train part of the split has no sample of '2'"):
        executed(EVALUATE, predictions=places["predictions"], split=places["split"])


def test_a_test_sample_without_a_prediction_needs_a_reason(executed, folders, caplog):
    rows = (*SOUND, row("silent", "test"))
    places = folders(rows)
    with pytest.raises(DatasetError, match=r"test sample 'silent' of split\.split has no prediction"):
        executed(EVALUATE, predictions=places["predictions"], split=places["split"])
    mlops_core.write_left_out(places["predictions"], {"silent": "nothing to hear"})
    executed(EVALUATE, predictions=places["predictions"], split=places["split"])
    assert "1 test sample was not scored: silent: nothing to hear" in caplog.text


def test_reasons_of_all_shards_are_merged(executed, folders, tmp_path):
    places = folders((*SOUND, row("silent", "test"), row("empty", "test")))
    parts = []
    for name in ("silent", "empty"):
        part = tmp_path / "parts" / name
        shutil.copytree(places["predictions"], part)
        mlops_core.write_left_out(part, {name: "nothing to hear"})
        parts.append(part)
    write_predictions(parts[1], ("long", "short"), [])
    folder = executed(EVALUATE, split=places["split"], predictions=parts[0], parts={"predictions": tuple(parts)})
    assert set(read_left_out(folder / "predictions")) == {"silent", "empty"}


def test_scores_that_are_not_numbers_are_refused_in_one_line(executed, folders):
    places = folders()
    path = places["predictions"] / "predictions.jsonl"
    for text in ('"1.0"', "NaN", "null", "[1.0]"):
        path.write_text(path.read_text().replace("[1.0, 0.0]", f"[{text}, 0.0]", 1))
        with pytest.raises(MlopsError, match=r"predictions\.jsonl \(line 2\) is not a prediction") as error:
            executed(EVALUATE, predictions=places["predictions"], split=places["split"])
        assert isinstance(error.value, StepError)
        assert "\n" not in str(error.value)
        places = folders()


class Finder:
    """A plugin with the hook."""

    def __init__(self, pairs):
        self.pairs = pairs

    @hookimpl
    def mlops_find_near_duplicates(self, split, context):
        assert split.inputs == {}
        return self.pairs


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (("no pair",), "mlops_find_near_duplicates .*returned 'no pair' .*; expected NearDuplicate"),
        (3, "mlops_find_near_duplicates .*returned 3 .*; expected Iterable"),
        ((1 / 0 for _ in range(1)), "hook mlops_find_near_duplicates failed: ZeroDivisionError"),
    ],
)
def test_a_hook_that_breaks_its_contract_is_named(toy, tmp_path, monkeypatch, core_may_change, pairs, message):
    use_case = use_case_with(monkeypatch, pairs)
    with pytest.raises(PluginError, match=message):
        list(use_case.near_duplicates(WrittenSplit(folder=tmp_path, inputs={})))


@pytest.mark.parametrize("pairs", [None, (), (NearDuplicate(first="a", second="b"),)])
def test_the_pairs_of_the_hook_are_returned(toy, tmp_path, monkeypatch, core_may_change, pairs):
    use_case = use_case_with(monkeypatch, pairs)
    assert list(use_case.near_duplicates(WrittenSplit(folder=tmp_path, inputs={}))) == list(pairs or ())


def use_case_with(monkeypatch, pairs):
    monkeypatch.setattr("mlops_core.use_cases.registration.REQUIRED_HOOKS", ())
    finder = Finder(pairs)
    vars(finder)["mlops_find_near_duplicates"] = finder.mlops_find_near_duplicates
    return UseCase(finder, installed=find_use_case("TOY"))


# --- What is recorded -----------------------------------------------------------------------------------------


def test_the_digest_of_the_split_is_in_run_model_version_export_and_report(ran, workspace, tmp_path):
    with Store(workspace) as store:
        model = store.artifacts.path(ran.step("train").outputs["model"])
        digest = file_digest(model / "split.csv")
        version = Registry(store).version("TOY")
        page = (store.runs.folder(ran.run_id) / "report.html").read_text()
    assert ran.splits == {"train.model": digest}
    assert version.splits == {"train.model": digest}
    assert len(version.test_content) == 64
    assert RunRecord.from_json(json.loads(json.dumps(ran.to_json()))) == ran
    assert mlops_core.open_run("latest", workspace=workspace) == ran
    assert digest in page
    assert "60 test, 2 train" in page
    from mlops_core.api import export_model

    export_model("TOY", 1, tmp_path / "export", workspace=workspace)
    assert json.loads((tmp_path / "export" / "mlops-model.json").read_text())["splits"] == {"train.model": digest}


def test_a_run_without_an_evaluation_records_its_splits(ran, workspace):
    part = mlops_core.run("TOY", workspace=workspace, only=("train",))
    assert part.status == "partial"
    assert part.splits == ran.splits


def test_records_from_before_are_read_and_written_unchanged():
    data = RunRecord(
        run_id="r", use_case="X", plugin="p", runner="local", status="accepted", created="", seed=0, parameters={},
        config="", pipeline={},
    ).to_json()  # fmt: skip
    assert "splits" not in data
    assert RunRecord.from_json(data).splits == {}
    record = ModelVersion(use_case="X", version=1, run_id="r", created="", artifact="a").record()
    assert not {"splits", "test_content"} & set(record)
