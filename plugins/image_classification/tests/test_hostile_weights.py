"""A file with pretrained weights reaches no other file, and declares no more than it holds."""

import hashlib
import os

import h5py
import keras
import numpy as np
import pytest
from mlops_image_classification.config import ModelChoice
from mlops_image_classification.model.network import _load_weights
from pydantic import ValidationError

from mlops_core import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def network():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="scores")], name="small")


def external(file, place):
    file[place] = h5py.ExternalLink("other.h5", "/secret")


def stored_elsewhere(file, place):
    file.create_dataset(place, (4, 3), "f4", external=[("secret.bin", 0, 48)])


def huge(file, place):
    file.create_dataset(place, (1 << 38,), "f4")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (external, "is a link to '/secret' in the file 'other.h5'"),
        (stored_elsewhere, "keeps its data in another file"),
        (huge, "far more than the .* bytes of the file"),
    ],
)
def test_weights_that_reach_outside_or_declare_too_much_are_refused_by_name(tmp_path, fault, message):
    path = tmp_path / "w.weights.h5"
    network().save_weights(path)
    with h5py.File(path, "a") as file:
        (place,) = [name for name in everything(file) if name.startswith("layers/") and name.endswith("vars/0")]
        del file[place]
        fault(file, place)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ConfigError, match=f"training.model.weights: .*w.weights.h5: '{place}' .*{message}"):
        _load_weights(network(), path, sha256=digest)


def everything(file):
    names = []
    file.visit(names.append)
    return names


def test_plain_weights_are_read_and_a_pipe_is_refused(tmp_path):
    source, target = network(), network()
    source.save_weights(tmp_path / "w.weights.h5")
    digest = hashlib.sha256((tmp_path / "w.weights.h5").read_bytes()).hexdigest()
    _load_weights(target, tmp_path / "w.weights.h5", sha256=digest)
    assert all(map(np.array_equal, source.get_weights(), target.get_weights()))
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(ConfigError, match="pipe.h5 is not a regular file"):
        _load_weights(target, tmp_path / "pipe.h5", sha256=digest)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        (b"<!DOCTYPE html><title>404</title>", "is a web page"),
        (b"", "is not an HDF5 file"),
        (b"PK\x03\x04", "is not an HDF5 file"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused_with_the_configuration(tmp_path, content, message):
    path = tmp_path / "w.weights.h5"
    path.write_bytes(content)
    with pytest.raises(ValidationError, match=f"w.weights.h5 {message}"):
        ModelChoice(name="MobileNetV3Small", weights=str(path), weights_sha256="0" * 64)
    path.unlink()
    assert ModelChoice(name="MobileNetV3Small", weights=str(path), weights_sha256="0" * 64).weights == str(path)
