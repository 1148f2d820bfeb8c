"""The base models of a configuration: which weights a run begins with, and under which licence."""

import hashlib

import pytest
from mlops_aed.models.pretrained import ZOO_WEIGHTS_SHA256

from mlops_core import ConfigError, prepare_run


def base_models(*overrides):
    return prepare_run("AED", overrides=overrides).pipeline.licences.base_models


def test_random_weights_are_no_base_model():
    assert base_models() == ()
    assert base_models("training.model.name=yamnet", "training.model.pretrained=false") == ()


def test_published_backbone_is_a_base_model_with_its_licence():
    (model,) = base_models("training.model.name=yamnet")
    assert (model.name, model.licence, model.sha256) == ("YAMNet-256", "Apache-2.0", ZOO_WEIGHTS_SHA256)


def test_other_weights_are_of_unknown_licence_unless_they_are_the_published_file(tmp_path):
    path = tmp_path / "mine.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (model,) = base_models(
        "training.model.name=yamnet", f"training.model.weights={path}", f"training.model.weights_sha256={digest}"
    )
    assert (model.name, model.licence, model.sha256) == ("mine.h5", "", digest)
    (same,) = base_models(
        "training.model.name=yamnet",
        f"training.model.weights={path}",
        f"training.model.weights_sha256={ZOO_WEIGHTS_SHA256}",
    )
    assert same.licence == "Apache-2.0"


def test_password_in_the_address_of_weights_is_not_recorded():
    (model,) = base_models("training.model.name=yamnet", "training.model.weights=https://me:secret@example.org/w.h5")
    assert model.name == "w.h5"
    assert "secret" not in model.source


def test_gate_refuses_a_base_model_before_the_run():
    overrides = ("training.model.name=yamnet", "gate.condition=default and base_model_licence in (MIT)")
    with pytest.raises(ConfigError, match="base model 'YAMNet-256' has the licence Apache-2.0"):
        prepare_run("AED", overrides=overrides)


def test_non_commercial_data_can_be_refused_before_the_run():
    overrides = ("dataset.name=ESC-50", "gate.condition=default and dataset_licence in (CC-BY-3.0, CC-BY-4.0)")
    with pytest.raises(ConfigError, match="data set 'ESC-50' has the licence CC-BY-NC-3.0"):
        prepare_run("AED", overrides=overrides)
