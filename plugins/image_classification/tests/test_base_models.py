"""The weights with which a training begins are recorded, and a file of them is checked before anything runs."""

import hashlib

import pytest

from mlops_core import ConfigError, load_use_case
from mlops_core.runners.local.base_models import require_base_models


def base_models(*overrides):
    use_case = load_use_case("SCENE")
    config = use_case.load_config(overrides=["training.model.name=MobileNetV3Small", *overrides])
    return use_case.base_models(config.model)


def test_random_weights_are_no_base_model():
    assert base_models() == ()


def test_weights_of_keras_are_named_with_their_network():
    (model,) = base_models("training.model.weights=imagenet")
    assert (model.name, model.licence, model.source) == ("MobileNetV3Small of Keras, ImageNet", "", "")


def test_a_file_is_recorded_with_its_place_and_digest_and_checked_before_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digest = hashlib.sha256(b"weights").hexdigest()
    found = base_models("training.model.weights=own.h5", f"training.model.weights_sha256={digest}")
    assert [(model.name, model.source, model.sha256) for model in found] == [
        ("own.h5", str(tmp_path / "own.h5"), digest)
    ]
    with pytest.raises(ConfigError, match="base model 'own.h5': no file .*own.h5 on this machine, where the steps run"):
        require_base_models(found)
    (tmp_path / "own.h5").write_bytes(b"weights")
    require_base_models(found)
    (tmp_path / "own.h5").write_bytes(b"others")
    with pytest.raises(ConfigError, match=f"own.h5 has the SHA-256 .*; expected {digest}"):
        require_base_models(found)
