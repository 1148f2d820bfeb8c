"""Fingerprints of pictures, and which pictures are copies of each other.

A fingerprint holds a digest of the pixels as the network sees them (equal ones are exact copies, whatever their
files), a difference hash of 64 bits (Krawetz, 2013) and a thumbnail. Near copies are pictures whose hashes differ in
few bits and whose thumbnails correlate: scaled, recompressed or brightened copies. The hash alone confuses different
signs on similar backgrounds; the thumbnail alone would have to be compared with every other one. Hash and thumbnail
together still confuse two backlit signs, dark shapes before a bright sky: near copies with different labels must also
agree in detail, which is the centre of the picture with equal contrast everywhere. A few lines of NumPy on decoded
pixels suffice; the package imagehash would add SciPy and PyWavelets.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

_HASH_SIDE = 8
_THUMBNAIL_SIDE = 12
_THUMBNAIL_SIZE = _THUMBNAIL_SIDE * _THUMBNAIL_SIDE * 3
_CHUNK_PAIRS = 4_000_000
_CHUNK_ROWS = 50_000
_DETAIL_SIDE = 16
_DETAIL_MARGIN = 0.2
_DETAIL_WINDOW = 5
_DETAIL_NOISE = 10.0
"""Variance in squared grey levels that is regarded as noise and not amplified."""
MIN_DETAIL = 0.8
"""Minimum correlation in detail, in each quarter of the picture, of near copies with different labels. On photographs
of signs, 9 of 10 copies saved as JPEG of quality 60 reach it, and all that were scaled or brightened."""
_COLUMNS = ("numbers", "digests", "hashes", "thumbnails", "details")
MAX_BITS = _HASH_SIDE - 1
"""Hashes are looked up by 8 parts of 8 bits; two that differ in at most 7 bits share at least one part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """The fingerprints of several pictures.

    Attributes:
        numbers: numbers of the pictures, (n,), int64.
        digests: SHA-256 of the pixels, (n,), 32 bytes each.
        hashes: difference hashes, (n,), uint64.
        thumbnails: 12 x 12 RGB pixels, (n, 432), uint8.
        details: 16 x 16 grey values of the centre, of equal contrast, (n, 256), float16.
    """

    numbers: NDArray[np.int64]
    digests: NDArray[np.bytes_]
    hashes: NDArray[np.uint64]
    thumbnails: Pixels
    details: NDArray[np.float16]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Positions of two pictures, the second of which is a copy of the first.

    Attributes:
        first: position of the first picture.
        second: position of its copy.
        is_exact: whether the pixels are equal.
        similarity: correlation of the thumbnails.
        bits: number of bits in which the hashes differ.
    """

    first: int
    second: int
    is_exact: bool
    similarity: float = 1.0
    bits: int = 0

    @property
    def distance(self) -> str:
        """Return how close the copy is, as text."""
        if self.is_exact:
            return "equal pixels"
        return f"correlation {self.similarity:.3f}, {self.bits} of {_HASH_SIDE**2} bits differ"


def fingerprint(pictures: Sequence[tuple[int, Pixels]]) -> Fingerprints:
    """Return the fingerprints of pictures given as (number, pixels (size, size, 3))."""
    prints = [_one(pixels) for _, pixels in pictures]
    return Fingerprints(
        numbers=np.array([number for number, _ in pictures], np.int64),
        digests=np.array([digest for digest, *_ in prints], "V32"),
        hashes=np.array([value for _, value, *_ in prints], np.uint64),
        thumbnails=np.array([thumbnail for _, _, thumbnail, _ in prints], np.uint8).reshape(-1, _THUMBNAIL_SIZE),
        details=np.array([detail for *_, detail in prints], np.float16).reshape(-1, _DETAIL_SIDE**2),
    )


def _one(pixels: Pixels) -> tuple[bytes, int, Pixels, NDArray[np.float32]]:
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), dtype=np.int16)
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    thumbnail = np.asarray(image.resize((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), Image.Resampling.BOX), dtype=np.uint8)
    digest = hashlib.sha256(pixels.tobytes()).digest()
    return digest, int.from_bytes(bits.tobytes(), "big"), thumbnail.ravel(), _detail(image.convert("L"))


def _detail(grey: Image.Image) -> NDArray[np.float32]:
    """Return the centre of a picture with its local mean removed and its local contrast made equal."""
    left, upper = (round(side * _DETAIL_MARGIN) for side in grey.size)
    centre = grey.crop((left, upper, grey.width - left, grey.height - upper))
    values = np.asarray(centre.resize((_DETAIL_SIDE, _DETAIL_SIDE), Image.Resampling.BOX), np.float32)
    values = values - _local_mean(values)
    return np.asarray(values / np.sqrt(_local_mean(values**2) + _DETAIL_NOISE), np.float32).ravel()


def _local_mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(values, _DETAIL_WINDOW // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_DETAIL_WINDOW, _DETAIL_WINDOW))
    return np.asarray(windows.mean(axis=(2, 3)), np.float32)


def write_fingerprints(path: Path, fingerprints: Fingerprints) -> None:
    """Write fingerprints into one ``.npz`` file."""
    np.savez(path, **{name: getattr(fingerprints, name) for name in _COLUMNS})


def read_fingerprints(folder: Path) -> Fingerprints:
    """Return the fingerprints of all files in `folder`, ordered by number."""
    parts = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as data:
            parts.append(Fingerprints(**{name: data[name] for name in _COLUMNS}))
    return joined(parts)


def joined(parts: Sequence[Fingerprints]) -> Fingerprints:
    """Return all fingerprints of several parts, ordered by number."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    order = np.argsort(columns["numbers"])
    return Fingerprints(**{name: values[order] for name, values in columns.items()})


