"""The same pictures and boxes in each raw layout are the same pages; what is wrong in a label file is named."""

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from mlops_object_detection.data.images import check_complete, read_image
from mlops_object_detection.data.raw import read_raw
from numpy.lib import format as npy_format
from PIL import Image

from mlops_core import DatasetError

SIZES = {"a": (200, 100), "b": (120, 160), "c": (64, 64)}
BOXES = {
    "a": [("Valve/Gate", (20, 10, 60, 40)), ("Pump", (100, 50, 150, 90))],
    "b": [("Pump", (12, 16, 48, 64))],
    "c": [],
}
NAMES = {"1": "Valve/Gate", "2": "Pump"}


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    for name, size in SIZES.items():
        Image.new("RGB", size, "white").save(tmp_path / "images" / f"{name}.png")
    return tmp_path


def number_of(label):
    return next(int(number) for number, name in NAMES.items() if name == label)


def write_map(folder):
    (folder / "label_config_map.json").write_text(json.dumps(NAMES))


def line(name, boxes=None, **details):
    width, height = SIZES[name]
    labels = [
        {"label": label, "topX": x0 / width, "topY": y0 / height, "bottomX": x1 / width, "bottomY": y1 / height}
        for label, (x0, y0, x1, y1) in (BOXES[name] if boxes is None else boxes)
    ]
    details = {"format": "png", "width": width, "height": height} | details
    return {"image_url": f"{name}.png", "image_details": details, "label": labels}


def write_jsonl(folder, lines=None, *, ending="\r\n"):
    lines = [line(name) for name in SIZES] if lines is None else lines
    (folder / "labels").mkdir(exist_ok=True)
    text = "".join((one if isinstance(one, str) else json.dumps(one)) + ending for one in lines)
    (folder / "labels" / "annotations.jsonl").write_text(text, newline="")


def write_yolo(folder):
    write_map(folder)
    (folder / "labels").mkdir()
    for name, boxes in BOXES.items():
        width, height = SIZES[name]
        rows = [
            f"{number_of(label) - 1} {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height} "
            f"{(x1 - x0) / width} {(y1 - y0) / height}"
            for label, (x0, y0, x1, y1) in boxes
        ]
        if rows:
            (folder / "labels" / f"{name}.txt").write_text("\n".join(rows))


def voc(name, boxes=None, size=None):
    width, height = size or SIZES[name]
    objects = "".join(
        f"<object><name>{label}</name><part><name>x</name></part><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for label, (x0, y0, x1, y1) in (BOXES[name] if boxes is None else boxes)
    )
    return (
        f"<annotation><filename>{name}.png</filename><size><width>{width}</width><height>{height}</height></size>"
        f"{objects}</annotation>"
    )


def write_voc(folder):
    for name in SIZES:
        (folder / "images" / f"{name}.xml").write_text(voc(name))


