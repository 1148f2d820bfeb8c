"""The parts of the detector: plan, targets, losses, crops, tiles and merging."""

import itertools

import numpy as np
import pytest
from mlops_object_detection.data.images import has_colour, is_line_art, read_image, scaled_pixels
from mlops_object_detection.data.synthetic_drawings import GLYPHS
from mlops_object_detection.data.synthetic_drawings import generate as generate_drawings
from mlops_object_detection.data.synthetic_photographs import generate as generate_photographs
from mlops_object_detection.model.crops import CropMaker, Page, Style
from mlops_object_detection.model.plan import PageBoxes, Plan, make_plan
from mlops_object_detection.model.targets import IGNORED, make_targets
from mlops_object_detection.model.tiles import Found, is_cut, merge, starts
from PIL import Image

from mlops_core import DatasetError


def plan_of(width, height, sides, *, tile=640, pages=3):
    """A plan for boxes of these sides, all on each page."""
    boxes = np.array([[0, 0, side, side] for side in sides], float)
    sized = [PageBoxes(width=width, height=height, boxes=boxes) for _ in range(pages)]
    return make_plan(sized, tile=tile, overlap_share=0.2, labels=[["x"] * len(sides)] * pages)


@pytest.mark.parametrize(
    ("width", "height", "sides"),
    [
        (3300, 2100, (15, 33, 72)),
        (640, 480, (8, 9, 10)),
        (640, 480, (30, 110, 250)),
        (400, 300, (200, 200, 200)),
        (6000, 4000, (100, 900, 2000)),
        (64, 64, (8, 20, 32)),
        (1000, 100, (12, 40, 50)),
    ],
)
def test_the_plan_follows_from_the_boxes(width, height, sides):
    plan = plan_of(width, height, sides)
    factor = plan.factor(width, height)
    whole = plan.size(width, height)
    largest = max(sides) * factor
    assert plan.tile % 32 == 0
    assert max(whole) <= plan.tile or plan.overlap > largest
    assert max(whole) <= plan.tile or plan.overlap < plan.tile
    assert largest <= 224 * 1.1
    assert min(sides) * factor >= 6 or max(sides) / min(sides) > 15
    assert plan.crop <= max(64, -(-max(whole) // 32) * 32)
    assert Plan.from_json(plan.to_json()) == plan


def test_objects_that_grow_with_the_page_are_scaled_by_the_page():
    sizes = (1000, 2000, 4000)
    pages = [PageBoxes(width=size, height=size, boxes=np.array([[0, 0, size / 50, size / 50]])) for size in sizes]
    plan = make_plan(pages, tile=640, overlap_share=0.2, labels=[["x"]] * 3)
    assert len({round(size / 50 * plan.factor(size, size)) for size in sizes}) == 1


def test_objects_of_equal_pixels_are_scaled_by_a_factor():
    sizes = (1000, 2000, 4000)
    pages = [PageBoxes(width=size, height=size, boxes=np.array([[0, 0, 40.0, 40.0]])) for size in sizes]
    plan = make_plan(pages, tile=640, overlap_share=0.2, labels=[["x"]] * 3)
    assert len({plan.factor(size, size) for size in sizes}) == 1


def test_a_plan_needs_a_box():
    with pytest.raises(DatasetError, match="no box"):
        make_plan([PageBoxes(width=9, height=9, boxes=np.zeros((0, 4)))], tile=640, overlap_share=0.2, labels=[[]])


def test_tiles_cover_a_side_and_end_at_its_edge():
    for length in (1, 639, 640, 641, 1000, 3300):
        found = starts(length, tile=640, overlap=128)
        covered = {place for start in found for place in range(start, min(start + 640, length))}
        assert covered == set(range(length))
        assert length <= 640 or found[-1] + 640 == length
        assert all(one + 640 - other >= 128 for one, other in itertools.pairwise(found))


def test_every_box_up_to_the_overlap_is_whole_in_some_tile():
    draw = np.random.default_rng(1)
    for _ in range(300):
        left, top = draw.uniform(1, 1000, 2)
        width, height = draw.uniform(4, 120, 2)
        box = np.array([[left, top, min(left + width, 1199), min(top + height, 1199)]])
        whole = [
            (x, y)
            for x in starts(1200, tile=640, overlap=128)
            for y in starts(1200, tile=640, overlap=128)
            if box[0, 0] >= x and box[0, 1] >= y and box[0, 2] <= x + 640 and box[0, 3] <= y + 640
            and not is_cut(box, left=x, top=y, tile=640, width=1200, height=1200)[0]
        ]  # fmt: skip
        assert whole


def test_merging_keeps_the_best_of_overlapping_boxes_and_neighbours():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [9, 0, 19, 10], [0, 0, 10, 9], [50, 50, 60, 60.0]])
    labels = np.array([0, 0, 0, 1, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    found = Found(boxes=boxes, labels=labels, scores=scores)
    kept, is_truncated = merge(found, same_class=0.5, any_class=0.75, limit=10, notable=0.3)
    assert kept.scores.tolist() == [0.9, 0.7, 0.1]
    assert not is_truncated
    kept, is_truncated = merge(found, same_class=0.5, any_class=0.75, limit=1, notable=0.3)
    assert (len(kept.scores), is_truncated) == (1, True)
    _, is_truncated = merge(found, same_class=0.5, any_class=0.75, limit=2, notable=0.3)
    assert not is_truncated  # what was cut off has a score of 0.1


def test_merging_does_not_depend_on_the_order():
    draw = np.random.default_rng(2)
    boxes = draw.uniform(0, 50, (60, 2)).repeat(2, axis=0).reshape(60, 4)
    boxes[:, 2:] += draw.uniform(5, 20, (60, 2))
    labels, scores = draw.integers(0, 3, 60), draw.integers(1, 5, 60) / 5
    found = [
        merge(
            Found(boxes=boxes[order], labels=labels[order], scores=scores[order]),
            same_class=0.5,
            any_class=0.75,
            limit=99,
            notable=0.3,
        )[0]
        for order in (np.arange(60), draw.permutation(60))
    ]
    np.testing.assert_array_equal(found[0].boxes, found[1].boxes)


def test_targets_mark_the_centre_the_sides_and_the_class():
    boxes = np.array([[8, 16, 40, 32], [100, 100, 124, 124], [60, 0, 90, 20]], np.float32)
    found = make_targets(boxes, np.array([2, 0, IGNORED], np.int32), side=128)
    centres = np.argwhere(found.centres[..., 0] == 1)
    assert {tuple(one) for one in centres} == {(6, 6), (28, 28)}
    assert found.sides[6, 6].tolist() == [18, 10, 14, 6, 1]
    assert set(np.unique(found.classes)) == {-1, 0, 2}
    assert (found.centres[0:4, 16:22, 1] == 0).all()
    assert found.centres[10:, :, 1].all()


def test_the_smaller_of_two_overlapping_boxes_counts():
    boxes = np.array([[40, 40, 60, 60], [0, 0, 100, 100]], np.float32)
    found = make_targets(boxes, np.array([1, 0], np.int32), side=128)
    assert found.classes[6, 6] == 1
    assert found.sides[12, 12, 0] == 10


def test_tiny_boxes_have_a_centre_a_side_and_a_class():
    found = make_targets(np.array([[9, 9, 11, 11]], np.float32), np.array([0], np.int32), side=64)
    assert (found.centres[..., 0] == 1).sum() == 1
    assert (found.classes == 0).sum() == 1


def maker(*, line_art=True, flips=False, copy_paste=1.0, channels=1, count=6):
    draw = np.random.default_rng(0)
    pixels = np.full((300, 400, channels), 250, np.uint8)
    boxes = np.array([[20 + 60 * n, 40, 45 + 60 * n, 60] for n in range(count)], np.float32)
    for left, top, right, bottom in boxes.astype(int):
        pixels[top:bottom, left:right] = draw.integers(0, 90, (bottom - top, right - left, channels))
    style = Style(
        side=128,
        jitter=0.1,
        copy_paste=copy_paste,
        is_line_art=line_art,
        has_flips=flips,
        tones=0.0,
        fill=np.full(channels, 250, np.uint8),
    )
    page = Page(pixels=pixels, boxes=boxes, labels=np.arange(count, dtype=np.int32) % 2)
    return CropMaker([page], style)


@pytest.mark.parametrize(("line_art", "flips", "channels"), [(True, False, 1), (False, True, 3)])
def test_what_a_crop_shows_is_what_its_targets_say(line_art, flips, channels):
    crops = maker(line_art=line_art, flips=flips, channels=channels)
    generator = np.random.default_rng(3)
    shown = 0
    for _ in range(40):
        crop, targets = crops.make(generator)
        assert crop.shape == (128, 128, channels)
        for row, column in np.argwhere((targets.centres[..., 0] == 1) & (targets.centres[..., 1] == 1)):
            assert crop[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4].mean() < 150
            shown += 1
    assert shown > 100


def test_pasted_objects_do_not_overlap_others():
    crops = maker(copy_paste=1.0)
    generator = np.random.default_rng(4)
    counts = [int((crops.make(generator)[1].centres[..., 0] == 1).sum()) for _ in range(40)]
    without = maker(copy_paste=0.0)
    generator = np.random.default_rng(4)
    plain = [int((without.make(generator)[1].centres[..., 0] == 1).sum()) for _ in range(40)]
    assert np.mean(counts) > np.mean(plain) + 1


def test_crops_are_repeatable():
    one, other = (maker().make(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1].centres, other[1].centres)


def nothing(*_):
    return None


def test_drawings_and_photographs_are_distinguished(tmp_path):
    for name, generate, is_drawing in (("d", generate_drawings, True), ("p", generate_photographs, False)):
        folder = tmp_path / name
        folder.mkdir()
        generate(folder, seed=3, progress=nothing)
        images = [read_image(path) for path in sorted((folder / "images").iterdir())]
        assert bool(np.mean([is_line_art(image) for image in images]) > 0.5) is is_drawing
        assert any(map(has_colour, images)) is not is_drawing


def test_an_object_before_plain_paper_is_no_line_art():
    pixels = np.full((300, 300, 3), 255, np.uint8)
    pixels[80:200, 60:220] = (200, 40, 40)
    assert not is_line_art(Image.fromarray(pixels))


def test_generated_drawings_are_repeatable_and_show_each_symbol(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        generate_drawings(tmp_path / name, seed=7, progress=nothing)
    files = [sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.*")) for name in "ab"]
    assert files[0] == files[1]
    assert all((tmp_path / "a" / one).read_bytes() == (tmp_path / "b" / one).read_bytes() for one in files[0])
    text = (tmp_path / "a" / "labels" / "annotations.jsonl").read_text()
    assert all(text.count(name) >= 20 for name in GLYPHS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_pictures_of_any_mode_are_read(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16", "F") else "a.png")
    Image.new("L", (40, 30), 200).convert(mode).save(path)
    pixels = scaled_pixels(read_image(path), (20, 15), channels=3)
    assert pixels.shape == (15, 20, 3)