def find_copies(
    fingerprints: Fingerprints, labels: Sequence[str], *, max_bits: int, min_similarity: float | None
) -> list[Pair]:
    """Return pairs of copies: each exact copy with the first picture of equal pixels, and near copies among the firsts.

    Near copies with different labels are returned only if they agree in detail as well.

    Args:
        fingerprints: of all pictures.
        labels: label of each picture.
        max_bits: number of bits in which the hashes of near copies may differ, at most `MAX_BITS`.
        min_similarity: minimum correlation of their thumbnails, 0 to 1; None to find exact copies only.
    """
    _, firsts, kinds = np.unique(fingerprints.digests, return_index=True, return_inverse=True)
    exact = [
        Pair(first=int(firsts[kind]), second=position, is_exact=True)
        for position, kind in enumerate(kinds)
        if firsts[kind] != position
    ]
    if min_similarity is None:
        return exact
    near = _near_copies(fingerprints, np.sort(firsts), max_bits, min_similarity)
    return exact + [pair for pair in near if labels[pair.first] == labels[pair.second] or _agree(fingerprints, pair)]


def _agree(fingerprints: Fingerprints, pair: Pair) -> bool:
    """Return whether two pictures agree in the detail of each quarter."""
    half = _DETAIL_SIDE // 2
    quarters = (
        fingerprints.details[position].astype(np.float32).reshape(2, half, 2, half).swapaxes(1, 2).reshape(4, -1)
        for position in (pair.first, pair.second)
    )
    first, second = (values - values.mean(axis=1, keepdims=True) for values in quarters)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return bool(((first * second).sum(axis=1) >= MIN_DETAIL * np.maximum(lengths, 1e-6)).all())


def _near_copies(
    fingerprints: Fingerprints, chosen: NDArray[np.intp], max_bits: int, min_similarity: float
) -> Iterator[Pair]:
    seen: set[tuple[int, int]] = set()
    for first, second in _candidates(fingerprints.hashes[chosen], max_bits):
        for start in range(0, len(first), _CHUNK_ROWS):  # bounds the memory
            left, right = (chosen[positions[start : start + _CHUNK_ROWS]] for positions in (first, second))
            vectors = (_normalised(fingerprints.thumbnails[rows]) for rows in (left, right))
            similarity = np.einsum("ij,ij->i", *vectors)
            for position in np.flatnonzero(similarity >= min_similarity):
                pair = (int(left[position]), int(right[position]))
                if pair not in seen:
                    seen.add(pair)
                    bits = int(np.bitwise_count(fingerprints.hashes[pair[0]] ^ fingerprints.hashes[pair[1]]))
                    score = float(similarity[position])
                    yield Pair(first=pair[0], second=pair[1], is_exact=False, similarity=score, bits=bits)


def _normalised(thumbnails: Pixels) -> NDArray[np.float32]:
    """Return thumbnails with mean 0 and norm 1; a uniform thumbnail becomes 0 and correlates with nothing."""
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(lengths > _THUMBNAIL_SIDE, values / np.maximum(lengths, 1e-6), 0).astype(np.float32)


def _candidates(hashes: NDArray[np.uint64], max_bits: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield positions (first, second), first < second, of hashes that differ in at most `max_bits` bits.

    A pair may be yielded more than once. Only hashes that share one of the eight parts are compared: on average one
    pair in 64.
    """
    for keys in _parts(hashes):
        order = np.argsort(keys, kind="stable")
        bounds = np.flatnonzero(np.diff(keys[order])) + 1
        for bucket in np.split(order, bounds):
            rows = max(1, _CHUNK_PAIRS // max(1, len(bucket)))
            for start in range(0, len(bucket), rows):
                left, right = bucket[start : start + rows], bucket[start:]
                distances = np.bitwise_count(hashes[left][:, None] ^ hashes[right][None, :])
                first, second = np.nonzero(distances <= max_bits)
                keep = first < second
                yield left[first[keep]], right[second[keep]]


def _parts(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    """Yield eight keys of 8 bits; each has one bit per row and column of the hash, as neighbours are often equal."""
    for part in range(_HASH_SIDE):
        key = np.zeros_like(hashes)
        for row in range(_HASH_SIDE):
            bit = np.uint64(row * _HASH_SIDE + (row + part) % _HASH_SIDE)
            key |= ((hashes >> bit) & np.uint64(1)) << np.uint64(row)
        yield key
