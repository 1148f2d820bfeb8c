"""An earlier split that is used again: its parts are kept, and what cannot be kept is refused before the training."""

import json
import shutil
from pathlib import Path

import pytest
from mlops_object_detection.data.images import read_image
from mlops_object_detection.data.pages import read_annotations
from mlops_object_detection.data.synthetic_drawings import generate
from mlops_object_detection.steps.aggregate import aggregate
from mlops_object_detection.steps.split import split

from mlops_core import DATASET, DatasetError, StepContext, load_use_case, read_split
from mlops_core.datasets.earlier_splits import join_parts
from mlops_core.steps.context import StepRequest

USE_CASE = "SYMBOL_DETECTION"
STEPS = {"aggregate": aggregate, "split": split}
AGAIN = ("split.train_dataset=train-set", "split.dataset_version_path=dataset_version")


def executed(dataset, place, *overrides, seed=5):
    """Return the outputs of the first two steps."""
    use_case = load_use_case(USE_CASE)
    config = use_case.load_config(overrides=overrides)
    pipeline, sections = use_case.pipeline(config.model), config.model.model_dump(mode="json")
    folders = {DATASET: dataset}
    for name, function in STEPS.items():
        step = pipeline.step(name)
        outputs = {output: place / name / output for output in step.outputs}
        for folder in (*outputs.values(), place / name / "scratch"):
            folder.mkdir(parents=True)
        request = StepRequest(
            use_case=USE_CASE,
            step=step,
            config={section: sections[section] for section in step.config},
            parameters={},
            seed=seed,
            inputs={local: folders[reference] for local, reference in step.inputs.items()},
            outputs=outputs,
            scratch=place / name / "scratch",
        )
        function(StepContext(request))
        folders |= {f"{name}.{output}": folder for output, folder in outputs.items()}
    return folders


def parts_of(outputs):
    return {row.sample: row.part for row in read_split(outputs["split.split"])}


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawings")
    generate(folder, seed=1, progress=lambda *_: None)
    return folder


@pytest.fixture(scope="module")
def first(drawings, tmp_path_factory):
    return executed(drawings, tmp_path_factory.mktemp("first"))


def copied(first, place, *names):
    """Return part -> a copy of its data asset, for a test to change."""
    for name in names:
        shutil.copytree(first[f"split.{name}"], place / "assets" / name)
    return {name: place / "assets" / name for name in names}


def lines_of(folder):
    return (folder / "annotations.jsonl").read_text().splitlines()


def write_lines(folder, lines):
    (folder / "annotations.jsonl").write_text("".join(f"{line}\n" for line in lines))


def again(drawings, assets, place, *overrides, seed=99):
    joined = join_parts(drawings, assets, below=place / "joined")
    return executed(joined, place / "again", *AGAIN, *overrides, seed=seed)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("train", "val")])
def test_each_image_keeps_its_part_whatever_the_seed_and_the_folds(drawings, first, tmp_path, names):
    outputs = again(drawings, copied(first, tmp_path, *names), tmp_path, "split.stratified_split_n_fold=2")
    assert parts_of(outputs) == parts_of(first)
    manifests = [(folders["split.split"] / "split.csv").read_bytes() for folders in (first, outputs)]
    assert manifests[0] == manifests[1]


def test_validation_part_is_drawn_from_the_training_part_where_there_was_none(drawings, first, tmp_path):
    assets = copied(first, tmp_path, "train", "val")
    write_lines(assets["train"], lines_of(assets["train"]) + lines_of(assets["val"]))
    outputs = again(drawings, {"train": assets["train"]}, tmp_path)
    before, now = parts_of(first), parts_of(outputs)
    assert {name for name, part in now.items() if part == "test"} == {
        name for name, part in before.items() if part == "test"
    }
    assert "validation" in now.values()


