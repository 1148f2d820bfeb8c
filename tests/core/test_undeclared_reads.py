"""Which reads of a step are reported: not those of its own folders, nor of files whose digest the configuration has."""

import tempfile
from pathlib import Path

import pytest

from mlops_core.pipeline import Step, StepKind
from mlops_core.steps.context import StepRequest
from mlops_core.steps.protection import protected

DIGEST = "0f" * 32


def reads_of(tmp_path, path, config=None):
    scratch = tmp_path / "private" / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    request = StepRequest(
        use_case="WORDS",
        step=Step(name="train", kind=StepKind.TRAINING, run="words.steps:train", outputs=("model",)),
        config=config or {},
        parameters={},
        seed=0,
        inputs={},
        outputs={},
        scratch=scratch,
    )
    with protected(request) as observation:
        Path(path).read_bytes()
    return observation().undeclared


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "elsewhere" / "weights.h5"
    path.parent.mkdir()
    path.write_bytes(b"x")
    return path


def test_a_file_elsewhere_is_reported(tmp_path, weights):
    assert reads_of(tmp_path, weights) == (str(weights),)
    assert reads_of(tmp_path, weights, {"model": {"weights": str(weights), "sha256": None}}) == (str(weights),)


def test_a_file_with_its_digest_in_the_configuration_is_part_of_the_key(tmp_path, weights):
    config = {"training": {"model": {"weights": str(weights), "weights_sha256": DIGEST}, "epochs": 1}}
    assert reads_of(tmp_path, weights, config) == ()
    neighbour = weights.with_name("other.h5")
    neighbour.write_bytes(b"y")
    assert reads_of(tmp_path, neighbour, config) == (str(neighbour),)


def test_the_home_folder_is_understood(tmp_path, weights, monkeypatch):
    config = {"general": {"model_path": "~/weights.h5", "model_sha256": DIGEST}}
    with monkeypatch.context() as patch:
        patch.setenv("HOME", str(weights.parent))
        assert reads_of(tmp_path, weights, config) == ()


def test_the_short_name_of_the_private_folder_is_private(tmp_path, monkeypatch):
    private = tmp_path / "private" / "scratch"
    private.mkdir(parents=True)
    (private / "note").write_bytes(b"x")
    short = tmp_path / "short"
    short.symlink_to(private)
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    assert reads_of(tmp_path, short / "note") == ()


def test_a_temporary_folder_that_others_use_is_not_private(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(weights.parent))
    assert reads_of(tmp_path, weights) == (str(weights),)
