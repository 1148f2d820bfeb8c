"""Every available network: its size, training, storage and scores; frozen or fine-tuned."""

import csv
import json
import re

import h5py
import numpy as np
import pytest
from mlops_aed.config import AedConfig
from mlops_aed.data.clips import Clip, write_split
from mlops_aed.models import model_folder, scorers
from mlops_aed.pipeline_steps import steps
from mlops_aed.training.config import ModelChoice
from mlops_aed.training.levels import Levels

from mlops_core import ConfigError, StepContext, load_use_case, row_digest
from mlops_core.steps.context import StepRequest

CLASSES = ("high", "low", "middle")
TRUE = np.arange(48) % 3
PARTS = ("train", "train", "validation", "test")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
BLOCKS = ((32, 64), (64, 128), (128, 128), (128, 256), (256, 256))


def write_features(folder, *, frames=96):
    """Patches of three classes that are loud in different bands, and their split."""
    draw = np.random.default_rng(1)
    patches = draw.normal(-4, 1, (48, 64, frames)).astype("<f4")
    clips = []
    for n in range(48):
        low = 20 * (n % 3)
        patches[n, low : low + 20] += 3
        clips.append(
            Clip(
                name=f"{n}.wav",
                label=CLASSES[n % 3],
                group=f"g{n}",
                fold=1,
                part=PARTS[n // 3 % 4],
                digest=row_digest([str(n)]),
            )
        )
    (folder / "features").mkdir()
    (folder / "split").mkdir()
    (folder / "features" / "patches.f32").write_bytes(patches.tobytes())
    rows = [f"{clip.part},{clip.label},{clip.group},{clip.name},0" for clip in clips]
    (folder / "features" / "patches.csv").write_text("\n".join(["part,label,group,clip,patch", *rows, ""]))
    header = {"patches": 48, "shape": [64, frames], "classes": CLASSES, "left_out": []}
    (folder / "features" / "features.json").write_text(json.dumps(header))
    write_split(folder / "split", clips)
    return patches


def train(tmp_path, training, *, general=None, frames=96, gain_db=0):
    """Execute the step `train`; return the folder of the model."""
    from mlops_aed.steps.train import train as train_step

    quiet = {"mixup_alpha": 0, "time_mask": 0, "frequency_mask": 0, "time_shift": 0, "gain_db": gain_db}
    given = {"training": training, "general": general or {}, "feature_extraction": {"patch_length": frames}}
    given["data_augmentation"] = quiet
    config = AedConfig.model_validate(given)
    step = next(step for step in steps(config) if step.name == "train")
    sections = json.loads(config.model_dump_json())
    for name in ("model", "scratch"):
        (tmp_path / name).mkdir()
    request = StepRequest(
        use_case="AED",
        step=step,
        config={name: sections[name] for name in step.config},
        parameters={},
        seed=0,
        inputs={name: tmp_path / name for name in step.inputs},
        outputs={"model": tmp_path / "model"},
        scratch=tmp_path / "scratch",
    )
    train_step(StepContext(request))
    return tmp_path / "model"


def scores_of(folder, patches):
    return scorers.scores(scorers.open_scorer(folder), patches, model_folder.read_metadata(folder))


def accuracy(scores):
    return np.mean([CLASSES[place] == CLASSES[n % 3] for n, place in enumerate(scores.argmax(axis=1))])


def write_weights(path):
    """YAMNet's arrays, drawn at random, in the groups of a file of Keras 2."""
    draw = np.random.default_rng(5)
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights/model_2")

        def add(name, kind, shape, filters):
            fan_in = np.prod(shape[:2]) * (1 if kind == "depthwise_kernel" else shape[2])
            group[f"{name}/{kind}:0"] = draw.normal(0, np.sqrt(2 / fan_in), shape)
            group[f"{name}/bn/beta:0"] = np.zeros(filters)
            group[f"{name}/bn/moving_mean:0"] = np.zeros(filters)
            group[f"{name}/bn/moving_variance:0"] = np.ones(filters)

        add("layer1/conv", "kernel", (3, 3, 1, 32), 32)
        for number, (before, after) in enumerate(BLOCKS, 2):
            add(f"layer{number}/depthwise_conv", "depthwise_kernel", (3, 3, before, 1), before)
            add(f"layer{number}/pointwise_conv", "kernel", (1, 1, before, after), after)
    return str(path)


@pytest.mark.representatives(2)
@pytest.mark.parametrize(
    ("choice", "shape", "published"),
    [
        ({"name": "yamnet", "pooling": "avg"}, (64, 96), 130_000),
        ({"name": "miniresnet"}, (64, 50), 135_000),
        ({"name": "miniresnet", "n_stacks": 2}, (64, 50), 450_000),
        ({"name": "miniresnetv2"}, (64, 50), 125_000),
        ({"name": "miniresnetv2", "n_stacks": 2}, (64, 50), 440_000),
    ],
)
def test_networks_have_the_published_number_of_weights(choice, shape, published):
    from mlops_aed.models import architectures

    model = architectures.build(ModelChoice.model_validate(choice), shape=shape, classes=10)
    assert model.input_shape[1:] == (*shape, 1)
    assert model.output_shape[1:] == (10,)
    assert abs(model.count_params() - published) < 0.08 * published


@pytest.mark.representatives(2)
@pytest.mark.parametrize(("pooling", "values"), [("avg", 256), ("max", 256), ("multi", 768), (None, 768)])
def test_yamnet_returns_the_values_of_its_pooling(pooling, values):
    from mlops_aed.models import architectures

    choice = ModelChoice(name="yamnet", pooling=pooling)
    model = architectures.build(choice, shape=(64, 96), classes=4)
    assert model.get_layer("embedding").output.shape[1] == values


STEPS = {"steps": 60, "patience": 60, "batch_size": 12}


@pytest.mark.representatives(1)
@pytest.mark.parametrize(
    ("model", "frames"),
    [
        ({"name": "residual", "filters": [8, 16]}, 96),
        ({"name": "miniresnet", "pooling": "avg", "dropout": 0}, 50),
        ({"name": "miniresnetv2", "pooling": "max", "dropout": 0}, 50),
    ],
)
def test_a_network_learns_from_random_weights_and_is_kept(tmp_path, model, frames):
    patches = write_features(tmp_path, frames=frames)
    folder = train(tmp_path, {"model": model, **STEPS}, frames=frames)
    with (folder / "history.csv").open() as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    assert losses[-1] < 0.9 < np.log(3)  # less than that of a guess
    scores = scores_of(folder, patches)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert model_folder.read_metadata(folder)["classes"] == list(CLASSES)


def backbone(folder):
    """The kernels and batch statistics before the head, by layer."""
    from mlops_aed.models import network

    model, _ = network.load(folder)
    return {layer.name: layer.get_weights() for layer in model.layers[:-1] if layer.weights}


def differing(first, second):
    return [name for name in first if any((a != b).any() for a, b in zip(first[name], second[name], strict=True))]


def yamnet(tmp_path, **more):
    return {"name": "yamnet", "dropout": 0, "pooling": "avg", "weights": write_weights(tmp_path / "w.h5"), **more}


def pretrained(path):
    import keras
    from mlops_aed.models import architectures
    from mlops_aed.models import yamnet as backbones

    model = architectures.build(ModelChoice(name="yamnet", pooling="avg", dropout=0), shape=(64, 96), classes=3)
    assert isinstance(model, keras.Model)
    backbones.load_pretrained(model, path)
    return {layer.name: layer.get_weights() for layer in model.layers[:-1] if layer.weights}


EPOCHS = {"epochs": 6, "batch_size": 8, "optimizer": {"Adam": {"learning_rate": 0.01}}}


@pytest.mark.representatives(1)
@pytest.mark.parametrize("training", [{}, EPOCHS], ids=["to convergence", "by epochs"])
def test_a_frozen_backbone_stays_as_it_is_and_its_head_learns(tmp_path, training):
    patches = write_features(tmp_path)
    folder = train(tmp_path, {"model": yamnet(tmp_path), **training})
    assert differing(backbone(folder), pretrained(tmp_path / "w.h5")) == []
    assert accuracy(scores_of(folder, patches)) > 0.6
    with (folder / "history.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == training.get("epochs", 1)


@pytest.mark.slow_suite
def test_with_a_gain_the_head_of_a_frozen_backbone_recognises_quieter_and_louder_recordings(tmp_path):
    def losses(gain_db):
        folder = tmp_path / f"gain {gain_db}"
        folder.mkdir()
        patches = write_features(folder)
        model = train(folder, {"model": yamnet(folder), "head_penalty": 0.01}, gain_db=gain_db)
        return [
            -np.log(scores_of(model, Levels().amplified(patches, change))[np.arange(48), TRUE]).mean()
            for change in (-15, 15)
        ]

    assert all(with_gain < without for with_gain, without in zip(losses(15), losses(0), strict=True))


def test_a_fine_tuned_backbone_changes_but_not_its_statistics(tmp_path):
    write_features(tmp_path)
    folder = train(tmp_path, {"model": yamnet(tmp_path), "fine_tune": True, **EPOCHS, "epochs": 2})
    changed = differing(backbone(folder), pretrained(tmp_path / "w.h5"))
    assert "layer1_conv" in changed
    assert "layer6_pointwise_conv" in changed
    assert [name for name in changed if name.endswith("_bn")] == []


def build_custom(shape, classes):
    import keras

    inputs = keras.Input(shape)
    pooled = keras.layers.AveragePooling2D((4, shape[1]))(inputs)
    outputs = keras.layers.Dense(classes, activation="softmax")(keras.layers.Flatten()(pooled))
    return keras.Model(inputs, outputs)


CUSTOM = """
def build(shape, classes):
    import keras
    inputs = keras.Input(shape)
    pooled = keras.layers.Flatten()(keras.layers.AveragePooling2D((4, shape[1]))(inputs))
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(pooled))

def other_input(shape, classes):
    import keras
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(classes)])

def nothing(shape, classes):
    return None
"""


@pytest.fixture
def custom_code(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "my_networks.py").write_text(CUSTOM, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    return "my_networks"


def test_a_custom_network_is_trained(tmp_path, custom_code):
    patches = write_features(tmp_path)
    folder = train(
        tmp_path, {"model": {"name": "custom", "code": f"{custom_code}:build"}, **STEPS, "learning_rate": 0.1}
    )
    assert accuracy(scores_of(folder, patches)) > 0.8


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "returned NoneType; expected a keras.Model"),
        ("other_input", r"returned a model from \(3,\) to \(3,\); expected \(64, 96, 1\) to \(3,\)"),
        ("missing", "missing"),
    ],
)
def test_code_that_returns_something_else_is_named(tmp_path, custom_code, function, message):
    from mlops_aed.models import architectures

    choice = ModelChoice(name="custom", code=f"{custom_code}:{function}")
    with pytest.raises(Exception, match=message) as caught:
        architectures.build(choice, shape=(64, 96), classes=3)
    assert "my_networks" in str(caught.value)


