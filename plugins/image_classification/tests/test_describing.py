"""Pictures as numbers: blur, noise and another light change them, and a file has those of its stored picture."""

import numpy as np
import pytest
from mlops_image_classification.config import Preprocessing
from mlops_image_classification.data.decoding import read_pixels
from mlops_image_classification.data.describing import DESCRIPTION_NAMES, describe_picture
from PIL import Image, ImageFilter

SCORES = (0.7, 0.2, 0.1)


def picture(size=96, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def numbers(image, scores=SCORES):
    vector = describe_picture(np.asarray(image), scores)
    assert len(vector) == len(DESCRIPTION_NAMES)
    return dict(zip(DESCRIPTION_NAMES, vector, strict=True))


@pytest.mark.parametrize("size", [32, 96, 300])
def test_blur_lowers_the_detail_and_noise_raises_it(size):
    plain, noise = picture(size), np.random.default_rng(1).integers(-40, 40, (size, size, 3))
    noisy = Image.fromarray(np.clip(np.asarray(plain) + noise, 0, 255).astype(np.uint8))
    blurred = plain.filter(ImageFilter.GaussianBlur(size / 16))
    for name in ("horizontal detail", "vertical detail"):
        assert numbers(blurred)[name] < 0.8 * numbers(plain)[name] < numbers(noisy)[name]


def test_light_and_colour_change_the_colours():
    dark = picture().point(lambda value: value // 2)
    assert numbers(dark)["green mean"] == pytest.approx(numbers(picture())["green mean"] / 2, abs=1)
    grey = picture().convert("L").convert("RGB")
    assert numbers(grey)["saturation"] == 0 < numbers(picture())["saturation"]


def test_sure_scores_have_no_entropy():
    assert numbers(picture(), (1.0, 0.0))["entropy of the scores"] == 0
    assert numbers(picture(), (0.5, 0.5))["entropy of the scores"] == pytest.approx(np.log(2))


def test_what_the_evaluation_reads_as_floats_has_the_numbers_of_the_file(tmp_path):
    picture(200).save(tmp_path / "picture.png")
    pixels = read_pixels(tmp_path / "picture.png", Preprocessing(image_size=64))
    stored = pixels.astype(np.float32) / np.float32(255.0)
    again = np.rint(stored * np.float32(255.0)).astype(np.uint8)
    assert describe_picture(again, SCORES) == describe_picture(pixels, SCORES)
