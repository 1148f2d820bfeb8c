"""The content of a file decides whether it is a picture; nothing is dropped without being counted and named."""

import io
import shutil

import numpy as np
import pytest
from mlops_image_classification.data.files import image_format, list_images
from mlops_image_classification.data.inspection import inspect_dataset
from PIL import Image

from mlops_core import load_use_case
from mlops_core.datasets.digests import iter_tree

CONFIG = load_use_case("SCENE").load_config().model
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def texture(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC)


def encoded(kind, seed=0):
    stream = io.BytesIO()
    texture(seed).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    for seed, name in enumerate(
        f"{part}/{label}/{n}.png" for part in ("train", "test") for label in "ab" for n in "12"
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        texture(seed).save(path)
    return folder


def findings(data):
    return {finding.check: finding for finding in inspect_dataset(data, CONFIG).findings}


def facts(data):
    return dict(inspect_dataset(data, CONFIG).facts)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WebP", "PPM", "AVIF"])
@pytest.mark.parametrize("name", ["picture", "picture.txt", "picture.jpe"])
def test_a_picture_of_any_format_is_used_whatever_its_suffix(data, kind, name):
    (data / "train" / "a" / name).write_bytes(encoded(kind, seed=99))
    assert facts(data) == {**facts(data), "pictures": "9", "unreadable pictures": "0"}
    assert image_format(data / "train" / "a" / name) == {"PPM": "PNM"}.get(kind, kind)


@pytest.mark.parametrize("content", [b"", b"label,file\n", b"Placeholder", b"\x00\x01\x02\x03", b"P5", b"%PDF-1.7"])
def test_other_files_are_counted_and_named(data, content):
    (data / "train" / "a" / "notes.txt").write_bytes(content)
    found = findings(data)["other files"]
    assert (found.message, found.samples) == (
        "1 file(s) that are not images are not used: .txt (1)",
        ("train/a/notes.txt",),
    )
    assert facts(data)["pictures"] == "8"


def test_a_format_that_cannot_be_read_is_an_error_that_says_so(data):
    (data / "train" / "a" / "phone.heic").write_bytes(HEIC)
    (sample,) = findings(data)["unreadable"].samples
    assert sample == "train/a/phone.heic is HEIC, which the installed Pillow cannot read; convert it to PNG or JPEG"


def test_linked_files_and_folders_are_used_and_in_the_digest(data, tmp_path):
    shutil.move(data / "train" / "a", tmp_path / "elsewhere")
    (data / "train" / "a").symlink_to(tmp_path / "elsewhere")
    (data / "train" / "b" / "linked").symlink_to(tmp_path / "more")
    (tmp_path / "more").mkdir()
    texture(50).save(tmp_path / "more" / "x.png")
    assert facts(data)["pictures"] == "9"
    assert list_images(data).images == tuple(file.path for file in iter_tree(data))


def test_links_to_nothing_are_errors(data):
    (data / "train" / "a" / "gone.png").symlink_to(data / "nowhere.png")
    (data / "train" / "a" / "up").symlink_to(data)
    found = findings(data)["broken links"]
    assert found.level == "error"
    assert found.samples == ("train/a/gone.png", "train/a/up")


def test_hidden_and_tool_folders_are_counted_in_a_note(data):
    for name in (
        ".ipynb_checkpoints/1-checkpoint.png",
        "@eaDir/1.png",
        ".thumbnails/1.png",
        "__MACOSX/1.png",
        "._1.png",
    ):
        path = data / "train" / "a" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded("PNG"))
    for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX"):
        shutil.copytree(data / "train" / "a" / name, data / "train" / name)
    assert facts(data) == {**facts(data), "pictures": "8", "classes": "2"}
    found = findings(data)["hidden and tool files"]
    assert found.level == "note"
    assert found.message.startswith("8 hidden or tool files skipped: .ipynb_checkpoints (2)")


def test_pictures_outside_of_class_folders_are_counted_and_named(data):
    shutil.copy(data / "train" / "a" / "1.png", data / "train" / "loose.png")
    (data / "seg_pred").mkdir()
    shutil.copy(data / "train" / "a" / "1.png", data / "seg_pred" / "7.png")
    result = findings(data)
    assert result["unlabelled images"].samples == ("train/loose.png",)
    assert result["unlabelled folders"].samples == ("seg_pred/7.png",)


def test_empty_pictures_are_counted_and_named(data):
    (data / "train" / "a" / "empty.png").touch()
    assert facts(data)["empty files"] == facts(data)["unreadable pictures"] == "1"
    assert findings(data)["empty files"].samples == ("train/a/empty.png",)


def test_sizes_and_suffixes_are_tables(data):
    (data / "train" / "a" / "3.jpg").write_bytes(encoded("PNG", seed=70))
    Image.new("RGB", (20, 90)).save(data / "train" / "a" / "4.png")
    tables = {table.title: table.rows for table in inspect_dataset(data, CONFIG).tables}
    assert tables["sizes in pixels"] == (("width", 20, 48, 48), ("height", 40, 40, 90), ("shorter side", 20, 40, 40))
    assert tables["most frequent sizes"] == (("48 x 40", 9), ("20 x 90", 1))
    assert tables["files by suffix"] == ((".png", "PNG", 9), (".jpg", "PNG", 1))