def test_a_network_from_a_file_is_trained_further(tmp_path):
    import keras

    patches = write_features(tmp_path)
    model = build_custom((64, 96, 1), 3)
    model.save(tmp_path / "start.keras")
    before = accuracy(model.predict(patches[..., None], verbose=0))
    general = {"model_path": str(tmp_path / "start.keras")}
    epochs = {"epochs": 15, "batch_size": 8, "optimizer": {"Adam": {"learning_rate": 0.05}}}
    folder = train(tmp_path, {"model": {"name": "file"}, **epochs}, general=general)
    found = keras.models.model_from_json((folder / "architecture.json").read_text())
    assert [type(layer) for layer in found.layers] == [type(layer) for layer in model.layers]
    assert accuracy(scores_of(folder, patches)) > max(0.8, before)


def test_a_file_that_does_not_fit_is_not_trained_further(tmp_path):
    write_features(tmp_path)
    build_custom((64, 96, 1), 5).save(tmp_path / "start.keras")
    general = {"model_path": str(tmp_path / "start.keras")}
    expected = r"maps \(64, 96, 1\) to \(5,\); expected \(64, 96, 1\) to \(3,\)"
    with pytest.raises(ConfigError, match=expected):
        train(tmp_path, {"model": {"name": "file"}, "epochs": 1}, general=general)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.model.name=resnet", r"training\.model\.name: 'resnet': input should be 'residual', 'yamnet'"),
        ("training.model.n_stacks=3", r"training\.model\.n_stacks: 3: input should be 1 or 2"),
        ("training.model.pooling=multi", r"training\.model\.pooling: multi belongs to yamnet; legal for residual: avg"),
        ("training.model.embedding_size=512", r"training\.model\.embedding_size: 512: input should be 256"),
        ("training.model.name=custom", r"training\.model\.code: 'package\.module:function' belongs to name: custom"),
        ("training.model.dropout=1", r"training\.model\.dropout: 1.*: input should be less than 1"),
        ("training.model.name=file", r"general\.model_path: is not set, and training\.model\.name is file"),
        (
            "training.optimizer={Adam: {}}",
            r"training\.epochs: is not set; optimizer and callbacks belong to",
        ),
    ],
)
def test_a_choice_that_is_not_legal_is_named(override, message):
    with pytest.raises(ConfigError) as caught:
        load_use_case("AED").load_config(overrides=[override])
    assert re.search(message, str(caught.value)), caught.value


def test_yamnet_needs_the_features_that_it_was_made_for():
    overrides = ["training.model.name=yamnet", "feature_extraction.patch_length=50"]
    expected = (
        r"training\.model\.name: yamnet takes patches of 64 mels and 96 frames; feature_extraction produces \(64, 50\)"
    )
    with pytest.raises(ConfigError, match=expected):
        load_use_case("AED").load_config(overrides=overrides)
