"""Average precision equals that of pycocotools, also with ties, crowds, empty pictures and more than 100 boxes."""

import contextlib
import io

import numpy as np
import pytest
from mlops_object_detection.evaluation.matching import SIZES, THRESHOLDS, PageResult, average_precision, match
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

CLASSES = 3


def generated(seed, *, objects, detections, crowds, levels, pages=4):
    """Pages of truth and detections: some near the truth, some anywhere; scores on few levels, so that they tie."""
    draw = np.random.default_rng(seed)
    drawn = []
    for _ in range(pages):
        truth = boxes(draw, int(draw.integers(0, objects + 1)))
        labels = draw.integers(0, CLASSES, len(truth))
        is_crowd = draw.random(len(truth)) < crowds
        near = truth[draw.integers(0, len(truth), detections // 2)] if len(truth) else truth
        near = near + draw.normal(0, 3, near.shape)
        found = np.concatenate([near, boxes(draw, detections // 2)])
        found = found[(found[:, 2:] > found[:, :2] + 1).all(axis=1)]
        scores = draw.integers(1, levels, len(found)) / levels
        drawn.append((truth, labels, is_crowd, found, draw.integers(0, CLASSES, len(found)), scores))
    return drawn


def boxes(draw, count):
    """Boxes of all sizes of COCO, some of them with exactly the area that two sizes share."""
    corners = draw.uniform(0, 80, (count, 2))
    sides = draw.uniform(8, draw.choice([40.0, 140.0]), (count, 2))
    is_shared = draw.random(count) < 0.1
    sides[is_shared] = draw.choice([32.0, 96.0], (count, 1))[is_shared]
    corners[is_shared] = corners[is_shared].round()
    return np.concatenate([corners, corners + sides], axis=1)


def ours(pages, areas=None):
    """(classes, thresholds); NaN where a class has no truth."""
    rows = []
    for label in range(CLASSES):
        matches = [
            match(
                PageResult(
                    truth=truth[labels == label],
                    is_crowd=is_crowd[labels == label],
                    boxes=found[kinds == label],
                    scores=scores[kinds == label],
                ),
                areas=areas,
            )
            for truth, labels, is_crowd, found, kinds, scores in pages
        ]
        rows.append(average_precision(matches))
    return np.array(rows)


def theirs(pages):
    """(sizes, classes, thresholds), all sizes first; NaN where a class has no truth."""
    images, truths, answers = [], [], []
    for number, (truth, labels, is_crowd, found, kinds, scores) in enumerate(pages, 1):
        images.append({"id": number, "width": 200, "height": 200})
        for box, label, crowd in zip(truth, labels, is_crowd, strict=True):
            size = box[2:] - box[:2]
            truths.append(
                {
                    "id": len(truths) + 1,
                    "image_id": number,
                    "category_id": int(label) + 1,
                    "bbox": [*box[:2], *size],
                    "area": float(size.prod()),
                    "iscrowd": int(crowd),
                }
            )
        for box, label, score in zip(found, kinds, scores, strict=True):
            answers.append(
                {
                    "image_id": number,
                    "category_id": int(label) + 1,
                    "bbox": [*box[:2], *(box[2:] - box[:2])],
                    "score": float(score),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        categories = [{"id": number, "name": str(number)} for number in range(1, CLASSES + 1)]
        data.dataset = {"images": images, "annotations": truths, "categories": categories, "info": {}}
        data.createIndex()
        found = data.loadRes(answers) if answers else COCO()  # loadRes refuses a list without detections
        if not answers:
            found.dataset = {**data.dataset, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(data, found, "bbox")
        evaluation.params.maxDets = [10_000]
        assert evaluation.params.areaRng[1:] == [list(areas) for areas in SIZES.values()]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, :, 0].mean(axis=1).T
    return np.where(precision < 0, np.nan, precision)


CASES = {
    "plain": {"objects": 6, "detections": 10, "crowds": 0.0, "levels": 1000},
    "crowds and ties": {"objects": 6, "detections": 20, "crowds": 0.3, "levels": 4},
    "few": {"objects": 1, "detections": 4, "crowds": 0.5, "levels": 10},
    "no truth": {"objects": 0, "detections": 6, "crowds": 0.0, "levels": 5},
    "no detection": {"objects": 6, "detections": 0, "crowds": 0.2, "levels": 5},
    "crowds only": {"objects": 4, "detections": 8, "crowds": 1.0, "levels": 5},
    "more than a hundred": {"objects": 160, "detections": 300, "crowds": 0.1, "levels": 20},
}


def assert_equal(pages, name):
    expected = theirs(pages)
    for found, areas in zip(expected, (None, *SIZES.values()), strict=True):
        np.testing.assert_allclose(ours(pages, areas), found, atol=1e-12, err_msg=f"{name}, {areas}")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_average_precision_equals_pycocotools(case, seed):
    assert_equal(generated(seed, **CASES[case]), case)


REPEATED = dict.fromkeys(CASES, 750) | {"more than a hundred": 200, "plain": 3000, "crowds and ties": 3800}


@pytest.mark.slow_suite
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES)
def test_average_precision_equals_pycocotools_in_ten_thousand_cases(case):
    assert sum(REPEATED.values()) >= 10_000
    for seed in range(1000, 1000 + REPEATED[case]):
        pages = generated(seed, **CASES[case], pages=1 if case == "more than a hundred" else 2)
        assert_equal(pages, f"{case}, seed {seed}")


def test_perfect_detections_have_an_average_precision_of_one():
    pages = [(truth, labels, crowd * False, truth, labels, labels * 0 + 0.5) for truth, labels, crowd, *_ in
             generated(1, objects=9, detections=2, crowds=0, levels=9)]  # fmt: skip
    known = ours(pages)
    assert np.nanmin(known) == np.nanmax(known) == 1.0


def test_a_class_without_truth_is_not_measured():
    page = PageResult(
        truth=np.zeros((0, 4)), is_crowd=np.zeros(0, bool), boxes=np.array([[0, 0, 9, 9.0]]), scores=np.array([0.5])
    )
    assert np.isnan(average_precision([match(page)])).all()


def test_a_half_overlapping_box_counts_up_to_its_overlap():
    page = PageResult(
        truth=np.array([[0, 0, 10, 10.0]]),
        is_crowd=np.zeros(1, bool),
        boxes=np.array([[0, 0, 10, 7.2]]),
        scores=np.array([0.5]),
    )
    assert average_precision([match(page)]).tolist() == [1.0 if one <= 0.7 else 0.0 for one in THRESHOLDS]