def coco(*, crowd=0):
    images = [
        {"id": number, "file_name": f"{name}.png", "width": SIZES[name][0], "height": SIZES[name][1]}
        for number, name in enumerate(SIZES)
    ]
    annotations = [
        {
            "id": f"{name}-{label}",
            "image_id": number,
            "category_id": number_of(label),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        | {"iscrowd": crowd}
        for number, name in enumerate(SIZES)
        for label, (x0, y0, x1, y1) in BOXES[name]
    ]
    categories = [{"id": int(number), "name": name} for number, name in NAMES.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(folder):
    (folder / "instances.json").write_text(json.dumps(coco()))


def write_npy(folder):
    write_map(folder)
    (folder / "labels").mkdir()
    for name, boxes in BOXES.items():
        rows = np.empty((len(boxes), 3), object)
        for index, (label, box) in enumerate(boxes):
            rows[index] = [f"symbol_{index}", list(box), str(number_of(label))]
        np.save(folder / "labels" / f"{name}_symbols.npy", rows, allow_pickle=True)


WRITERS = {"jsonl": write_jsonl, "yolo": write_yolo, "voc": write_voc, "coco": write_coco, "npy": write_npy}


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_same_pages(images, layout):
    WRITERS[layout](images)
    raw = read_raw(images)
    assert raw.layout == layout
    assert [page.name for page in raw.pages] == ["images/a.png", "images/b.png", "images/c.png"]
    for page in raw.pages:
        expected = BOXES[page.name[7]]
        assert [box.label for box in page.boxes] == [label for label, _ in expected]
        sides = np.array([page.width, page.height] * 2)
        found = [np.array(box.corners) * sides for box in page.boxes]
        for one, (_, box) in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, box, atol=1e-6)


def refused(folder, *words, **options):
    with pytest.raises(DatasetError) as error:
        read_raw(folder, **options)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


def test_a_bad_label_line_is_an_error_with_file_and_line(images):
    write_jsonl(images, [line("a"), "{not json", line("c")])
    refused(images, "labels/annotations.jsonl (line 2)", "not JSON")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": {"label": "x"}}, ("label is dict", "list")),
        ({"image_details": {"width": "200px", "height": 100}}, ("'200px'", "number of pixels")),
        ({"image_details": {"width": 200, "height": 99}}, ("200 x 100", "200 x 99")),
        ({"image_url": "lost.png"}, ("lost.png", "no image")),
        ({"image_url": "../../etc/passwd"}, ("no image",)),
        ({"label": [{"label": "x", "topX": 0.1, "topY": 0.1, "bottomX": "0.2", "bottomY": 0.2}]}, ("bottomX", "'0.2'")),
        ({"label": [{"label": "x", "topX": 0.3, "topY": 0.1, "bottomX": 0.2, "bottomY": 0.2}]}, ("no area",)),
        ({"label": [{"label": "x", "topX": 20, "topY": 10, "bottomX": 60, "bottomY": 40}]}, ("outside",)),
        ({"label": [{"label": "x", "topX": float("nan"), "topY": 0, "bottomX": 1, "bottomY": 1}]}, ("finite",)),
        ({"label": [{"label": "x", "topX": 0.1, "topY": 0.1, "bottomX": [0.2], "bottomY": 0.2}]}, ("bottomX", "[0.2]")),
        ({"label": [{"label": "x", "topX": 0.1, "topY": 0.1, "bottomX": 0.1, "bottomY": 0.2}]}, ("no area",)),
        ({"label": [["x", 0.1, 0.1, 0.2, 0.2]]}, ("no 'label'",)),
        ({"image_details": [200, 100]}, ("image_details", "not an object")),
        ({"label": [{"label": " ", "topX": 0, "topY": 0, "bottomX": 1, "bottomY": 1}]}, ("empty",)),
    ],
)
def test_a_line_that_is_not_valid_is_named(images, change, words):
    write_jsonl(images, [line("b"), line("a") | change])
    refused(images, "annotations.jsonl (line 2)", *words)


def test_a_picture_with_two_label_lines_is_refused(images):
    write_jsonl(images, [line("a"), line("a")])
    refused(images, "(line 2)", "images/a.png has labels already")


def test_a_picture_that_no_label_names_is_left_out_and_named(images):
    write_jsonl(images, [line("a"), line("b")])
    raw = read_raw(images)
    assert raw.left_out == {"images/c.png": "no label names it"}
    assert any("images/c.png" in note for note in raw.notes)


def test_addresses_of_a_storage_are_resolved_by_base_name(images):
    prefix = "azureml://subscriptions/s/datastores/d/paths/images/"
    write_jsonl(images, [one | {"image_url": prefix + one["image_url"]} for one in map(line, SIZES)])
    assert [page.name for page in read_raw(images).pages] == [f"images/{name}.png" for name in "abc"]


def test_an_ambiguous_name_is_refused(images):
    (images / "other").mkdir()
    Image.new("L", SIZES["a"]).save(images / "other" / "a.png")
    write_jsonl(images, [line("a")])
    refused(images, "may be", "images/a.png", "other/a.png")


def test_the_order_of_files_does_not_matter(images):
    write_jsonl(images, [line(name) for name in reversed(SIZES)])
    assert [page.name for page in read_raw(images).pages] == ["images/a.png", "images/b.png", "images/c.png"]


def test_yolo_images_without_label_file_have_no_objects(images):
    write_yolo(images)
    raw = read_raw(images)
    assert not raw.pages[2].boxes
    assert any("without objects" in note and "images/c.png" in note for note in raw.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("7 0.5 0.5 0.1 0.1", ("class 8", "label_config_map.json")),
        ("0 0.5 0.5 0.1", ("4 columns",)),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", ("polygons",)),
        ("x 0.5 0.5 0.1 0.1", ("whole number",)),
        ("0 0.5 0.5 0 0.1", ("no area",)),
    ],
)
def test_a_yolo_line_that_is_not_valid_is_named(images, text, words):
    write_yolo(images)
    (images / "labels" / "b.txt").write_text("1 0.5 0.5 0.1 0.1\n" + text)
    refused(images, "labels/b.txt", *words)


