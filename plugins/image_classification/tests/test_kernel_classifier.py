"""Descriptors of pictures, the classifier that is solved from them, and its share of the scores."""

import numpy as np
import pytest
from mlops_image_classification.model import kernel_classifier
from mlops_image_classification.model.descriptors import describe
from mlops_image_classification.model.kernel_classifier import KernelClassifier

from mlops_core import load_use_case

SIZE = 24


def stripes(*, direction, colour=(1.0, 1.0, 1.0), phase=0.0, noise=0.0, size=SIZE):
    """Return one picture, (size, size, 3), whose brightness is a wave of six pixels along an axis."""
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * np.arange(size) / 6 + phase)
    plane = np.broadcast_to(wave if direction == "across" else wave[:, None], (size, size))
    picture = plane[..., None] * np.asarray(colour)
    return np.clip(picture + noise * np.random.default_rng(int(phase * 100)).standard_normal(picture.shape), 0, 1)


def striped(phases, **settings):
    pictures = [stripes(direction=way, phase=phase, **settings) for phase in phases for way in ("across", "down")]
    return np.stack(pictures), np.tile(np.eye(2), (len(phases), 1))


def test_the_descriptor_of_a_texture_hardly_depends_on_its_place_and_depends_on_its_direction():
    pictures = [stripes(direction="across"), stripes(direction="across", phase=1.5), stripes(direction="down")]
    same, moved, turned = (row[:512] for row in describe(np.stack(pictures)))
    assert np.abs(same - turned).mean() > 5 * np.abs(same - moved).mean()


@pytest.mark.parametrize(("size", "values"), [(24, 704), (70, 704), (5, 704)])
def test_pictures_of_every_size_have_descriptors_of_one_length(size, values):
    found = describe(np.random.default_rng(0).random((2, size, size, 3)))
    assert found.shape == (2, values)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_picture_of_one_colour_has_a_descriptor_without_texture(value):
    found = describe(np.full((1, SIZE, SIZE, 3), value))[0]
    assert found[:512] == pytest.approx(0, abs=2e-3)
    assert (found[-64:] == np.eye(64)[-1 if value else 0]).all()


def test_colours_are_means_of_the_cells_of_a_grid():
    picture = np.zeros((1, SIZE, SIZE, 3))
    picture[:, : SIZE // 4, :, 0] = 0.25  # the first row of cells is red
    means = describe(picture)[0][512 : 512 + 64].reshape(4, 4, 4)
    assert means[0, 0] == pytest.approx([0.5] * 4)  # the root of the mean
    assert means[0, 1:] == pytest.approx(0)
    assert means[1:3] == pytest.approx(0)


def test_the_solution_is_that_of_kernel_ridge_regression():
    images, targets = striped((0.0, 0.7, 1.9), noise=0.1)
    fitted = KernelClassifier.fit([(images, targets)], count=len(images), is_mirrored=False)
    rows = describe(images).astype(np.float64)
    rows = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-3)
    kernel = np.exp(-0.5 * ((rows[:, None] - rows[None]) ** 2).mean(axis=2))
    assert fitted.coefficients == pytest.approx(np.linalg.solve(kernel + 0.1 * np.eye(len(rows)), targets), abs=1e-3)
    values = kernel @ np.linalg.solve(kernel + 0.1 * np.eye(len(rows)), targets)
    found = fitted.probabilities(images, is_mirrored=False)
    assert found.sum(axis=1) == pytest.approx(1)
    assert np.log(found[:, 0] / found[:, 1]) == pytest.approx(6 * (values[:, 0] - values[:, 1]), abs=1e-2)


def test_new_pictures_of_learned_textures_are_recognised():
    images, targets = striped(np.arange(8) * 0.7, noise=0.1)
    fitted = KernelClassifier.fit([(images[:5], targets[:5]), (images[5:], targets[5:])], count=16, is_mirrored=True)
    assert len(fitted.pictures) == 32
    new, labels = striped((0.35, 2.0, 4.1), noise=0.1)
    assert (fitted.probabilities(new, is_mirrored=True).argmax(axis=1) == labels.argmax(axis=1)).all()


def test_mirrored_probabilities_are_those_of_the_mirror_image():
    images, targets = striped((0.0, 0.7, 1.9), noise=0.2)
    fitted = KernelClassifier.fit([(images, targets)], count=len(images), is_mirrored=True)
    found = (fitted.probabilities(pictures, is_mirrored=True) for pictures in (images, images[:, :, ::-1]))
    assert np.subtract(*found) == pytest.approx(0, abs=1e-6)


def test_of_many_pictures_every_nth_is_used_whatever_the_batches(monkeypatch):
    monkeypatch.setattr(kernel_classifier, "_MOST_PICTURES", 4)
    images, targets = striped(np.arange(5) * 0.5, noise=0.2)  # ten: every third, which are four
    whole = KernelClassifier.fit([(images, targets)], count=10, is_mirrored=False)
    parts = [(images[:4], targets[:4]), (images[4:5], targets[4:5]), (images[5:], targets[5:])]
    assert len(whole.pictures) == 4
    assert (KernelClassifier.fit(parts, count=10, is_mirrored=False).pictures == whole.pictures).all()


def test_equal_pictures_give_equal_bytes_and_what_is_saved_is_read_back(tmp_path):
    images, targets = striped((0.0, 0.7), noise=0.2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fitted = KernelClassifier.fit([(images, targets)], count=len(images), is_mirrored=True)
        fitted.save(tmp_path / name)
    assert (tmp_path / "a" / "kernel.npz").read_bytes() == (tmp_path / "b" / "kernel.npz").read_bytes()
    again = KernelClassifier.load(tmp_path / "a").probabilities(images, is_mirrored=True)
    assert (again == fitted.probabilities(images, is_mirrored=True)).all()


def test_the_share_of_the_scores_is_that_of_the_configuration():
    scene, sign = (load_use_case(name).load_config().model.training for name in ("SCENE", "ROAD_SIGN"))
    assert scene.kernel_share > 0
    assert sign.kernel_share == 0


def test_a_classifier_averages_its_parts_and_is_read_back_with_and_without_a_kernel(tmp_path):
    import keras
    from mlops_image_classification.config import ModelChoice
    from mlops_image_classification.model import network
    from mlops_image_classification.model.classifier import Classifier

    keras.utils.set_random_seed(1)
    choice = ModelChoice(name="residual", filters=(4, 8))
    model = network.build(choice, size=SIZE, classes=2, mean=(0.5,) * 3, deviation=(0.3,) * 3)
    images, targets = striped((0.0, 0.7), noise=0.2)
    images = images.astype(np.float32)
    kernel = KernelClassifier.fit([(images, targets)], count=len(images), is_mirrored=False)
    metadata = {"temperature": 1.0, "classes": ["across", "down"]}
    alone = Classifier(model=model, metadata=metadata)
    both = Classifier(model=model, kernel=kernel, kernel_share=0.25, metadata=metadata)
    expected = 0.75 * alone.probabilities(images) + 0.25 * kernel.probabilities(images, is_mirrored=False)
    assert both.probabilities(images) == pytest.approx(expected)
    for name, classifier in (("alone", alone), ("both", both)):
        (tmp_path / name).mkdir()
        classifier.save(tmp_path / name)
        assert Classifier.load(tmp_path / name).scores(images) == classifier.scores(images)
    assert not (tmp_path / "alone" / "kernel.npz").exists()
