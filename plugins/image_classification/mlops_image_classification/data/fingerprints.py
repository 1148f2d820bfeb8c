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
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

_HASH_SIDE = 8
_THUMBNAIL_SIDE = 12
_THUMBNAIL_SIZE = _THUMBNAIL_SIDE * _THUMBNAIL_SIDE * 3
_CHUNK_PAIRS = 1_000_000
_CHUNK_ROWS = 4_000
_DENSE = 50
"""From one pair in so many on, a block is compared as a whole, which is one product of matrices."""
_LISTED = 64
"""Of so many linked pictures at most, every pair is returned."""
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

    def select(self, numbers: Iterable[int]) -> Fingerprints:
        """Return the fingerprints of the pictures with these numbers, in their present order."""
        is_chosen = np.isin(self.numbers, np.fromiter(numbers, np.int64))
        return Fingerprints(**{name: getattr(self, name)[is_chosen] for name in _COLUMNS})


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

    Near copies with different labels are returned only if they agree in detail as well. Of pictures that are linked,
    directly or through others, all pairs are returned up to 64 pictures; of more, as many pairs as link them, and for
    each that has a near copy with another label one such pair, so that the number of pairs grows with the number of
    pictures and not with its square.

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
    comparison = _Comparison(fingerprints, labels, max_bits=max_bits, min_similarity=min_similarity)
    return exact + [comparison.pair(*found) for found in _near_copies(comparison, np.sort(firsts))]


