"""Which files of a data set are pictures: the content decides, not the suffix alone.

A file with the suffix of an image format counts as a picture, so that a damaged one is reported. Any other file is a
picture if it begins with the signature of an image format. No file is decoded here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_core import DatasetError, is_hidden_or_tool, list_data_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIXES = frozenset(
    {
        *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe"),
        *(".jpeg", ".jpg", ".jxl", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    }
)
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
)
_UNSUPPORTED = (
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"%PDF", "PDF"),
    (b"8BPS", "a Photoshop file"),
    (b"SIMPLE  =", "FITS"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\1\0\0\0", "EMF"),
    (b"\x89HDF", "HDF5"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
)
"""Formats that would need another program to be decoded, or a decoder for files that one trusts."""
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF"}
_START = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """The files of a data set; paths are relative to it, with forward slashes.

    Attributes:
        images: files that are pictures, in alphabetical order.
        others: files that are not.
        broken: links that lead to nothing or to one of their own parent folders.
        skipped: hidden and tool entries, name -> number of files.
    """

    images: tuple[str, ...]
    others: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)

    def below(self, folder: str) -> ImageFiles:
        """Return the images and other files below `folder`, a relative path; empty for the data set itself."""
        prefix = f"{folder}/" if folder else ""
        return ImageFiles(
            images=tuple(path for path in self.images if path.startswith(prefix)),
            others=tuple(path for path in self.others if path.startswith(prefix)),
        )


def list_images(dataset: Path) -> ImageFiles:
    """Return the pictures and the other files of a data set; linked files and folders are followed.

    Raises:
        DatasetError: the folder does not exist, cannot be read, or has a file name that is not UTF-8.
    """
    if not dataset.is_dir():
        raise DatasetError(f"{dataset} is not a folder; expected one with a folder of images per class")
    try:
        listed = list_data_files(dataset)
        images: list[str] = []
        others: list[str] = []
        for path in listed.files:
            _refuse_bytes(path)
            (images if is_image(dataset / path) else others).append(path)
    except OSError as error:
        raise DatasetError(f"{dataset} cannot be read: {error}") from error
    return ImageFiles(images=tuple(images), others=tuple(others), broken=listed.broken, skipped=listed.skipped)


def is_image(path: Path) -> bool:
    """Return whether the suffix or the first bytes of a file are those of an image format."""
    return path.suffix.lower() in SUFFIXES or bool(image_format(path))


def image_format(path: Path) -> str:
    """Return the image format that the first bytes of a file name; empty if they name none.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        start = stream.read(_START)
    for signature, name in _SIGNATURES:
        if start.startswith(signature):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12], "")
    is_netpbm = len(start) > 3 and start[:1] == b"P" and start[1:2] in b"123456" and start[2:3].isspace()
    return "PNM" if is_netpbm and start[3:4] in b"#0123456789 \t\r\n" else ""


def unsupported_format(path: Path) -> str:
    """Return the name of a format that is never decoded, by the first bytes of a file; empty for any other file."""
    with path.open("rb") as stream:
        start = stream.read(_START)
    return next((name for signature, name in _UNSUPPORTED if start.startswith(signature)), "")


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in `folder` by name, linked ones included, without hidden folders and those of tools."""
    return sorted(path for path in folder.iterdir() if not is_hidden_or_tool(path.name) and path.is_dir())


def count_by_suffix(paths: tuple[str, ...]) -> dict[str, int]:
    """Return suffix -> number of files, most frequent first."""
    counts: dict[str, int] = {}
    for path in paths:
        suffix = PurePosixPath(path).suffix.lower() or "no suffix"
        counts[suffix] = counts.get(suffix, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _refuse_bytes(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DatasetError(f"the file name {name!r} is not UTF-8; rename it") from None
