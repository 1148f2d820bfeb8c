"""The steps before the training, one after the other: what they write does not depend on the machine."""

import io
import json
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlops_object_detection.data.images import read_image
from mlops_object_detection.data.pages import read_annotations, read_pages
from mlops_object_detection.data.raw import read_raw
from mlops_object_detection.data.synthetic_drawings import generate
from mlops_object_detection.steps import tile as tile_module
from mlops_object_detection.steps.aggregate import aggregate
from mlops_object_detection.steps.split import split
from mlops_object_detection.steps.tile import tile
from PIL import Image

from mlops_core import DATASET, ConfigError, DatasetError, MarkedSample, StepContext, load_use_case, read_split
from mlops_core.datasets.digests import tree_manifest
from mlops_core.predictions.boxes import MarkedBox
from mlops_core.steps.context import StepRequest

STEPS = {"aggregate": aggregate, "split": split, "tile": tile}


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawings")
    generate(folder, seed=1, progress=lambda *_: None)
    return folder


class Chain:
    """Executes steps in order; each reads the outputs of those before it."""

    def __init__(self, dataset, place, *overrides):
        self.outputs = {DATASET: dataset}
        self.place = place
        self.use_case = load_use_case("SYMBOL_DETECTION")
        self.config = self.use_case.load_config(overrides=overrides)
        self.pipeline = self.use_case.pipeline(self.config.model)

    def run(self, *names):
        for name in names or STEPS:
            step = self.pipeline.step(name)
            outputs = {output: self.place / name / output for output in step.outputs}
            for folder in (*outputs.values(), self.place / name / "scratch"):
                folder.mkdir(parents=True)
            sections = self.config.model.model_dump(mode="json")
            request = StepRequest(
                use_case="SYMBOL_DETECTION",
                step=step,
                config={section: sections[section] for section in step.config},
                parameters={},
                seed=5,
                inputs={local: self.outputs[reference] for local, reference in step.inputs.items()},
                outputs=outputs,
                scratch=self.place / name / "scratch",
            )
            STEPS[name](StepContext(request))
            self.outputs |= {f"{name}.{output}": folder for output, folder in outputs.items()}
        return self.outputs


def digests(outputs):
    return {name: tree_manifest(folder).digest for name, folder in outputs.items() if name != DATASET}


def test_outputs_do_not_depend_on_folders_or_on_the_order_of_lines(drawings, tmp_path):
    one = Chain(drawings, tmp_path / "one").run()
    other = tmp_path / "elsewhere" / "copy"
    shutil.copytree(drawings, other)
    path = other / "labels" / "annotations.jsonl"
    path.write_text("\r\n".join(reversed(path.read_text().splitlines())))
    two = Chain(other, tmp_path / "two").run()
    assert digests(one) == digests(two)


def test_every_picture_is_in_exactly_one_part_also_the_empty_one(drawings, tmp_path):
    outputs = Chain(drawings, tmp_path).run("aggregate", "split")
    parts = {name: read_pages(outputs[f"split.{name}"], prefix=None) for name in ("train", "val", "test")}
    names = [page.name for pages in parts.values() for page in pages]
    assert sorted(names) == sorted(f"images/{number}.png" for number in range(20))
    assert sum(not page.boxes for pages in parts.values() for page in pages) == 1
    rows = {row.sample: row for row in read_split(outputs["split.split"])}
    for part, pages in (("train", parts["train"]), ("validation", parts["val"]), ("test", parts["test"])):
        assert {rows[page.name].part for page in pages} == {part}
        assert all(int(rows[page.name].label) == len(page.boxes) for page in pages)