def test_addresses_of_another_store_name_the_same_images(drawings, first, tmp_path):
    assets = copied(first, tmp_path, "train", "val", "test")
    for folder in assets.values():
        write_lines(folder, [line.replace('"images/', '"azureml://datastores/a/paths/b/') for line in lines_of(folder)])
    assert parts_of(again(drawings, assets, tmp_path)) == parts_of(first)


def test_changed_boxes_are_used_as_they_are_now_and_reported(drawings, first, tmp_path, caplog):
    assets = copied(first, tmp_path, "train", "val", "test")
    data = json.loads(lines_of(assets["test"])[0])
    data["label"] = data["label"][1:]
    write_lines(assets["test"], [json.dumps(data), *lines_of(assets["test"])[1:]])
    outputs = again(drawings, assets, tmp_path)
    assert (
        f"boxes of 1 images are not those of the earlier split, and are used as they are now: {data['image_url']}"
        in (caplog.text)
    )
    boxes = {line.url: len(line.boxes) for line in read_annotations(outputs["split.test"] / "annotations.jsonl")}
    assert boxes[data["image_url"]] == len(data["label"]) + 1


def damaged(kind, assets, drawings):
    train, val = lines_of(assets["train"]), lines_of(assets["val"])
    if kind == "shared image":
        write_lines(assets["val"], [*val, train[0]])
    elif kind == "unknown image":
        write_lines(assets["val"], [val[0].replace("images/", "images/no-")])
    elif kind == "not in a part":
        write_lines(assets["val"], val[1:])
    elif kind == "no file":
        (assets["val"] / "annotations.jsonl").unlink()
    elif kind == "no JSON":
        write_lines(assets["val"], ["{", *val])
    elif kind == "copies":
        images = Path(drawings) / "images"
        names = [json.loads(lines[0])["image_url"].rpartition("/")[2] for lines in (train, val)]
        shutil.copy(images / names[0], images / names[1])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("shared image", r"part 'val', annotations.jsonl \(line \d+\): images/\d+.png is in .*part 'train'.* as well"),
        ("unknown image", r"part 'val', annotations.jsonl \(line 1\): no image 'images/no-\d+.png' in the data set"),
        ("not in a part", r"1 images of the data set are in no part of the earlier split, such as images/\d+.png"),
        ("no file", "part 'val', annotations.jsonl: no such file in its data asset"),
        ("no JSON", r"part 'val', annotations.jsonl \(line 1\): not JSON"),
        ("copies", r"the earlier split has images/\d+.png in the \w+ part and .* both are copies of one image"),
    ],
)
def test_earlier_split_that_does_not_fit_the_data_set_is_refused(drawings, first, tmp_path, kind, words):
    data = tmp_path / "data"
    shutil.copytree(drawings, data)
    assets = copied(first, tmp_path, "train", "val", "test")
    damaged(kind, assets, data)
    with pytest.raises(DatasetError, match=words) as refused:
        again(data, assets, tmp_path)
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "again" / "split" / "split").iterdir())


def test_drawing_whose_sheets_are_in_two_parts_is_refused(drawings, first, tmp_path):
    assets = copied(first, tmp_path, "train", "val", "test")
    with pytest.raises(DatasetError, match=r"and both are of the group '1'; expected them in one part"):
        again(drawings, assets, tmp_path, r"dataset.group_pattern=images/(\d)\d*\.png")


def test_earlier_split_without_images_to_test_is_refused(drawings, first, tmp_path):
    assets = copied(first, tmp_path, "train", "val", "test")
    write_lines(assets["val"], lines_of(assets["val"]) + lines_of(assets.pop("test")))
    with pytest.raises(DatasetError, match="none is left to test; expected images that it does not name, or 'test:"):
        again(drawings, assets, tmp_path)


def test_step_by_hand_on_a_data_set_without_the_parts_is_refused(drawings, tmp_path):
    with pytest.raises(DatasetError, match="split.train_dataset is 'train-set', and .* has no earlier split"):
        executed(drawings, tmp_path, *AGAIN)
    assert read_image(drawings / "images" / "0.png").size == (480, 360)