@pytest.mark.parametrize("lost", ["labels/lost.txt", "images/lost.txt", "labels/train/lost.txt"])
def test_yolo_labels_without_their_image_are_refused(images, lost):
    write_yolo(images)
    (images / lost).parent.mkdir(exist_ok=True)
    (images / lost).write_text("\n1 0.5 0.5 0.1 0.1\n")
    refused(images, lost, "no image", "lost")


@pytest.mark.parametrize("content", ["", "Drawn in 2020.\n", "1 0.5 0.5 0.1 0.1\nand a note\n"])
def test_a_text_that_is_no_label_file_is_left_alone(images, content):
    write_yolo(images)
    (images / "labels" / "notes.txt").write_text(content)
    (images / "elsewhere.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    assert len(read_raw(images).pages) == 3


@pytest.mark.parametrize(
    ("layout", "old", "new"),
    [
        ("voc", "images/a.xml", "images/lost.xml"),
        ("npy", "labels/a_symbols.npy", "labels/lost_symbols.npy"),
        ("yolo", "labels/a.txt", "labels/lost.txt"),
    ],
)
def test_a_renamed_label_file_is_refused_in_every_layout_of_one_file_per_image(images, layout, old, new):
    WRITERS[layout](images)
    content = (images / old).read_bytes()
    (images / old).unlink()
    (images / new).write_bytes(content.replace(b"<filename>a.png", b"<filename>lost.png"))
    refused(images, new, "no image 'images/lost'" if layout == "yolo" else "no image 'lost", layout=layout)


def test_yolo_without_names_is_refused(images):
    write_yolo(images)
    (images / "label_config_map.json").unlink()
    refused(images, "class 1 has no name", "data.yaml")


def test_names_from_data_yaml_count_from_zero(images):
    write_yolo(images)
    (images / "label_config_map.json").unlink()
    (images / "data.yaml").write_text("names:\n  0: Valve/Gate\n  1: Pump\n")
    assert {box.label for page in read_raw(images).pages for box in page.boxes} == set(NAMES.values())


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"1": "Valve", "2": "valve "}, ("'Valve'", "'valve '", "only in case, blanks or")),
        ({"1": "Valve", "2": "Valve"}, ("several numbers",)),
        ({"0": "Valve"}, ("'0'", "from 1")),
        ({"1": 3}, ("name of 1",)),
    ],
)
def test_a_label_map_that_is_not_valid_is_refused(images, names, words):
    write_yolo(images)
    (images / "label_config_map.json").write_text(json.dumps(names))
    refused(images, "label_config_map.json", *words)


def test_a_label_that_the_map_lacks_is_refused_with_a_suggestion(images):
    write_map(images)
    write_jsonl(images, [line("a", boxes=[("Pumpe", (1, 1, 20, 20))])])
    refused(images, "(line 1)", "'Pumpe'", "did you mean 'Pump'")


def test_labels_that_differ_in_case_only_are_refused(images):
    write_jsonl(images, [line("a", boxes=[("pump", (1, 1, 20, 20)), ("Pump", (30, 1, 60, 20))])])
    refused(images, "'Pump'", "'pump'")


def test_voc_boxes_over_the_edge_are_clipped_and_far_ones_refused(images):
    write_voc(images)
    (images / "images" / "a.xml").write_text(voc("a", boxes=[("Pump", (-2, 0, 40, 40))]))
    assert read_raw(images).pages[0].boxes[0].left == 0
    (images / "images" / "a.xml").write_text(voc("a", boxes=[("Pump", (190, 0, 260, 40))]))
    refused(images, "images/a.xml", "outside")


def test_voc_size_zero_means_unknown(images):
    write_voc(images)
    (images / "images" / "a.xml").write_text(voc("a", size=(0, 0)))
    assert read_raw(images).pages[0].width == 200


def test_voc_entities_are_refused(images):
    write_voc(images)
    bomb = '<!DOCTYPE a [<!ENTITY x "y">]>' + voc("a")
    (images / "images" / "a.xml").write_text(bomb)
    refused(images, "entity")