def test_the_parts_are_mltable_folders_with_addresses(drawings, tmp_path):
    prefix = "azureml://datastores/workspaceblobstore/paths/pid"
    chain = Chain(drawings, tmp_path, f"dataset.input_images_string_absolute_path={prefix}")
    outputs = chain.run("aggregate", "split", "tile")
    for name in ("aggregate.annotations", "split.train", "split.val", "split.test"):
        folder = outputs[name]
        table = yaml.safe_load((folder / "MLTable").read_text())
        assert table["paths"] == [{"file": "./annotations.jsonl"}]
        assert table["transformations"] == [
            {"read_json_lines": {"encoding": "utf8", "invalid_lines": "error", "include_path_column": False}},
            {"convert_column_types": [{"columns": "image_url", "column_type": "stream_info"}]},
        ]
        lines = list(read_annotations(folder / "annotations.jsonl"))
        assert all(line.url.startswith(f"{prefix}/images/") for line in lines)
    first = json.loads((outputs["split.train"] / "annotations.jsonl").read_text().splitlines()[0])
    assert set(first) == {"image_url", "image_details", "label"}
    assert set(first["label"][0]) == {"label", "topX", "topY", "bottomX", "bottomY"}


def test_fast_training_uses_the_first_pictures(drawings, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    text = (copy / "labels" / "annotations.jsonl").read_text().splitlines()
    for number in range(20, 23):
        shutil.copy(copy / "images" / "0.png", copy / "images" / f"{number}.png")
        text.append(text[0].replace("images/0.png", f"images/{number}.png"))
    (copy / "labels" / "annotations.jsonl").write_text("\n".join(text))
    outputs = Chain(copy, tmp_path / "run", "dataset.is_fast_training=true").run("aggregate")
    assert len(read_pages(outputs["aggregate.annotations"], prefix=None)) == 20


def test_pages_are_kept_at_the_working_scale_with_their_boxes(drawings, tmp_path):
    outputs = Chain(drawings, tmp_path).run()
    folder = outputs["tile.tiles"]
    facts = json.loads((folder / "plan.json").read_text())
    assert facts["is_line_art"]
    assert facts["channels"] == 1
    plan = facts["plan"]
    entries = json.loads((folder / "pages.json").read_text())
    assert len(entries) == len(list(read_split(outputs["split.split"], "train")))
    pixels = np.load(folder / entries[0]["file"])
    assert max(pixels.shape[:2]) == plan["long_side"]
    label, left, top, right, bottom, is_crowd = entries[0]["boxes"][0]
    height, width = pixels.shape[:2]
    part = pixels[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
    assert part.min() < 100, (label, is_crowd)


@pytest.mark.parametrize("is_coloured", [False, True])
def test_tiling_holds_one_decoded_picture_at_a_time_and_measures_the_tones(
    drawings, tmp_path, monkeypatch, is_coloured
):
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    if is_coloured:
        for path in (copy / "images").iterdir():
            page = np.array(Image.open(path).convert("RGB"))
            page[: len(page) // 4] = (200, 90, 30)
            Image.fromarray(page).save(path)
    decoded, most = [], []

    def counted(path):
        image = read_image(path)
        decoded.append(weakref.ref(image))
        most.append(sum(one() is not None for one in decoded))
        return image

    monkeypatch.setattr(tile_module, "read_image", counted)
    folder = Chain(copy, tmp_path / "run").run()["tile.tiles"]
    facts = json.loads((folder / "plan.json").read_text())
    entries = json.loads((folder / "pages.json").read_text())
    assert facts["channels"] == (3 if is_coloured else 1)
    assert len(decoded) >= len(entries) > 5
    assert max(most) == 1
    pixels = [np.load(folder / entry["file"])[::4, ::4].reshape(-1, facts["channels"]) for entry in entries]
    tones = np.concatenate(pixels).astype(float)
    assert facts["fill"] == np.median(tones, axis=0).astype(int).tolist()
    assert facts["mean"] == tones.mean(axis=0).tolist()
    np.testing.assert_allclose(facts["deviation"], tones.std(axis=0), rtol=1e-12)


def test_only_the_training_part_decides_the_plan(drawings, tmp_path):
    first = digests(Chain(drawings, tmp_path / "a", "split.mandatory_test_filenames=[0.png]").run())
    changed = tmp_path / "changed"
    shutil.copytree(drawings, changed)
    path = changed / "labels" / "annotations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["image_url"] == "images/0.png":
            line["label"] = [line["label"][0] | {"topX": 0.0, "topY": 0.0, "bottomX": 0.9, "bottomY": 0.9}]
    path.write_text("\n".join(map(json.dumps, lines)))
    second = digests(Chain(changed, tmp_path / "b", "split.mandatory_test_filenames=[0.png]").run())
    assert first["tile.tiles"] == second["tile.tiles"]
    assert first["split.test"] != second["split.test"]


@pytest.mark.parametrize(("grid", "tiles"), [("3x2", (3, 2)), ("2x2", (2, 2)), ("1x1", (1, 1))])
def test_a_grid_of_tiles_is_what_a_page_has(drawings, tmp_path, grid, tiles):
    from mlops_object_detection.model.plan import Plan
    from mlops_object_detection.model.tiles import starts

    outputs = Chain(drawings, tmp_path, f"tiling.tile_grid_size={grid}").run()
    plan = Plan.from_json(json.loads((outputs["tile.tiles"] / "plan.json").read_text())["plan"])
    for span, count in zip(plan.size(480, 360), tiles, strict=True):
        assert len(starts(span, tile=plan.tile, overlap=plan.overlap)) <= count
    assert len(starts(plan.size(480, 360)[0], tile=plan.tile, overlap=plan.overlap)) == tiles[0]


def test_a_grid_that_cuts_symbols_is_refused(drawings, tmp_path):
    chain = Chain(drawings, tmp_path, "tiling.tile_grid_size=40x40")
    with pytest.raises(DatasetError, match="40x40"):
        chain.run()


def test_a_label_of_a_missing_picture_fails_before_anything_is_trained(drawings, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    (copy / "images" / "3.png").unlink()
    with pytest.raises(DatasetError, match=r"annotations.jsonl \(line 4\).*images/3.png"):
        Chain(copy, tmp_path / "run").run("aggregate")


def test_the_inspection_counts_and_names(drawings):
    use_case = load_use_case("SYMBOL_DETECTION")
    found = use_case.inspect_dataset(drawings, use_case.load_config().model)
    facts = dict(found.facts)
    assert (facts["layout"], facts["images"], facts["images without objects"]) == ("jsonl", "20", "1")
    assert not found.errors


def test_the_inspection_reports_labels_that_are_not_valid(drawings, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    path = copy / "labels" / "annotations.jsonl"
    path.write_text(path.read_text() + "{\n")
    use_case = load_use_case("SYMBOL_DETECTION")
    found = use_case.inspect_dataset(copy, use_case.load_config().model)
    assert found.errors == 1
    assert "(line 21)" in found.findings[0].message


def test_the_preview_is_cut_out_around_the_errors_and_shows_each_kind(drawings, tmp_path):
    from mlops_object_detection.data.preview import preview_boxes

    large = Image.open(drawings / "images" / "1.png").convert("RGB").resize((4800, 3600))
    large.save(tmp_path / "page.png")
    boxes = (
        MarkedBox(label="a", box=(100, 100, 180, 160), fate="missed"),
        MarkedBox(label="a", box=(200, 100, 280, 160), fate="invented"),
        MarkedBox(label="a", box=(300, 100, 380, 160), fate="confused"),
        MarkedBox(label="a", box=(220, 200, 300, 260), fate="right"),
        MarkedBox(label="a", box=(4000, 3000, 4100, 3100), fate="missed"),
    )
    preview = preview_boxes(tmp_path, MarkedSample(sample="page.png", boxes=boxes))
    assert preview.caption.startswith("361 x 141 of 4800 x 3600 pixels")
    pixels = np.asarray(Image.open(io.BytesIO(preview.data)).convert("RGB"), int)
    for colour in ((210, 30, 30), (40, 60, 220), (200, 120, 0), (120, 170, 120)):
        assert (np.abs(pixels - colour).max(axis=2) < 60).sum() > 30
    assert preview_boxes(tmp_path, MarkedSample(sample="../page.png", boxes=boxes)) is None


def test_the_example_and_the_default_configuration_are_valid():
    example = Path(__file__).parents[1] / "examples" / "tiny_symbol_detection.yaml"
    assert load_use_case("SYMBOL_DETECTION").load_config(example).model.training.model_size == "small"


ENVIRONMENT = Path(__file__).parents[1] / "examples" / "environment_symbol_detection.yaml"
FOLDERS = {"INPUT_IMAGE_DATA_PATH": "data/images", "INPUT_LABEL_DATA_PATH": "data/labels"}


def from_environment(**variables):
    return load_use_case("SYMBOL_DETECTION").load_config(ENVIRONMENT, environ={**FOLDERS, **variables}).model


def test_the_variables_of_an_existing_pipeline_keep_their_names_and_defaults():
    config = from_environment()
    assert config.dataset.folder == "data"
    assert config.dataset.parts == ("images", "labels")
    assert (config.split.use_stratified_split, config.split.stratified_split_n_fold) == (True, 5)
    assert (config.tuning.trials, config.tuning.concurrent, config.tuning.timeout_minutes) == (8, 4, 180)
    changed = from_environment(
        USE_STRATIFIED_SPLIT="No",
        STRATIFIED_SPLIT_N_FOLD="3",
        MANDATORY_TRAIN_FILENAMES="1.png;2.png",
        MANDATORY_VAL_FILENAMES="3.png",
        IS_FAST_TRAINING="y",
        TRAINING_MAX_TRIALS="2",
        TRAINING_VALIDATION_DATA_SIZE="0.3",
        AUTO_MODE="F",
    )
    assert (changed.split.use_stratified_split, changed.split.stratified_split_n_fold) == (False, 3)
    assert changed.split.mandatory_train_filenames == ("1.png", "2.png")
    assert changed.split.mandatory_val_filenames == ("3.png",)
    assert (changed.split.validation_split, changed.dataset.is_fast_training) == (0.3, True)
    assert (changed.tuning.trials, changed.tuning.search_space) == (2, "config_search_space.yml")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TRAIN_DATASET": "azureml:train:3"}, "split.train_dataset: is set without dataset_version_path"),
        ({"VAL_DATASET": "azureml:val:3"}, "split.val_dataset: is set without train_dataset"),
        ({"DATASET_VERSION_PATH": "versions"}, "split.dataset_version_path: is set without train_dataset"),
        (
            {"TRAIN_DATASET": "a:1", "DATASET_VERSION_PATH": "v", "MANDATORY_VAL_FILENAMES": "3.png"},
            "split.mandatory_val_filenames: .*keep the parts of the earlier split",
        ),
        (
            {"TRAIN_DATASET": "a:1", "DATASET_VERSION_PATH": "v", "IS_FAST_TRAINING": "y"},
            "dataset.is_fast_training: .*first 20 images",
        ),
        ({"USE_STRATIFIED_SPLIT": "maybe"}, "USE_STRATIFIED_SPLIT.*boolean"),
        ({"INPUT_LABEL_DATA_PATH": "labels"}, "input_label_data_path.*in no folder together"),
        ({"INPUT_LABEL_DATA_PATH": ""}, "input_label_data_path.*is missing"),
    ],
)
def test_variables_that_mean_nothing_here_are_refused_by_name(variables, words):
    with pytest.raises(ConfigError, match=words):
        from_environment(**variables)


def test_only_the_folders_of_images_and_labels_are_read(drawings, tmp_path):
    for name in ("images", "labels"):
        shutil.copytree(drawings / name, tmp_path / name)
    shutil.copytree(drawings, tmp_path / "other")
    assert len(read_raw(tmp_path, parts=("images", "labels")).pages) == len(read_raw(drawings).pages)
    with pytest.raises(DatasetError, match="has labels already"):
        read_raw(tmp_path)


def test_a_picture_that_ends_early_fails_before_anything_is_trained(drawings, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    path = copy / "images" / "3.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    chain = Chain(copy, tmp_path / "run")
    with pytest.raises(DatasetError, match=r"3\.png cannot be decoded"):
        chain.run("aggregate")
    assert not list((tmp_path / "run" / "aggregate" / "annotations").iterdir())