class _Comparison:
    """Whether pictures are near copies, in blocks of pictures."""

    def __init__(
        self, fingerprints: Fingerprints, labels: Sequence[str], *, max_bits: int, min_similarity: float
    ) -> None:
        self._prints = fingerprints
        self.labels = np.unique(np.array(labels, object).astype(str), return_inverse=True)[1]
        self.max_bits = max_bits
        self._min_similarity = min_similarity

    @property
    def hashes(self) -> NDArray[np.uint64]:
        return self._prints.hashes

    def are_near(self, left: NDArray[np.intp], right: NDArray[np.intp], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which of the `chosen` pairs are near copies: (left, right), both positions of pictures."""
        near = np.zeros_like(chosen)
        rows, columns = np.nonzero(chosen)
        if len(rows) * _DENSE < chosen.size:
            for start in range(0, len(rows), _CHUNK_ROWS):  # bounds the memory
                part = slice(start, start + _CHUNK_ROWS)
                near[rows[part], columns[part]] = self._are_near_pairs(left[rows[part]], right[columns[part]])
            return near
        similarity = _normalised(self._prints.thumbnails[left]) @ _normalised(self._prints.thumbnails[right]).T
        near = chosen & (similarity >= self._min_similarity)
        rows, columns = np.nonzero(near & (self.labels[left][:, None] != self.labels[right][None, :]))
        for start in range(0, len(rows), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            near[rows[part], columns[part]] = self._agree(left[rows[part]], right[columns[part]])
        return near

    def _are_near_pairs(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> NDArray[np.bool_]:
        vectors = (_normalised(self._prints.thumbnails[rows]) for rows in (left, right))
        near = np.asarray(np.einsum("ij,ij->i", *vectors) >= self._min_similarity)
        unsure = np.flatnonzero(near & (self.labels[left] != self.labels[right]))
        near[unsure] = self._agree(left[unsure], right[unsure])
        return near

    def _agree(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which pairs of pictures agree in the detail of each quarter."""
        half = _DETAIL_SIDE // 2
        first, second = (
            self._prints.details[rows]
            .astype(np.float32)
            .reshape(-1, 2, half, 2, half)
            .swapaxes(2, 3)
            .reshape(-1, 4, half * half)
            for rows in (left, right)
        )
        first, second = (values - values.mean(axis=2, keepdims=True) for values in (first, second))
        lengths = np.linalg.norm(first, axis=2) * np.linalg.norm(second, axis=2)
        return np.asarray(((first * second).sum(axis=2) >= MIN_DETAIL * np.maximum(lengths, 1e-6)).all(axis=1))

    def distances_within(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which hashes differ in few enough bits, (left, right)."""
        bits = np.bitwise_count(self.hashes[left][:, None] ^ self.hashes[right][None, :])
        return np.asarray(bits <= self.max_bits)

    def pair(self, first: int, second: int) -> Pair:
        """Return a near copy with its distance."""
        one, other = (_normalised(self._prints.thumbnails[[position]])[0] for position in (first, second))
        bits = int(np.bitwise_count(self.hashes[first] ^ self.hashes[second]))
        return Pair(first=first, second=second, is_exact=False, similarity=float(one @ other), bits=bits)


def _near_copies(comparison: _Comparison, chosen: NDArray[np.intp]) -> list[tuple[int, int]]:
    """Return near copies among `chosen` as positions (first, second), first < second."""
    links = _Links(len(comparison.hashes))
    for keys in _parts(comparison.hashes[chosen]):
        order = np.argsort(keys, kind="stable")
        bounds = np.flatnonzero(np.diff(keys[order])) + 1
        for bucket in np.split(chosen[order], bounds):
            _link(comparison, bucket, links)
    found: list[tuple[int, int]] = []
    for members in links.components():
        if len(members) <= _LISTED:
            near = comparison.are_near(members, members, np.triu(comparison.distances_within(members, members), 1))
            found += [(int(members[row]), int(members[column])) for row, column in zip(*np.nonzero(near), strict=True)]
        else:
            found += _conflicts(comparison, members)
    return sorted({*found, *links.of_large_components()})


class _Links:
    """Pairs of pictures that link others: as few as connect all near copies."""

    def __init__(self, count: int) -> None:
        self.roots = np.arange(count)
        self._pairs: list[tuple[int, int]] = []
        self._members: dict[int, list[int]] = {}

    def add(self, first: int, second: int) -> None:
        """Link two pictures that are not linked yet; the smaller set is renamed."""
        if self.roots[first] == self.roots[second]:
            return
        small, large = int(self.roots[first]), int(self.roots[second])
        few, many = (self._members.pop(root, [root]) for root in (small, large))
        if len(few) > len(many):
            large, few, many = small, many, few
        self.roots[few] = large
        many.extend(few)
        self._members[large] = many
        self._pairs.append((min(first, second), max(first, second)))

    def components(self) -> Iterator[NDArray[np.intp]]:
        """Yield the pictures of each set of linked pictures, ascending."""
        for members in self._members.values():
            yield np.sort(np.array(members))

    def of_large_components(self) -> list[tuple[int, int]]:
        """Return the pairs that link more pictures than are listed pair by pair."""
        return [pair for pair in self._pairs if len(self._members[int(self.roots[pair[0]])]) > _LISTED]


def _link(comparison: _Comparison, bucket: NDArray[np.intp], links: _Links) -> None:
    """Link the near copies in a bucket: few pictures with all others first, since similar ones are linked by those."""
    start, size = 0, 1
    while start < len(bucket) - 1:
        left, right = bucket[start : start + size], bucket[start + 1 :]
        roots = links.roots[right]
        if (roots == roots[0]).all() and (links.roots[left] == roots[0]).all():
            return
        chosen = comparison.distances_within(left, right) & (links.roots[left][:, None] != roots[None, :])
        near = comparison.are_near(left, right, chosen)
        for row, column in zip(*np.nonzero(near), strict=True):
            links.add(int(left[row]), int(right[column]))
        start += size
        size = min(2 * size, max(1, _CHUNK_PAIRS // len(bucket)))


def _conflicts(comparison: _Comparison, members: NDArray[np.intp]) -> list[tuple[int, int]]:
    """Return for each of many linked pictures that has a near copy with another label one such pair.

    Each picture is compared with more and more others until one is found.
    """
    labels = comparison.labels[members]
    if (labels == labels[0]).all():
        return []
    found: list[tuple[int, int]] = []
    open_rows = np.arange(len(members))
    start, size = 0, 1
    while start < len(members) and len(open_rows):
        right = members[start : start + size]
        resolved = []
        for first in range(0, len(open_rows), max(1, _CHUNK_PAIRS // size)):
            rows = open_rows[first : first + max(1, _CHUNK_PAIRS // size)]
            left = members[rows]
            chosen = comparison.distances_within(left, right)
            chosen &= labels[rows][:, None] != labels[start : start + size][None, :]
            near = comparison.are_near(left, right, chosen)
            resolved.append(near.any(axis=1))
            for row in np.flatnonzero(resolved[-1]):
                one, other = int(left[row]), int(right[near[row].argmax()])
                found.append((min(one, other), max(one, other)))
        open_rows = open_rows[~np.concatenate(resolved)]
        start, size = start + size, min(2 * size, _CHUNK_ROWS)
    return found


def _normalised(thumbnails: Pixels) -> NDArray[np.float32]:
    """Return thumbnails with mean 0 and norm 1; a uniform thumbnail becomes 0 and correlates with nothing."""
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(lengths > _THUMBNAIL_SIDE, values / np.maximum(lengths, 1e-6), 0).astype(np.float32)


def _parts(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    """Yield eight keys of 8 bits; each has one bit per row and column of the hash, as neighbours are often equal."""
    for part in range(_HASH_SIDE):
        key = np.zeros_like(hashes)
        for row in range(_HASH_SIDE):
            bit = np.uint64(row * _HASH_SIDE + (row + part) % _HASH_SIDE)
            key |= ((hashes >> bit) & np.uint64(1)) << np.uint64(row)
        yield key
