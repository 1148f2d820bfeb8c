"""Only the supported image formats are decoded, whatever the name of a file says; no other program is started."""

import contextlib
import os
import struct

import numpy as np
import pytest
from mlops_image_classification.config import Preprocessing
from mlops_image_classification.data.decoding import read_pixels, size_and_format
from mlops_image_classification.data.preview import preview_picture
from PIL import Image

from mlops_core import DatasetError

SETTINGS = Preprocessing(image_size=16)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n0 0 64 64 rectfill\nshowpage\n%%EOF\n"
DOS_POSTSCRIPT = b"\xc5\xd0\xd3\xc6" + struct.pack("<2I", 32, len(POSTSCRIPT)) + bytes(20) + POSTSCRIPT


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A program called ``gs`` comes first on the path; the file is there if it was started."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # Pillow remembers whether it has found the program
    monkeypatch.setitem(os.environ, "PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "started"


@pytest.mark.parametrize("content", [POSTSCRIPT, DOS_POSTSCRIPT])
@pytest.mark.parametrize("name", ["x.eps.png", "x.jpg", "x", "x.tga"])
def test_postscript_is_refused_by_name_and_ghostscript_is_not_started(tmp_path, started, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{name} is PostScript, whatever its name says, which is never decoded"):
        read_pixels(tmp_path / name, SETTINGS)
    with pytest.raises(DatasetError, match=f"{name} cannot be decoded"):
        preview_picture(tmp_path, name)
    assert size_and_format(tmp_path / name) is None
    assert not started.exists()


@pytest.mark.parametrize("kind", ["SGI", "DDS", "BLP", "MSP", "XBM", "SPIDER"])
def test_a_format_that_is_not_supported_is_refused_whatever_its_name(tmp_path, kind):
    mode = {"MSP": "1", "XBM": "1", "BLP": "P", "SPIDER": "F"}.get(kind, "RGB")
    Image.new(mode, (32, 32)).save(tmp_path / "x.bin", kind)
    (tmp_path / "x.bin").rename(tmp_path / "x.png")
    with pytest.raises(DatasetError, match="x.png is not a readable image"):
        read_pixels(tmp_path / "x.png", SETTINGS)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG", "TIFF", "BMP", "WEBP", "ICO", "PCX", "JPEG2000", "PPM"])
def test_a_supported_format_is_decoded_by_its_content(tmp_path, kind):
    Image.new("RGB", (32, 32), (255, 255, 255)).save(tmp_path / "x.bin", kind)
    assert (read_pixels(tmp_path / "x.bin", SETTINGS) > 250).all()


def test_a_format_without_a_signature_is_tried_for_its_suffix_only(tmp_path):
    Image.new("RGB", (32, 32), (255, 255, 255)).save(tmp_path / "x.tga")
    assert (read_pixels(tmp_path / "x.tga", SETTINGS) == 255).all()
    (tmp_path / "x.tga").rename(tmp_path / "x.png")
    with pytest.raises(DatasetError, match="x.png is not a readable image"):
        read_pixels(tmp_path / "x.png", SETTINGS)


def test_a_named_pipe_is_refused_and_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(DatasetError, match="x.png cannot be decoded: it is not a regular file"):
        read_pixels(tmp_path / "x.png", SETTINGS)
    assert size_and_format(tmp_path / "x.png") is None


@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG", "TIFF", "BMP", "WEBP", "ICO", "PCX", "JPEG2000", "PPM", "TGA"])
def test_damaged_bytes_give_a_picture_or_an_error_of_the_data_set(tmp_path, kind):
    noise = np.random.default_rng(0)
    path = tmp_path / "x.tga"
    Image.fromarray(noise.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path, kind)
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for place in noise.integers(0, min(len(whole), 400), 4):
            damaged[place] = noise.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(DatasetError):
            assert read_pixels(path, SETTINGS).shape == (16, 16, 3)
