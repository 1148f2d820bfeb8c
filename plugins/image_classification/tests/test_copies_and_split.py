"""Copies are found, listed and kept in one part; tracks stay together; conflicting labels are named."""

import csv
import io
import random
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from mlops_image_classification.config import SplitSection
from mlops_image_classification.data.fingerprints import (
    _COLUMNS,
    Fingerprints,
    Pair,
    find_copies,
    fingerprint,
    read_fingerprints,
    write_fingerprints,
)
from mlops_image_classification.data.labelled import Picture
from mlops_image_classification.data.split_files import CONFLICTS_FILE, COPIES_FILE, read_samples, write_split_tables
from mlops_image_classification.data.splitting import make_split, of_part
from mlops_image_classification.data.synthetic_signs import SIGNS
from PIL import Image, ImageDraw, ImageEnhance

from mlops_core import DatasetError, SplitRow, WrittenSplit, load_use_case, row_digest, write_split
from mlops_core.datasets.leaks import check_near_duplicates

SETTINGS = SplitSection()


def texture(seed, side=48):
    """Return a smooth random picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def recompressed(image):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=60)
    return Image.open(stream)


def prints(*images):
    resized = [np.asarray(image.convert("RGB").resize((48, 48), Image.Resampling.BILINEAR)) for image in images]
    return fingerprint(list(enumerate(resized)))


def copies(*images, bits=7, similarity=0.98, labels=None):
    labels = labels or ["any"] * len(images)
    result = find_copies(prints(*images), labels, max_bits=bits, min_similarity=similarity)
    return sorted((pair.first, pair.second, pair.is_exact) for pair in result)


def test_equal_pixels_are_exact_copies_of_the_first():
    assert copies(texture(1), texture(2), texture(1), texture(1)) == [(0, 2, True), (0, 3, True)]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((30, 30), Image.Resampling.LANCZOS),
        lambda image: image.resize((96, 96), Image.Resampling.BICUBIC),
        lambda image: ImageEnhance.Brightness(image).enhance(0.9),
        recompressed,
    ],
    ids=["smaller", "larger", "darker", "recompressed"],
)
def test_a_changed_picture_is_a_near_copy(change):
    for seed in range(10):
        assert copies(texture(100), texture(seed), change(texture(seed))) == [(1, 2, False)]


def test_different_pictures_and_uniform_pictures_are_not_copies():
    assert copies(*map(texture, range(200))) == []
    plain = [Image.new("RGB", (48, 48), (shade, shade, shade)) for shade in (0, 40, 255)]
    assert copies(*plain) == []
    assert copies(plain[0], plain[0]) == [(0, 1, True)]


def backlit(name):
    """Return a sign as a camera sees it against the sky: dark, with a faint image on it, under light from one side."""
    sign = Image.new("RGBA", (128, 128))
    SIGNS[name](ImageDraw.Draw(sign))
    values = np.asarray(sign, np.float64)
    dark = np.linspace(20, 90, 128)[None, :, None] + values[..., :3] / 9
    sky = np.full((128, 128, 3), 245.0) - np.linspace(0, 40, 128)[:, None, None]
    seen = np.where(values[..., 3:] > 0, dark, sky).clip(0, 255).astype(np.uint8)
    return Image.fromarray(seen).resize((48, 48), Image.Resampling.BOX)


@pytest.mark.parametrize(
    ("first", "second"),
    [("turn_left", "speed_50"), ("speed_30", "turn_left"), ("no_entry", "stop"), ("speed_30", "speed_50")],
)
def test_two_backlit_signs_of_different_classes_are_not_copies(first, second):
    images = backlit(first), backlit(second)
    assert copies(*images) == [(0, 1, False)]  # hash and thumbnail alone confuse them
    assert copies(*images, labels=["a", "b"]) == []


def test_a_recompressed_picture_with_another_label_is_a_conflict():
    for sign in (backlit("speed_30"), texture(3), texture(4)):
        assert copies(sign, recompressed(sign), labels=["a", "b"]) == [(0, 1, False)]


def test_the_distance_of_a_near_copy_is_said():
    darker = ImageEnhance.Brightness(texture(1)).enhance(0.9)
    (near,) = find_copies(prints(texture(1), darker), ["a", "a"], max_bits=7, min_similarity=0.98)
    assert near.distance == f"correlation {near.similarity:.3f}, {near.bits} of 64 bits differ"
    assert near.similarity == pytest.approx(1, abs=0.01)
    assert near.bits <= 7
    assert Pair(first=0, second=1, is_exact=True).distance == "equal pixels"


def test_without_a_similarity_only_exact_copies_are_found():
    darker = ImageEnhance.Brightness(texture(1)).enhance(0.9)
    assert copies(texture(1), texture(1), darker, similarity=None) == [(0, 1, True)]


def with_hashes(hashes):
    """Return fingerprints that differ in their hashes only."""
    one = prints(texture(1))
    count = len(hashes)
    return Fingerprints(
        numbers=np.arange(count),
        digests=np.array([number.to_bytes(32, "big") for number in range(count)], "V32"),
        hashes=hashes,
        thumbnails=np.repeat(one.thumbnails, count, axis=0),
        details=np.repeat(one.details, count, axis=0),
    )


@pytest.mark.parametrize("bits", [0, 3, 7])
def test_the_search_finds_exactly_what_comparing_all_pairs_finds(bits):
    draw = np.random.default_rng(bits)
    hashes = draw.integers(0, 1 << 63, 300, dtype=np.uint64)
    for position in range(0, 300, 3):  # neighbours at every distance up to 12
        flips = draw.choice(64, position % 13, replace=False)
        hashes[position + 1] = hashes[position] ^ np.bitwise_or.reduce(
            np.uint64(1) << flips.astype(np.uint64), initial=0
        )
    found = find_copies(with_hashes(hashes), ["a"] * 300, max_bits=bits, min_similarity=0.98)
    expected = {(a, b) for a in range(300) for b in range(a + 1, 300) if int(hashes[a] ^ hashes[b]).bit_count() <= bits}
    assert expected
    assert [(pair.first, pair.second) for pair in found] == sorted(expected)


def linked_sets(pairs, count):
    """Return the sets of pictures that pairs link, by union of the pairs one by one."""
    sets = {number: {number} for number in range(count)}
    for pair in pairs:
        both = sets[pair.first] | sets[pair.second]
        sets.update(dict.fromkeys(both, both))
    return {frozenset(members) for members in sets.values()}


def test_many_similar_pictures_are_linked_by_as_few_pairs_as_it_takes():
    draw = np.random.default_rng(0)
    centres = draw.integers(0, 1 << 63, 3, dtype=np.uint64)
    hashes = np.concatenate(
        [centre ^ (np.uint64(1) << draw.integers(0, 64, 400, dtype=np.uint64)) for centre in centres]
    )
    chain = [np.uint64((1 << (5 * link)) - 1) ^ np.uint64(0xF0F0_0F0F_1234_5678) for link in range(12)]
    hashes = draw.permutation(np.concatenate([hashes, np.array(chain)]))
    found = find_copies(with_hashes(hashes), ["a"] * len(hashes), max_bits=5, min_similarity=0.98)
    all_pairs = [
        Pair(first=a, second=b, is_exact=False)
        for a in range(len(hashes))
        for b in range(a + 1, len(hashes))
        if int(hashes[a] ^ hashes[b]).bit_count() <= 5
    ]
    assert linked_sets(found, len(hashes)) == linked_sets(all_pairs, len(hashes))
    assert len(found) < 2 * len(hashes) < len(all_pairs) / 10
    assert {(pair.first, pair.second) for pair in found} <= {(pair.first, pair.second) for pair in all_pairs}


def test_of_many_similar_pictures_each_that_has_another_label_is_in_a_conflict():
    count = 500
    hashes = np.uint64(1) << np.random.default_rng(1).integers(0, 64, count, dtype=np.uint64)
    labels = ["a" if number % 10 else "b" for number in range(count)]
    found = find_copies(with_hashes(hashes), labels, max_bits=7, min_similarity=0.98)
    conflicts = [pair for pair in found if labels[pair.first] != labels[pair.second]]
    assert {position for pair in conflicts for position in (pair.first, pair.second)} == set(range(count))
    assert len(found) < 3 * count
    assert len(linked_sets(found, count)) == 1


def test_the_search_takes_memory_by_the_picture_and_not_by_the_pair():
    count = 2400
    hashes = np.uint64(1) << np.random.default_rng(1).integers(0, 64, count, dtype=np.uint64)
    fingerprints, labels = with_hashes(hashes), ["a", "b"] * (count // 2)
    tracemalloc.start()
    find_copies(fingerprints, labels, max_bits=7, min_similarity=0.98)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000


def test_fingerprints_are_read_back_in_the_order_of_numbers(tmp_path):
    result = prints(*map(texture, range(5)))
    halves = [slice(3, 5), slice(0, 3)]
    for name, half in zip("ab", halves, strict=True):
        part = {field: getattr(result, field)[half] for field in _COLUMNS}
        write_fingerprints(tmp_path / f"{name}.npz", type(result)(**part))
    again = read_fingerprints(tmp_path)
    assert (again.numbers == result.numbers).all()
    assert (again.digests == result.digests).all()
    assert (again.hashes == result.hashes).all()
    assert (again.thumbnails == result.thumbnails).all()
    assert (again.details == result.details).all()


# --- The split --------------------------------------------------------------------------------------------


def pictures(classes=("cat", "dog"), tracks=10, frames=3, part=""):
    return [
        Picture(
            number=0, name=f"{part}/{label}/{track}_{frame}.png", label=label, group=f"{label}/{part}{track}", part=part
        )
        for label in classes
        for track in range(tracks)
        for frame in range(frames)
    ]


def split(items, pairs=(), seed=0, **values):
    numbered = [Picture(number=k, name=p.name, label=p.label, group=p.group, part=p.part) for k, p in enumerate(items)]
    return make_split(numbered, list(pairs), SplitSection(**values), seed=seed), numbered


def exact(first, second):
    return Pair(first=first, second=second, is_exact=True, similarity=1.0)


def near(first, second):
    return Pair(first=first, second=second, is_exact=False, similarity=0.99)


def parts_of(result):
    return {sample.number: sample.part for sample in result.samples}


def test_whole_tracks_are_held_out_per_class_in_the_configured_shares():
    result, items = split(pictures(tracks=20), test_split=0.2, validation_split=0.25)
    for group in {item.group for item in items}:
        assert len({sample.part for sample in result.samples if items[sample.number].group == group}) == 1
    for label in ("cat", "dog"):
        counts = [
            len([s for s in of_part(result.samples, part) if s.label == label])
            for part in ("train", "validation", "test")
        ]
        assert counts == [36, 12, 12]


def test_the_split_depends_on_the_seed_and_on_nothing_else():
    one, two, other = (split(pictures(), seed=seed)[0] for seed in (1, 1, 2))
    assert one == two != other


def test_parts_that_the_data_set_assigns_are_kept():
    given = [*pictures(part="train"), *pictures(part="test", tracks=2)]
    result, items = split(given)
    assert {sample.number for sample in of_part(result.samples, "test")} == {
        k for k, p in enumerate(items) if p.part == "test"
    }
    assert of_part(result.samples, "validation")
    with_validation, items = split([*given, *pictures(part="validation", tracks=1)])
    assert {items[s.number].part for s in of_part(with_validation.samples, "validation")} == {"validation"}


def test_copies_are_never_in_two_parts():
    items = pictures(tracks=12)
    draw = random.Random(0)
    pairs = [near(*sorted(draw.sample(range(36), 2))) for _ in range(6)]
    for seed in range(20):
        result, _ = split(items, pairs, seed=seed)
        parts = parts_of(result)
        assert all(parts[pair.first] == parts[pair.second] for pair in pairs)


def test_a_direct_or_indirect_copy_of_a_test_picture_is_left_out_of_the_training():
    items = [*pictures(part="train"), *pictures(part="test", tracks=2)]
    test = len(items) - 1
    result, _ = split(items, [near(test, 31), near(32, 31), exact(35, test)])
    assert [(item.name, item.reason.partition(",")[0]) for item in result.left_out] == [
        (items[k].name, f"a copy of {items[test].name}") for k in (31, 32, 35)
    ]
    assert parts_of(result)[test] == "test"
    assert {31, 32, 35}.isdisjoint(parts_of(result))


def test_exact_copies_with_different_labels_are_left_out_everywhere_or_fail_the_step():
    items = pictures()
    assert items[1].label != items[40].label
    pairs = [exact(1, 40), exact(1, 50)]
    result, _ = split(items, pairs)
    assert {1, 40, 50}.isdisjoint(parts_of(result))
    assert result.conflicts == tuple(pairs)
    assert "an exact copy has another label" in result.left_out[0].reason
    with pytest.raises(
        DatasetError,
        match=r"2 pair\(s\) of exact copies have different labels: /cat/0_1.png \(cat\) and /dog/3_1.png \(dog\)",
    ):
        split(items, pairs, conflicting_labels="fail")


def test_near_copies_with_different_labels_are_listed_and_stay_together():
    for seed in range(10):
        result, _ = split(pictures(), [near(1, 40)], seed=seed)
        assert result.conflicts == (near(1, 40),)
        assert parts_of(result)[1] == parts_of(result)[40]


def test_a_track_that_the_data_set_assigns_to_two_parts_is_refused():
    items = [*pictures(part="train"), Picture(name="test/cat/x.png", label="cat", group="cat/train0", part="test")]
    with pytest.raises(DatasetError, match="split leaks: 1 group.*'cat/train0'"):
        split([*items, *pictures(classes=("dog",), part="test")])


def test_a_class_that_a_part_lacks_is_named():
    few = [*pictures(classes=("cat", "dog")), *pictures(classes=("eel",), tracks=2)]
    with pytest.raises(DatasetError, match="the validation part has no picture of eel"):
        split(few)


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_tables_name_both_pictures_with_their_labels(tmp_path):
    items = [replace(item, name=item.name.lstrip("/"), group=item.group.lstrip("/")) for item in pictures()]
    result, numbered = split(items, [exact(1, 40), near(2, 3)])
    for item in items:
        (tmp_path / item.name).parent.mkdir(exist_ok=True)
        (tmp_path / item.name).write_text(item.name)
    write_split_tables(tmp_path, result, numbered, dataset=tmp_path)
    assert tuple(read_samples(tmp_path)) == result.samples
    rows = table(tmp_path / CONFLICTS_FILE)
    assert [(row["kind"], row["first"], row["first_label"], row["second"], row["second_label"]) for row in rows] == [
        ("exact", "cat/0_1.png", "cat", "dog/3_1.png", "dog")
    ]
    assert [row["kind"] for row in table(tmp_path / COPIES_FILE)] == ["exact", "near"]


def test_core_asks_for_near_copies_and_refuses_those_in_two_parts(tmp_path):
    fingerprints, folder = tmp_path / "fingerprints", tmp_path / "split"
    fingerprints.mkdir()
    folder.mkdir()
    original = texture(1)
    write_fingerprints(
        fingerprints / "a.npz", prints(original, texture(2), recompressed(original), texture(3), original)
    )
    parts = ("train", "train", "test", "test")  # the last picture was left out
    write_split(
        folder,
        [
            SplitRow(
                sample=f"{n}.png", group=str(n), label="cat", part=part, digest=row_digest([str(n)]),
                columns={"number": str(n)},
            )
            for n, part in enumerate(parts)
        ],
    )  # fmt: skip
    settings = {"split": SETTINGS.model_dump(mode="json")}
    written = WrittenSplit(folder=folder, inputs={"fingerprints": fingerprints}, sections=settings)
    (pair,) = load_use_case("SCENE").near_duplicates(written)
    assert (pair.first, pair.second) == ("0.png", "2.png")
    assert pair.reason.startswith("correlation 0.9")
    with pytest.raises(
        DatasetError, match=r"'0\.png' \(train\) and '2\.png' \(test\) are near duplicates \(correlation"
    ):
        check_near_duplicates(folder, [pair])
    tolerant = {"split": SETTINGS.model_copy(update={"near_duplicate_similarity": None}).model_dump(mode="json")}
    assert not list(load_use_case("SCENE").near_duplicates(replace(written, sections=tolerant)))
