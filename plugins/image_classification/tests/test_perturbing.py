"""Pictures that are changed on purpose: by how much, the same each time, and readable again."""

import numpy as np
import pytest
from mlops_image_classification.data.perturbing import PERTURBATIONS
from PIL import Image

from mlops_core import DatasetError

DECLARED = {each.name: each for each in PERTURBATIONS}


@pytest.fixture
def change(tmp_path):
    """Return a function that changes a picture, and returns its values before and after."""
    coarse = np.random.default_rng(0).integers(20, 180, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((120, 90), Image.Resampling.BICUBIC).save(tmp_path / "picture.png")

    def run(name, strength):
        target = tmp_path / f"{name}{DECLARED[name].suffix}"
        DECLARED[name].write(tmp_path / "picture.png", target, strength)
        before, after = (np.asarray(Image.open(path), float) for path in (tmp_path / "picture.png", target))
        assert before.shape == after.shape
        return before, after

    return run


def test_blur_takes_detail_and_more_of_it_with_a_larger_radius(change):
    before, little = change("blur", 1)
    much = change("blur", 4)[1]
    detail = [np.abs(np.diff(each, axis=0)).mean() for each in (before, little, much)]
    assert detail[2] < 0.9 * detail[1] < 0.9 * detail[0]
    assert much.mean() == pytest.approx(before.mean(), rel=0.01)


def test_brightness_multiplies_each_value(change):
    before, after = change("brightness", 0.5)
    assert np.abs(after - before / 2).max() <= 1


def test_noise_has_the_stated_deviation_and_is_the_same_each_time(change):
    before, after = change("noise", 10)
    assert np.std(after - before) == pytest.approx(10, rel=0.05)
    assert (change("noise", 10)[1] == after).all()


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"a\.png cannot be decoded"):
        PERTURBATIONS[0].write(tmp_path / "a.png", tmp_path / "b.png", 1)
