"""The preview of a picture in the report of a run."""

import io
import subprocess
import sys

import numpy as np
import pytest
from mlops_image_classification.data.preview import preview_picture
from PIL import Image

from mlops_core import PREVIEW_LIMIT, DatasetError

RED = (250, 10, 10)


def shown(folder, name):
    preview = preview_picture(folder, name)
    assert preview.media_type == "image/jpeg"
    assert len(preview.data) < PREVIEW_LIMIT
    return preview, Image.open(io.BytesIO(preview.data))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.ppm", "RGB"),
        ("a.png", "RGB"),
        ("a.png", "P"),
        ("a.jpg", "RGB"),
        ("a.jpg", "CMYK"),
        ("a.tif", "CMYK"),
        ("a.webp", "RGB"),
        ("a.gif", "P"),
    ],
)
def test_a_picture_of_any_format_is_shown_small_and_in_its_colours(tmp_path, name, mode):
    Image.new("RGB", (800, 400), RED).convert(mode).save(tmp_path / name)
    preview, small = shown(tmp_path, name)
    assert small.size == (256, 128)
    assert np.abs(np.array(small.getpixel((100, 60))) - RED).max() < 20
    assert preview.caption == "800 x 400 pixels"


def test_sixteen_bits_are_shown_by_their_upper_eight(tmp_path):
    Image.fromarray(np.full((40, 40), 0x8000, np.uint16)).save(tmp_path / "a.png")
    _, small = shown(tmp_path, "a.png")
    assert small.size == (40, 40)
    assert abs(small.getpixel((20, 20))[0] - 128) < 4


def test_a_huge_jpeg_is_shown_and_a_huge_png_is_not(tmp_path):
    huge = Image.new("RGB", (6000, 6000), RED)
    huge.save(tmp_path / "a.jpg")
    huge.save(tmp_path / "a.png")
    _, small = shown(tmp_path, "a.jpg")
    assert small.size == (256, 256)
    assert preview_picture(tmp_path, "a.png") is None


def test_a_missing_file_or_one_outside_the_data_set_has_no_preview(tmp_path):
    (tmp_path / "data").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    assert preview_picture(tmp_path / "data", "../secret.png") is None
    assert preview_picture(tmp_path / "data", str(tmp_path / "secret.png")) is None
    assert preview_picture(tmp_path / "data", "absent.png") is None


def test_a_file_that_is_not_a_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(DatasetError, match="a.png cannot be decoded"):
        preview_picture(tmp_path, "a.png")


def test_the_preview_imports_nothing_heavy():
    code = (
        "import sys, mlops_image_classification.data.preview\n"
        "print({'numpy', 'tensorflow', 'keras'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
