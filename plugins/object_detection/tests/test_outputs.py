"""Detections written by ``mlops predict`` as COCO and YOLO labels are read again as the same boxes."""

import json

import numpy as np
import pytest
from mlops_object_detection.data.raw import read_raw
from mlops_object_detection.outputs import OBJECTS, write_objects
from PIL import Image

from mlops_core import ConfigError, DatasetError, Detection, OutputRequest, PredictionInput

CLASSES = ("Valve/Gate", "Pump")
ANSWERS = {
    "a.png": ((0.9, 0.5, 0.1), ("Pump", "Valve/Gate", "Pump"), ((10.25, 20, 60.5, 40), (0, 0, 33, 100), (1, 1, 9, 9))),
    "b.jpg": ((0.8,), ("Valve/Gate",), ((5, 7, 119, 159.5),)),
    "c.png": ((), (), ()),
}
SHOWN = {"a.png": (200, 100), "b.jpg": (120, 160), "c.png": (64, 64)}


class Fixed:
    """A predictor with fixed answers; an image that it does not know cannot be decoded."""

    classes = CLASSES

    def predict(self, paths):
        for path in paths:
            if path.name not in ANSWERS:
                raise DatasetError(f"{path} cannot be decoded")
            scores, labels, boxes = ANSWERS[path.name]
            yield Detection(path=str(path), scores=scores, labels=labels, boxes=boxes)


class Collected:
    def __init__(self):
        self.lines, self.documents, self.notes = [], [], []
        self.line, self.document, self.note = self.lines.append, self.documents.append, self.notes.append


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    for name, (width, height) in SHOWN.items():
        picture = Image.new("RGB", (height, width) if name == "b.jpg" else (width, height), "white")
        exif = picture.getexif()
        exif[0x0112] = 6 if name == "b.jpg" else 1  # stored turned, displayed as in SHOWN
        picture.save(tmp_path / "images" / name, exif=exif)
    return tmp_path


def written(images, form, names=tuple(ANSWERS), **options):
    inputs = tuple(PredictionInput(name=f"images/{name}", content=images / "images" / name) for name in names)
    defaults = {option.name: option.default for option in OBJECTS.options}
    emitter = Collected()
    request = OutputRequest(inputs=inputs, format=form, options={**defaults, **options})
    try:
        write_objects(Fixed(), request, emitter)
    except DatasetError as error:
        emitter.notes.append(str(error))
    return emitter


def assert_read_back(folder, layout):
    raw = read_raw(folder)
    assert raw.layout == layout
    assert [page.name for page in raw.pages] == [f"images/{name}" for name in ANSWERS]
    for page in raw.pages:
        scores, labels, boxes = ANSWERS[page.name.removeprefix("images/")]
        kept = [index for index, score in enumerate(scores) if score >= 0.3]
        assert [box.label for box in page.boxes] == [labels[index] for index in kept]
        found = np.array([box.corners for box in page.boxes]).reshape(-1, 4) * ([page.width, page.height] * 2)
        np.testing.assert_allclose(found, np.array([boxes[index] for index in kept]).reshape(-1, 4), atol=1e-4)


def test_coco_labels_are_read_as_the_same_boxes(images):
    (document,) = written(images, "coco").documents
    assert [one["score"] for one in document["annotations"]] == [0.9, 0.5, 0.8]
    assert [one["name"] for one in document["categories"]] == list(CLASSES)
    (images / "found.json").write_text(json.dumps(document))
    assert_read_back(images, "coco")


def test_yolo_labels_are_read_as_the_same_boxes(images):
    lines = written(images, "yolo", labels=str(images / "labels")).lines
    assert lines == [str(images / "labels" / f"{name}.txt") for name in "abc"]
    assert (images / "labels" / "c.txt").read_text() == ""
    assert (images / "labels" / "classes.txt").read_text().splitlines() == list(CLASSES)
    assert_read_back(images, "yolo")


def test_a_label_file_that_exists_is_kept(images):
    (images / "labels").mkdir()
    (images / "labels" / "b.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"b\.txt exists already"):
        written(images, "yolo", labels=str(images / "labels"))
    assert (images / "labels" / "b.txt").read_text() == "mine"


def test_other_names_of_classes_in_the_folder_are_kept(images):
    (images / "labels").mkdir()
    (images / "labels" / "classes.txt").write_text("Pump\nValve/Gate\n")
    with pytest.raises(ConfigError, match=r"classes\.txt exists already"):
        written(images, "yolo", labels=str(images / "labels"))
    assert [path.name for path in (images / "labels").iterdir()] == ["classes.txt"]


@pytest.mark.parametrize(("form", "options"), [("yolo", {}), ("coco", {"labels": "labels"})])
def test_the_folder_belongs_to_yolo(images, form, options):
    with pytest.raises(ConfigError, match="belong together"):
        written(images, form, **options)


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_a_file_that_cannot_be_decoded_is_named_and_the_others_are_written(images, form):
    (images / "images" / "bad.png").write_bytes(b"no picture")
    options = {"labels": str(images / "labels")} if form == "yolo" else {}
    emitter = written(images, form, ("a.png", "bad.png", "c.png"), **options)
    assert len(emitter.notes) == 1
    assert "bad.png" in emitter.notes[0]
    count = len(emitter.lines) if form == "yolo" else len(emitter.documents[0]["images"])
    assert count == 2