def test_boxes_of_the_stored_picture_follow_its_orientation(images):
    picture = Image.new("RGB", (100, 200), "white")
    exif = picture.getexif()
    exif[0x0112] = 6  # displayed turned by 90 degrees clockwise: 200 wide, 100 high
    picture.save(images / "images" / "a.png", exif=exif)
    write_voc(images)
    (images / "images" / "a.xml").write_text(voc("a", boxes=[("Pump", (0, 0, 50, 20))], size=(100, 200)))
    page = read_raw(images).pages[0]
    assert (page.width, page.height) == (200, 100)
    np.testing.assert_allclose(np.array(page.boxes[0].corners) * [200, 100, 200, 100], (180, 0, 200, 50), atol=1e-6)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_follow_every_orientation_that_turns_a_picture(images, orientation):
    stored = Image.new("L", (100, 200), 255)
    stored.paste(0, (10, 120, 40, 190))
    exif = stored.getexif()
    exif[0x0112] = orientation
    stored.save(images / "images" / "a.png", exif=exif)
    write_voc(images)
    (images / "images" / "a.xml").write_text(voc("a", boxes=[("Pump", (10, 120, 40, 190))], size=(100, 200)))
    page = read_raw(images).pages[0]
    shown = np.array(read_image(images / "images" / "a.png"))
    dark = np.argwhere(shown < 128)
    top, left = dark.min(axis=0)
    bottom, right = dark.max(axis=0) + 1
    found = np.array(page.boxes[0].corners) * [page.width, page.height, page.width, page.height]
    np.testing.assert_allclose(found, (left, top, right, bottom), atol=1e-6)


