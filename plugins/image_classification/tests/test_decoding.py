"""Every image file is decoded correctly, or the error names it."""

import struct
import zlib

import numpy as np
import pytest
from mlops_image_classification.config import Preprocessing
from mlops_image_classification.data.decoding import pixels_or_reason, read_pixels, with_autocontrast
from mlops_image_classification.data.labelled import Picture, Region
from PIL import Image

from mlops_core import DatasetError

SETTINGS = Preprocessing(image_size=16)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(mode="RGB", side=64):
    """Return a picture of four fields: red, green / blue, white."""
    image = Image.new("RGB", (side, side), RED)
    half = side // 2
    for colour, corner in ((GREEN, (half, 0)), (BLUE, (0, half)), (WHITE, (half, half))):
        image.paste(colour, (*corner, corner[0] + half, corner[1] + half))
    return image.convert(mode)


def check(pixels, tolerance=4):
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    for colour, place in ((RED, (3, 3)), (GREEN, (3, 12)), (BLUE, (12, 3)), (WHITE, (12, 12))):
        assert np.abs(pixels[place].astype(int) - colour).max() <= tolerance, (place, pixels[place])


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("a.png", "RGB", 0),
        ("a.ppm", "RGB", 0),
        ("a.bmp", "RGB", 0),
        ("a.png", "RGBA", 0),
        ("a.png", "P", 0),
        ("a.jpg", "RGB", 4),
        ("a.jpg", "CMYK", 4),
        ("a.tif", "CMYK", 4),
        ("a.webp", "RGB", 40),
    ],
)
def test_colours_survive_every_format_and_mode(tmp_path, name, mode, tolerance):
    options = {"quality": 98, "subsampling": 0} if name.endswith("jpg") else {}
    quarters(mode).save(tmp_path / name, **options)
    check(read_pixels(tmp_path / name, SETTINGS), tolerance)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_are_narrowed_to_their_upper_eight_and_not_clipped(tmp_path, name):
    values = np.repeat(np.repeat(np.array([[0, 16448], [32896, 65535]], np.uint16), 32, 0), 32, 1)
    Image.fromarray(values).save(tmp_path / name)
    pixels = read_pixels(tmp_path / name, SETTINGS)
    assert [int(pixels[place][0]) for place in ((3, 3), (3, 12), (12, 3), (12, 12))] == [0, 64, 128, 255]
    assert (pixels[..., 0] == pixels[..., 2]).all()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_colours_of_sixteen_bits_per_channel_are_narrowed(tmp_path):
    values = (np.asarray(quarters()).astype(">u2") * 257).reshape(64, -1)  # Pillow reads such files and writes none
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    check(read_pixels(tmp_path / "a.png", SETTINGS), 0)


def test_a_dark_picture_of_sixteen_bits_stays_dark(tmp_path):
    Image.fromarray(np.full((32, 32), 200, np.uint16)).save(tmp_path / "dark.png")
    assert read_pixels(tmp_path / "dark.png", SETTINGS).max() <= 1