def save_with_orientation(folder, name, orientation, size):
    picture = Image.new("RGB", size, "white")
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(folder / "images" / f"{name}.png", exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", ["yolo", "npy", "voc", "jsonl"])
def test_an_orientation_that_labels_do_not_settle_is_noted_with_the_file(images, layout, orientation):
    WRITERS[layout](images)
    width, height = SIZES["a"]
    save_with_orientation(images, "a", orientation, (height, width) if orientation >= 5 else (width, height))
    save_with_orientation(images, "c", orientation, SIZES["c"])  # has no boxes
    notes = [note for note in read_raw(images).notes if "EXIF" in note]
    settled = orientation == 1 or (orientation >= 5 and layout in ("voc", "jsonl"))
    assert len(notes) == (0 if settled else 1)
    if notes:
        assert notes[0].startswith("1 images are mirrored or turned")
        assert notes[0].endswith("displayed one: images/a.png")


def test_a_square_picture_that_is_turned_is_noted_although_the_label_has_its_size(images):
    write_voc(images)
    save_with_orientation(images, "c", 6, SIZES["c"])
    (images / "images" / "c.xml").write_text(voc("c", boxes=[("Pump", (1, 1, 20, 30))]))
    assert any("EXIF" in note and note.endswith("images/c.png") for note in read_raw(images).notes)


def test_coco_crowds_are_kept(images):
    (images / "instances.json").write_text(json.dumps(coco(crowd=1)))
    assert all(box.is_crowd for page in read_raw(images).pages for box in page.boxes)


@pytest.mark.parametrize(
    ("section", "entry", "words"),
    [
        ("annotations", {"image_id": 99, "category_id": 1, "bbox": [0, 0, 9, 9]}, ("image_id 99",)),
        ("annotations", {"image_id": 0, "category_id": 9, "bbox": [0, 0, 9, 9]}, ("category_id 9",)),
        ("annotations", {"image_id": 0, "category_id": 1, "bbox": [0, 0, 9]}, ("bbox",)),
        (
            "annotations",
            {"id": "b-Pump", "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]},
            ("id 'b-Pump' is that",),
        ),
        ("images", {"id": 0, "file_name": "b.png"}, ("id 0 appears twice",)),
    ],
)
def test_a_coco_entry_that_is_not_valid_is_named(images, section, entry, words):
    data = coco()
    data[section].append(entry)
    (images / "instances.json").write_text(json.dumps(data))
    refused(images, "instances.json", *words)


class Hostile:
    def __reduce__(self):
        return print, ("this code must not run",)


def test_a_pickle_that_asks_for_code_is_refused(images, capsys):
    write_npy(images)
    rows = np.empty((1, 3), object)
    rows[0] = [Hostile(), [1, 2, 3, 4], "1"]
    np.save(images / "labels" / "a_symbols.npy", rows, allow_pickle=True)
    refused(images, "labels/a_symbols.npy", "print")
    assert "must not run" not in capsys.readouterr().out


def array_file(content, shape):
    stream = io.BytesIO()
    npy_format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def npy_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


DTYPE, ARRAY, SCALAR = b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\nscalar\n"
OUTER = b"cnumpy.core.multiarray\n_reconstruct\n" + ARRAY + b"K\x00\x85C\x01b\x87R"
OBJECT = DTYPE + text("O8") + b"\x89\x88\x87R(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
FORGED = (
    DTYPE
    + text("V8")
    + b"\x89\x88\x87R(K\x03"
    + (text("|") + b"N" + text("f") + b"\x85}" + text("f") + OBJECT + b"K\x00\x86sK\x08K\x01K\x00tb")
)
ADDRESS = b"C\x08" + struct.pack("<Q", 0x4141414141414141)


def hostile(value):
    """An array file with one object, which is built by these opcodes."""
    return array_file(b"\x80\x03" + OUTER + b"(K\x01K\x01\x85" + OBJECT + b"\x89]" + value + b"atb.", (1,))


HOSTILE = {
    "a type with an object field": hostile(SCALAR + FORGED + ADDRESS + b"\x86R"),
    "an object from bytes": hostile(SCALAR + OBJECT + ADDRESS + b"\x86R"),
    "a state with fields": hostile(DTYPE + text("i8") + b"\x89\x88\x87R(K\x03" + text("<") + b"N]}K\x08K\x08K\x00tb"),
    "fewer bytes than numbers": hostile(
        OUTER + b"(K\x01M\xff\x7f\x85" + DTYPE + text("f8") + b"\x89\x88\x87R\x89C\x01xtb"
    ),
    "a text of no characters": hostile(SCALAR + DTYPE + text("U1") + b"\x89\x88\x87RC\x04\xff\xff\xff\xff\x86R"),
    "a table of no characters": npy_bytes(np.full((1, 5), -1, "<i4").view("<U1")),
    "a changed global": hostile(DTYPE + b"N" + b"}" + text("x") + b"K\x01s\x86b"),
    "a subclass": hostile(ARRAY + b"(K\x01t\x81"),
    "a place far in the memo": hostile(b"Nr\xff\xff\xff\x7f"),
    "a list in itself": hostile(b"]q\x01h\x01a"),
    "lists of lists": hostile(b"(" + b"K\x01" * 99 + b"lq\x01".replace(b"l", b"t") + b"0(" + b"h\x01" * 99 + b"t"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_forged_array_is_refused_and_ends_no_process(images, name):
    write_npy(images)
    path = images / "labels" / "a_symbols.npy"
    path.write_bytes(HOSTILE[name])
    program = (
        "import sys; from pathlib import Path; from mlops_core import DatasetError\n"
        "from mlops_object_detection.data.labels import LabelMap\n"
        "from mlops_object_detection.data.layouts import npy\n"
        "try: list(npy.read(Path(sys.argv[1]), ['labels/a_symbols.npy'], LabelMap(names={})))\n"
        "except DatasetError as error: print(error); sys.exit(5)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, images], capture_output=True, text=True, check=False)
    assert done.returncode == 5, (done.returncode, done.stderr)
    assert done.stdout.count("\n") == 1
    assert "labels/a_symbols.npy" in done.stdout


@pytest.mark.parametrize("core", ["core", "_core"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_older_and_newer_numpy_are_read_with_values_of_its_types(images, core, order):
    write_npy(images)
    rows = np.empty((2, 3), object, order=order)
    rows[0] = [np.str_("x"), np.array([20, 10, 60, 40], ">i4"), np.int64(1)]
    rows[1] = ["y", [np.float64(100), np.float32(50), 150, np.int16(90)], np.str_("2")]
    content = pickle.dumps(rows, 3)
    for spelling in (b"numpy.core.", b"numpy._core."):
        content = content.replace(spelling, f"numpy.{core}.".encode())
    stream = io.BytesIO()
    header = {"descr": "|O", "fortran_order": order == "F", "shape": (2, 3)}
    npy_format.write_array_header_1_0(stream, header)
    (images / "labels" / "a_symbols.npy").write_bytes(stream.getvalue() + content)
    page = read_raw(images).pages[0]
    assert [box.label for box in page.boxes] == ["Valve/Gate", "Pump"]
    found = [np.array(box.corners) * [200, 100, 200, 100] for box in page.boxes]
    np.testing.assert_allclose(found, [(20, 10, 60, 40), (100, 50, 150, 90)])


@pytest.mark.parametrize("cut", [0, 7, 40, -9])
def test_a_damaged_array_is_refused(images, cut):
    write_npy(images)
    path = images / "labels" / "a_symbols.npy"
    path.write_bytes(path.read_bytes()[:cut])
    refused(images, "labels/a_symbols.npy")


def test_random_damage_of_an_array_never_runs_code(images):
    write_npy(images)
    path = images / "labels" / "a_symbols.npy"
    content = path.read_bytes()
    draw = np.random.default_rng(1)
    for _ in range(150):
        changed = bytearray(content)
        for place in draw.integers(0, len(content), 3):
            changed[place] = draw.integers(256)
        path.write_bytes(bytes(changed))
        try:
            read_raw(images)
        except DatasetError as error:
            assert "a_symbols.npy" in str(error) or "label" in str(error)  # noqa: PT017


def test_arrays_of_numbers_in_an_npz_are_read(images):
    write_map(images)
    (images / "labels").mkdir()
    for name, boxes in BOXES.items():
        rows = np.array([[*box, number_of(label)] for label, box in boxes], float).reshape(-1, 5)
        np.savez(images / "labels" / f"{name}_symbols.npz", rows)
    assert sum(len(page.boxes) for page in read_raw(images).pages) == 3


def test_an_npz_with_several_arrays_is_refused(images):
    write_npy(images)
    (images / "labels" / "a_symbols.npy").unlink()
    with zipfile.ZipFile(images / "labels" / "a_symbols.npz", "w") as archive:
        archive.writestr("x.npy", pickle.dumps(1))
        archive.writestr("y.npy", pickle.dumps(1))
    refused(images, "holds 2 arrays")


def test_a_data_set_without_labels_or_images_is_refused(images, tmp_path):
    refused(images, "no label file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no image")


def test_a_layout_that_is_not_there_is_refused(images):
    write_jsonl(images)
    refused(images, "'voc'", "jsonl", layout="voc")


def test_a_file_that_is_not_a_picture_is_named(images):
    write_jsonl(images)
    (images / "images" / "b.png").write_bytes(b"not a picture")
    refused(images, "b.png", "cannot be decoded")


def test_a_byte_order_mark_is_not_read_as_text(images):
    write_jsonl(images)
    path = images / "labels" / "annotations.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [len(page.boxes) for page in read_raw(images).pages] == [2, 1, 0]


def test_a_picture_of_two_hundred_megapixels_is_refused_before_it_is_decoded(images):
    write_voc(images)
    (images / "images" / "a.xml").write_text(voc("a", size=(0, 0)))
    path = images / "images" / "a.png"
    content = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", 20_000, 10_000) + content[24:29]
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    refused(images, "a.png", "200000000 pixels")


def test_a_jpeg_in_cmyk_is_read_in_its_colours(tmp_path):
    Image.new("RGB", (40, 30), (200, 30, 30)).convert("CMYK").save(tmp_path / "a.jpg")
    red, green, blue = read_image(tmp_path / "a.jpg").convert("RGB").getpixel((20, 15))
    assert red > 180
    assert max(green, blue) < 60


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_picture_that_ends_early_is_named(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    check_complete(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DatasetError, match=f"{name} cannot be decoded"):
        check_complete(path)


@pytest.mark.parametrize("layout", ["yolo", "voc", "npy", "jsonl"])
def test_equal_names_of_pictures_belong_to_the_labels_in_their_own_folder(images, layout):
    for part in ("train", "test"):
        (images / part / "images").mkdir(parents=True)
        for name in SIZES:
            (images / part / "images" / f"{name}.png").write_bytes((images / "images" / f"{name}.png").read_bytes())
        WRITERS[layout](images / part)
    for name in SIZES:
        (images / "images" / f"{name}.png").unlink()
    pages = {page.name: page for page in read_raw(images).pages}
    assert sorted(pages) == [f"{part}/images/{name}.png" for part in ("test", "train") for name in "abc"]
    assert len(pages["train/images/a.png"].boxes) == 2


@pytest.mark.parametrize(
    ("layout", "file", "old", "new", "words"),
    [
        ("yolo", "labels/b.txt", "1 0.25", "1 1_0.25", ("(line 1)", "four fractions")),
        ("yolo", "labels/b.txt", "1 0.25", "\u0661 0.25", ("(line 1)", "four fractions")),
        ("yolo", "labels/b.txt", " 0.3\n", " 0\n", ("(line 1)", "no area")),
        ("voc", "images/b.xml", "<xmax>48", "<xmax>4_8", ("xmax", "'4_8'")),
        ("voc", "images/b.xml", "<xmax>48", "<xmax>12", ("(line 1)", "no area")),
        ("voc", "images/b.xml", "<height>160</height>", "", ("120 x 160", "12 x ?")),
        (
            "voc",
            "images/b.xml",
            "</bndbox>",
            "</bndbox><bndbox><xmin>1</xmin></bndbox>",
            ("two elements 'bndbox/xmin'",),
        ),
        ("coco", "instances.json", '"iscrowd": 0', '"iscrowd": "0"', ("annotations[0]", "iscrowd")),
        ("coco", "instances.json", '"name": "Pump"', '"name": "Valve/Gate"', ("categories[1]", "several ids")),
        ("coco", "instances.json", '"id": 2, "name"', '"id": 1, "name"', ("categories[1]", "id 1 appears twice")),
        ("coco", "instances.json", "[12, 16, 36, 48]", "[12, 16, 0, 48]", ("annotations[2]", "no area")),
        ("jsonl", "labels/annotations.jsonl", '"topX": 0.1,', '"topX": 1' + "0" * 400 + ",", ("(line 1)", "too large")),
        ("jsonl", "labels/annotations.jsonl", '"label": [', '"label": [], "label": [', ("(line 1)", "appears twice")),
        ("jsonl", "labels/annotations.jsonl", '"Pump"', '"Pu\\nmp"', ("(line 1)", "line break")),
    ],
)
def test_a_value_that_could_be_misread_is_refused_with_its_place(images, layout, file, old, new, words):
    WRITERS[layout](images)
    text = (images / file).read_text()
    text = text + "\n" if layout == "yolo" else text
    assert old in text
    if layout == "voc" and not new:
        text = text.replace("<width>120", "<width>12")
    (images / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    refused(images, file, *words)


def test_a_class_number_with_a_fraction_is_refused(images):
    write_npy(images)
    np.savez(images / "labels" / "b_symbols.npz", np.array([[0, 12, 16, 48, 64, 1.7]]))
    (images / "labels" / "b_symbols.npy").unlink()
    refused(images, "b_symbols.npz (row 1)", "a class")


def test_class_names_of_a_yaml_file_are_texts(images):
    write_yolo(images)
    (images / "label_config_map.json").unlink()
    (images / "data.yaml").write_text("nc: 2\nnames: [on, 2]\n")
    assert {box.label for page in read_raw(images).pages for box in page.boxes} == {"on", "2"}


def test_names_that_differ_in_their_unicode_form_only_are_refused_as_classes_and_found_as_pictures(images):
    (images / "images" / "a.png").rename(images / "images" / "cafe\u0301.png")
    lines = [line("a") | {"image_url": "caf\u00e9.png"}, line("b", [("Caf\u00e9", (12, 16, 48, 64))])]
    write_jsonl(images, lines)
    assert [len(page.boxes) for page in read_raw(images).pages] == [1, 2]
    write_jsonl(images, [*lines, line("c", [("Cafe\u0301", (1, 1, 9, 9))])])
    refused(images, "Unicode form")


@pytest.mark.parametrize(
    "address", ["azureml://datastores/x/paths/my%20page.png", "https://host/my%20page.png?sv=1&sig=a%2Fb"]
)
def test_addresses_are_decoded(images, address):
    (images / "images" / "a.png").rename(images / "images" / "my page.png")
    write_jsonl(images, [line("a") | {"image_url": address}])
    assert [page.name for page in read_raw(images).pages] == ["images/my page.png"]


def test_a_voc_file_with_another_name_belongs_to_the_picture_that_it_names(images):
    write_voc(images)
    (images / "images" / "a.xml").rename(images / "images" / "annotation-1.xml")
    assert len(read_raw(images).pages[0].boxes) == 2
    (images / "images" / "annotation-1.xml").rename(images / "images" / "a.xml")
    (images / "images" / "a.xml").write_text(voc("a").replace("a.png", "b.png"))
    raw = read_raw(images)
    assert len(raw.pages[0].boxes) == 2
    assert any("name another image" in note and "a.xml" in note for note in raw.notes)


def test_coco_polygons_without_boxes_are_read(images):
    data = coco()
    data["annotations"][2] |= {"bbox": [], "segmentation": [[12, 16, 48, 16, 48, 40], [12, 40, 30, 64, 12, 64]]}
    (images / "instances.json").write_text("\ufeff" + json.dumps(data), encoding="utf-8")
    box = read_raw(images).pages[1].boxes[0]
    assert box.corners == pytest.approx((0.1, 0.1, 0.4, 0.4))
    data["annotations"][2] |= {"segmentation": {"counts": [1], "size": [160, 120]}}
    (images / "instances.json").write_text(json.dumps(data))
    refused(images, "annotations[2]", "bbox is []")


@pytest.mark.parametrize(("value", "tone"), [(0.5, 128), (200.0, 200)])
def test_a_picture_of_floating_point_numbers_has_their_tones(tmp_path, value, tone):
    Image.new("F", (8, 8), value).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").getpixel((3, 3)) == tone


@pytest.mark.parametrize("value", [300.0, -1.0, float("nan")])
def test_a_picture_of_numbers_of_another_range_is_refused(tmp_path, value):
    Image.new("F", (8, 8), value).save(tmp_path / "a.tif")
    with pytest.raises(DatasetError, match=r"a\.tif.*expected 0 to 1, or 0 to 255"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<annotation>", '<!DOCTYPE annotation SYSTEM "voc.dtd"><annotation>', ()),
        ("Pump", "Pu&missing;mp", ("undefined entity",)),
        (
            "<annotation>",
            '<!DOCTYPE annotation SYSTEM "voc.dtd"><annotation><a>&missing;</a>',
            ("uses the entity 'missing'",),
        ),
        ("<annotation>", '<?xml version="1.0" encoding="klingon"?><annotation>', ("unknown encoding",)),
        ("</filename>", "</filename><filename>b.png</filename>", ("two elements 'filename'",)),
        ("</size>", "</size><size><width>9</width></size>", ("two elements 'size/width'",)),
    ],
)
def test_voc_document_that_could_be_misread_is_refused(images, old, new, words):
    write_voc(images)
    (images / "images" / "a.xml").write_text(voc("a").replace(old, new))
    if words:
        refused(images, "images/a.xml", *words)
    else:
        assert len(read_raw(images).pages[0].boxes) == 2


@pytest.mark.parametrize(
    ("outer", "element"),
    [("{0}", "Object"), ("<objects>{0}</objects>", "object"), ("<object></object>{0}", "bndbox")],
)
def test_voc_objects_that_are_not_where_they_belong_are_refused_instead_of_lost(images, outer, element):
    write_voc(images)
    inner = "<name>Pump</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    if element != "bndbox":
        inner = f"<{element}>{inner}</{element}>"
    text = f"<annotation><filename>a.png</filename>{outer.format(inner)}</annotation>"
    (images / "images" / "a.xml").write_text(text)
    refused(images, "images/a.xml (line 1)", f"{element}' is not read")


@pytest.mark.parametrize("layout", ["coco", "voc", "npy"])
def test_fractions_where_pixels_belong_are_refused(images, layout):
    boxes = dict(BOXES)
    BOXES["b"] = [("Pump", (0.1, 0.1, 0.4, 0.4))]
    try:
        WRITERS[layout](images)
    finally:
        BOXES.update(boxes)
    refused(images, "(0.1, 0.1, 0.4, 0.4), within one pixel of 120 x 160", "are the coordinates fractions?")


def test_a_repeated_key_of_a_coco_file_is_refused(images):
    text = json.dumps(coco()).replace('"category_id": 2', '"category_id": 2, "category_id": 1', 1)
    (images / "instances.json").write_text(text)
    refused(images, "instances.json", "'category_id' appears twice")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: [Valve/Gate, Pump]\nnames: [Pump, Valve/Gate]\n", ("'names' appears twice",)),
        ("names: {0: Valve/Gate, 0: Pump, 1: Other}\n", ("'0' appears twice",)),
        ("nc: 3\nnames: [Valve/Gate, Pump]\n", ("nc is '3', and names has 2 classes",)),
        ("names: " + "[" * 5000 + "]" * 5000, ("data.yaml",)),
    ],
)
def test_class_names_of_a_yaml_file_that_contradict_each_other_are_refused(images, text, words):
    write_yolo(images)
    (images / "label_config_map.json").unlink()
    (images / "data.yaml").write_text(text)
    refused(images, "data.yaml", *words)


def test_class_names_that_two_files_give_in_another_order_are_refused(images):
    write_yolo(images)
    (images / "label_config_map.json").unlink()
    (images / "classes.txt").write_text("Valve/Gate\nPump\n")
    (images / "data.yaml").write_text("names: [Valve/Gate, Pump]\n")
    assert {box.label for page in read_raw(images).pages for box in page.boxes} == set(NAMES.values())
    (images / "data.yaml").write_text("names: [Pump, Valve/Gate]\n")
    refused(images, "classes.txt and data.yaml name different classes")


def test_a_crowd_that_is_none_is_refused(images):
    entry = line("a")
    entry["label"][0] |= {"isCrowd": 0, "iscrowd": 1}
    write_jsonl(images, [entry])
    refused(images, "box 1: isCrowd is", "iscrowd 1")


def test_an_address_that_is_none_is_a_name_without_its_image(images):
    write_jsonl(images, [line("a") | {"image_url": "https://[a.png"}])
    refused(images, "no image 'https://[a.png' in the data set")


def test_a_coco_size_of_zero_is_named(images):
    data = coco()
    data["images"][1] |= {"width": 0, "height": 0}
    (images / "instances.json").write_text(json.dumps(data))
    refused(images, "b.png has 120 x 160 pixels; the label says 0 x 0")