def test_floating_point_pictures_are_scaled_and_those_with_nan_are_named(tmp_path):
    Image.fromarray(np.full((32, 32), 0.5, np.float32)).save(tmp_path / "a.tif")
    assert read_pixels(tmp_path / "a.tif", SETTINGS)[0, 0, 0] == 127
    Image.fromarray(np.full((32, 32), np.nan, np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(DatasetError, match="nan.tif cannot be decoded: pixels that are not finite"):
        read_pixels(tmp_path / "nan.tif", SETTINGS)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_the_first_frame_of_an_animation_is_used(tmp_path, name):
    quarters().save(tmp_path / name, save_all=True, append_images=[Image.new("RGB", (64, 64), (0, 0, 0))] * 2)
    check(read_pixels(tmp_path / name, SETTINGS), 40)


def test_transparent_pixels_are_white_whatever_colour_they_hide(tmp_path):
    image = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    image.save(tmp_path / "a.png")
    assert (read_pixels(tmp_path / "a.png", SETTINGS) == 255).all()


def test_the_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    quarters().rotate(90).save(tmp_path / "a.jpg", exif=exif, quality=98, subsampling=0)
    check(read_pixels(tmp_path / "a.jpg", SETTINGS))


@pytest.mark.parametrize("name", ["huge.jpg", "huge.png"])
def test_a_picture_of_100_megapixels_is_used(tmp_path, name):
    quarters().resize((10_000, 10_000), Image.Resampling.NEAREST).save(tmp_path / name)
    check(read_pixels(tmp_path / name, SETTINGS), 6)


def test_a_picture_that_is_too_large_or_too_small_is_named_with_its_size(tmp_path):
    Image.new("L", (1, 1)).save(tmp_path / "dot.png")
    with pytest.raises(DatasetError, match="dot.png has 1x1 pixels; preprocessing.min_side is 4"):
        read_pixels(tmp_path / "dot.png", SETTINGS)
    Image.new("L", (2000, 1000)).save(tmp_path / "large.png")
    with pytest.raises(DatasetError, match="large.png has 2000x1000 pixels, 2 megapixels; .*max_megapixels is 1"):
        read_pixels(tmp_path / "large.png", Preprocessing(max_megapixels=1))
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DatasetError, match="bomb.png is too large"):
        read_pixels(tmp_path / "bomb.png", SETTINGS)


@pytest.mark.parametrize(
    "content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"\xff\xd8\xff\xe0broken"]
)
def test_a_file_that_is_not_an_image_is_named(tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(DatasetError, match=r"broken.png (is not a readable image|cannot be decoded)"):
        read_pixels(tmp_path / "broken.png", SETTINGS)


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.gif", "cut.ppm", "cut.tif"])
def test_a_truncated_file_is_named_and_never_decoded_in_part(tmp_path, name):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=name):
        read_pixels(tmp_path / name, SETTINGS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match="absent.png cannot be decoded: .*No such file"):
        read_pixels(tmp_path / "absent.png", SETTINGS)


def test_the_region_is_cut_out_only_if_configured_and_must_be_inside(tmp_path):
    quarters().save(tmp_path / "a.png")
    region = Region(left=32, top=0, right=63, bottom=31)
    assert (read_pixels(tmp_path / "a.png", SETTINGS, region=region) == GREEN).all()
    check(read_pixels(tmp_path / "a.png", SETTINGS.model_copy(update={"use_roi": False}), region=region), 0)
    with pytest.raises(DatasetError, match=r"a.png: its region \(32, 0, 65, 32\) is not inside its 64x64 pixels"):
        read_pixels(tmp_path / "a.png", SETTINGS, region=Region(left=32, top=0, right=64, bottom=31))


def test_large_and_small_jpegs_of_one_picture_look_alike(tmp_path):
    quarters(side=2048).save(tmp_path / "large.jpg", quality=98)
    check(read_pixels(tmp_path / "large.jpg", SETTINGS), 6)


# --- Contrast ---------------------------------------------------------------------------------------------


def shaded(darkest, brightest, tone=(1.0, 1.0, 1.0)):
    grey = np.linspace(darkest, brightest, 40 * 40).reshape(40, 40, 1)
    return Image.fromarray((grey * np.array(tone)).round().astype(np.uint8))


def test_the_contrast_is_stretched_only_if_it_is_configured(tmp_path):
    shaded(20, 60).save(tmp_path / "dark.png")
    settings = Preprocessing(image_size=40)
    unchanged = read_pixels(tmp_path / "dark.png", settings)
    assert (unchanged.min(), unchanged.max()) == (20, 60)
    stretched = read_pixels(tmp_path / "dark.png", settings.model_copy(update={"autocontrast": 2.0}))
    assert (stretched.min(), stretched.max()) == (0, 255)
    assert 0.015 < np.mean(stretched == 0) < 0.06


def test_a_dark_and_a_bright_picture_of_one_thing_become_alike_and_keep_their_colour():
    dark, bright = (np.asarray(shaded(low, high, (1.0, 0.5, 0.25))) for low, high in ((20, 80), (60, 240)))
    one, other = (with_autocontrast(pixels, cutoff=2).astype(int) for pixels in (dark, bright))
    assert np.abs(one - other).max() < 12 < np.abs(dark.astype(int) - bright).max()
    assert (one[..., 0] >= one[..., 1]).all()
    assert (one[..., 1] >= one[..., 2]).all()


@pytest.mark.parametrize("value", [0, 90, 255])
def test_a_picture_of_one_colour_stays_as_it_is(value):
    pixels = np.full((16, 16, 3), value, np.uint8)
    assert (with_autocontrast(pixels, cutoff=2) == pixels).all()


def test_copies_are_found_by_the_pixels_before_the_contrast_is_stretched(tmp_path):
    shaded(20, 60).save(tmp_path / "dark.png")
    picture = Picture(number=0, name="dark.png", label="a", group="a", part="", region=None)
    stretching = Preprocessing(image_size=40, autocontrast=2)
    pixels = pixels_or_reason(picture, tmp_path, stretching)
    assert (pixels.min(), pixels.max()) == (20, 60)


def test_a_picture_that_is_a_pointer_of_git_lfs_is_named_as_one(tmp_path):
    (tmp_path / "a.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(DatasetError, match=r"a\.png is a pointer of Git LFS; get the content with: git lfs pull"):
        read_pixels(tmp_path / "a.png", Preprocessing())
