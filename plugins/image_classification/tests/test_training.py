"""Networks, batches and training, on pictures of a few pixels."""

import hashlib
import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
from mlops_image_classification.config import DataAugmentation, FineTuning, ImageConfig, ModelChoice, Training
from mlops_image_classification.data.splitting import Sample
from pydantic import ValidationError

from mlops_core import ConfigError, StepError, load_use_case, read_history

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.slow]
SIZE = 32
OFF = DataAugmentation(rotation_deg=0, zoom=0, shift=0, shear=0, brightness=0, contrast=0, saturation=0)


@pytest.fixture(scope="module")
def plugin():
    """Return the modules that import TensorFlow, imported on use."""
    package = "mlops_image_classification"
    rooms = {
        "data": ("records",),
        "model": ("augmentation", "batches", "classifier", "fitting", "network", "transfer"),
        "steps": ("train",),
    }
    names = [f"{room}.{name}" for room, modules in rooms.items() for name in modules]
    return SimpleNamespace(**{name.rpartition(".")[2]: importlib.import_module(f"{package}.{name}") for name in names})


def images(count=8, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (count, SIZE, SIZE, 3)).astype(np.float32)


def seed(number):
    import tensorflow as tf

    return tf.constant([3, number], tf.int64)


def augmented(plugin, batch, number=0, targets=None, **values):
    targets = np.eye(len(batch), dtype=np.float32) if targets is None else targets
    result = plugin.augmentation.augment(batch, targets, seed=seed(number), settings=OFF.model_copy(update=values))
    return np.asarray(result[0]), np.asarray(result[1])


# --- Augmentation -----------------------------------------------------------------------------------------


def test_disabled_augmentation_changes_nothing(plugin):
    batch = images()
    changed, targets = augmented(plugin, batch)
    assert np.abs(changed - batch).max() < 1e-5
    assert (targets == np.eye(8)).all()


@pytest.mark.parametrize(
    "values",
    [
        {"rotation_deg": 20},
        {"zoom": 0.3},
        {"shift": 0.3},
        {"shear": 0.3},
        {"brightness": 0.5},
        {"contrast": 0.5},
        {"saturation": 0.5},
        {"noise": 0.2},
        {"erase": 0.5},
        {"mixup_alpha": 1.0},
        {"cutmix_alpha": 1.0},
        {"horizontal_flip": True},
    ],
)
def test_each_augmentation_depends_on_the_seed_alone(plugin, values):
    batch = images()
    first, again, other = (augmented(plugin, batch, number, **values)[0] for number in (0, 0, 5000))
    assert np.abs(first - batch).max() > 0.01
    assert (first == again).all()
    assert np.abs(first - other).max() > 0.01
    assert first.min() >= 0
    assert first.max() <= 1


def test_signs_are_never_mirrored_and_scenes_are(plugin):
    ramp = np.broadcast_to(np.linspace(0, 1, SIZE, dtype=np.float32)[None, None, :, None], (64, SIZE, SIZE, 3)).copy()
    for use_case, is_mirrored in (("ROAD_SIGN", False), ("SCENE", True)):
        settings = load_use_case(use_case).load_config().model.data_augmentation
        result, _ = augmented(plugin, ramp, **settings.model_copy(update={"mixup_alpha": 0.0}).model_dump())
        rising = result[:, :, SIZE // 2 :].mean(axis=(1, 2, 3)) > result[:, :, : SIZE // 2].mean(axis=(1, 2, 3))
        assert 10 < rising.sum() < 54 if is_mirrored else rising.all()


def test_targets_follow_the_mixed_images(plugin):
    batch = np.zeros((2, SIZE, SIZE, 3), np.float32)
    batch[1] = 1
    mixed, targets = augmented(plugin, batch, mixup_alpha=1.0)
    assert np.allclose(mixed.mean(axis=(1, 2, 3)), targets[:, 1], atol=1e-5)
    three = np.stack([np.full((SIZE, SIZE, 3), value, np.float32) for value in (0, 0.5, 1)])
    pasted, targets = augmented(plugin, three, cutmix_alpha=1.0)
    assert np.allclose(pasted.mean(axis=(1, 2, 3)), targets @ [0, 0.5, 1], atol=1e-5)
    assert np.allclose(targets.sum(axis=1), 1)


# --- Batches ----------------------------------------------------------------------------------------------


def reader(plugin, folder, count=20):
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    for block in (0, 1):
        numbers = range(block * count // 2, (block + 1) * count // 2)
        plugin.records.write_block(folder / f"block-{block}.tfrecord", [(k, pixels[k]) for k in numbers])
    samples = [
        Sample(number=k, name=f"{k}", label="ab"[k % 2], group=f"{k}", part="train") for k in range(count) if k != 3
    ]
    return plugin.batches.PartReader(folder=folder, samples=samples, classes=("a", "b"), size=SIZE), pixels


def test_each_picture_of_a_part_is_read_once_in_order_and_without_loss(plugin, tmp_path):
    part, pixels = reader(plugin, tmp_path)
    result = [(np.asarray(picture), int(label)) for picture, label in part.pictures()]
    numbers = [sample.number for sample in part.samples]
    assert [label for _, label in result] == [number % 2 for number in numbers]
    assert all((picture == pixels[number]).all() for (picture, _), number in zip(result, numbers, strict=True))
    total = sum(len(batch) for batch, _ in part.scoring_batches())
    assert total == len(part.samples)


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_training_batches_are_the_same_for_the_same_seed_and_differ_between_epochs(plugin, tmp_path, cache_mb):
    part, _ = reader(plugin, tmp_path)

    def drawn(number):
        batches = part.training_batches(batch_size=19, seed=number, settings=DataAugmentation(), cache_mb=cache_mb)
        return [np.asarray(batch) for batch, _ in batches.take(2)]

    one, again, other = drawn(1), drawn(1), drawn(2)
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert not (one[0] == other[0]).all()
    assert not (one[0] == one[1]).all()


def test_records_of_equal_pictures_are_equal_bytes(plugin, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        reader(plugin, tmp_path / name)
    a, b = (hashlib.sha256((tmp_path / name / "block-0.tfrecord").read_bytes()).digest() for name in ("a", "b"))
    assert a == b


def test_channel_statistics_are_those_of_the_pixels(plugin, tmp_path):
    part, pixels = reader(plugin, tmp_path)
    used = pixels[[sample.number for sample in part.samples]] / 255
    mean, deviation = plugin.batches.channel_statistics(part)
    assert mean == pytest.approx(used.mean(axis=(0, 1, 2)))
    assert deviation == pytest.approx(used.std(axis=(0, 1, 2)))


# --- Networks ---------------------------------------------------------------------------------------------


def build(plugin, size=SIZE, **values):
    choice = ModelChoice(**{"name": "residual", "filters": (4, 8), **values})
    return plugin.network.build(choice, size=size, classes=3, mean=(0.4, 0.5, 0.6), deviation=(0.2, 0.2, 0.3))


@pytest.mark.parametrize("name", ["residual", "MobileNetV3Small"])
def test_a_network_returns_probabilities_and_its_file_is_read_back_byte_by_byte(plugin, tmp_path, name):
    model = build(plugin, name=name)
    before = np.asarray(model(images(2), training=False))
    assert before.shape == (2, 3)
    assert np.allclose(before.sum(axis=1), 1, atol=1e-5)
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        plugin.network.save(model, folder, {"classes": ["x", "y", "z"]})
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    again, metadata = plugin.network.load(tmp_path / "a")
    assert metadata == {"classes": ["x", "y", "z"]}
    assert (np.asarray(again(images(2), training=False)) == before).all()


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_pretrained_weights_are_read_from_a_file_in_both_of_keras_layouts(plugin, tmp_path, suffix):
    import keras

    source = keras.applications.MobileNetV3Small(
        weights=None, include_top=False, input_shape=(SIZE, SIZE, 3), pooling="avg"
    )
    path = tmp_path / f"pretrained{suffix}"
    if suffix == ".h5":  # the layout of the files that Keras publishes
        h5py = pytest.importorskip("h5py")
        from keras.src.legacy.saving import legacy_h5_format

        with h5py.File(path, "w") as stream:
            legacy_h5_format.save_weights_to_hdf5_group(stream, source)
    else:
        source.save_weights(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = build(plugin, name="MobileNetV3Small", weights=str(path), weights_sha256=digest)
    backbone = model.get_layer("backbone")
    assert all((a == b).all() for a, b in zip(backbone.get_weights(), source.get_weights(), strict=True))
    with pytest.raises(ConfigError, match="pretrained.* does not fit"):
        build(plugin, name="MobileNetV3Large", weights=str(path), weights_sha256=digest)
    with pytest.raises(ConfigError, match=f"has the SHA-256 {digest}; expected {'0' * 64}"):
        build(plugin, name="MobileNetV3Small", weights=str(path), weights_sha256="0" * 64)
    with pytest.raises(ConfigError, match="absent.h5 cannot be read: No such file"):
        build(plugin, name="MobileNetV3Small", weights=str(tmp_path / "absent.h5"), weights_sha256=digest)


def test_a_failed_download_of_imagenet_weights_is_one_clear_error(plugin, tmp_path, monkeypatch):
    import keras

    def refuse(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", refuse)  # whatever the proxy says
    monkeypatch.setattr(keras.config, "_KERAS_DIR", str(tmp_path), raising=False)
    monkeypatch.setattr(keras.src.utils.file_utils.config, "keras_home", lambda: str(tmp_path))
    with pytest.raises(
        StepError, match="the imagenet weights of MobileNetV3Small cannot be fetched: .*set it to a file"
    ):
        build(plugin, size=224, name="MobileNetV3Small", weights="imagenet")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "residual", "weights": "imagenet"}, "'residual' starts from random weights"),
        ({"name": "MobileNetV3Small", "weights": "w.h5"}, "need weights_sha256"),
        ({"name": "MobileNetV3Small", "weights": "imagenet", "weights_sha256": "0" * 64}, "weights is not a file"),
        ({"name": "MobileNetV9"}, "Input should be"),
    ],
)
def test_impossible_choices_of_a_network_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        ModelChoice(**values)


def test_an_image_size_that_an_application_cannot_take_is_refused():
    with pytest.raises(ValidationError, match="image_size 24 is below 32, the minimum of MobileNetV3Small"):
        ImageConfig(
            dataset={"name": "x"},
            gate={"accuracy": 0.5},
            preprocessing={"image_size": 24},
            training={"model": {"name": "MobileNetV3Small"}},
        )


# --- Fitting ----------------------------------------------------------------------------------------------


def shades(count=60):
    """Return noisy pictures of three shades."""
    labels = np.arange(count) % 3
    draw = np.random.default_rng(1)
    pixels = 0.3 + 0.2 * labels[:, None, None, None] + 0.1 * draw.standard_normal((count, SIZE, SIZE, 3))
    return pixels.astype(np.float32), np.eye(3, dtype=np.float32)[labels]


def fit(plugin, model, settings, phase=None, weights=None, data=None):
    import tensorflow as tf

    x, y = data or shades()
    training = iter(tf.data.Dataset.from_tensor_slices((x, y)).repeat().batch(20))
    batches = plugin.fitting.Batches(
        training=training, per_epoch=3, validation=tf.data.Dataset.from_tensor_slices((x, y)).batch(30)
    )
    fitter = plugin.fitting.Fitter(model, settings=settings, class_weights=np.ones(3) if weights is None else weights)
    phase = phase or plugin.transfer.phases(settings)[0]
    best = fitter.fit(phase, batches, on_epoch=lambda _record: None)
    return fitter.history, best


SETTINGS = Training(epochs=12, patience=12, perfect_epochs=12, learning_rate=0.01, ema_momentum=0.5, warmup_epochs=1)


def test_a_network_learns_and_the_same_seed_gives_the_same_weights(plugin):
    import keras

    result = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        model = build(plugin)
        history, best = fit(plugin, model, SETTINGS)
        result.append(model.get_weights())
    assert history[best - 1].validation_accuracy > 0.95
    assert history[best - 1].validation_loss < 0.6 * history[0].validation_loss
    assert all((a == b).all() for a, b in zip(*result, strict=True))


def test_it_stops_when_the_validation_loss_does_not_fall_and_keeps_the_best_weights(plugin):
    import keras

    keras.utils.set_random_seed(1)
    x, y = shades()
    settings = SETTINGS.model_copy(
        update={"epochs": 50, "patience": 2, "perfect_epochs": 50, "learning_rate": 0.5, "ema_momentum": 0.0}
    )
    model = build(plugin)
    history, best = fit(plugin, model, settings, data=(x, np.roll(y, 1, axis=0)))
    assert len(history) == best + 2 < 50
    assert history[best - 1].validation_loss == min(record.validation_loss for record in history)
    scores = np.asarray(model(x, training=False))
    kept = float(np.mean(-np.log(np.maximum(scores[np.roll(y, 1, axis=0) > 0], 1e-7))))
    assert kept == pytest.approx(history[best - 1].validation_loss, abs=1e-3)


def test_it_stops_after_enough_epochs_without_a_misclassified_validation_picture(plugin):
    import keras

    keras.utils.set_random_seed(1)
    settings = SETTINGS.model_copy(update={"epochs": 60, "patience": 60, "perfect_epochs": 3})
    history, _ = fit(plugin, build(plugin), settings)
    assert len(history) < 60
    assert [record.validation_accuracy for record in history[-3:]] == [1.0, 1.0, 1.0]
    assert [record.validation_accuracy for record in history[-4:-1]] != [1.0, 1.0, 1.0]


def test_class_weights_make_rare_classes_count_more(plugin):
    labels = ["a"] * 16 + ["b"] * 4
    samples = [Sample(number=k, name="", label=label, group="", part="") for k, label in enumerate(labels)]
    part = plugin.batches.PartReader(folder=None, samples=samples, classes=("a", "b"), size=SIZE)
    assert plugin.train.class_weights(part, "none") == pytest.approx([1, 1])
    balanced, root = plugin.train.class_weights(part, "balanced"), plugin.train.class_weights(part, "sqrt")
    assert balanced[1] / balanced[0] == pytest.approx(4)
    assert root[1] / root[0] == pytest.approx(2)
    for weights in (balanced, root):  # the mean over the pictures stays 1, and with it the learning rate's meaning
        assert (16 * weights[0] + 4 * weights[1]) / 20 == pytest.approx(1)


def test_class_weights_reach_the_loss(plugin):
    import keras

    losses = []
    for weights in (np.ones(3), *3 * np.eye(3)):
        keras.utils.set_random_seed(1)
        still = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
        history, _ = fit(plugin, build(plugin, dropout=0.0), still, weights=weights)
        losses.append(history[0].loss)
    assert sum(losses[1:]) == pytest.approx(3 * losses[0], rel=1e-3)
    assert max(losses[1:]) > 1.05 * min(losses[1:])


def test_pretrained_weights_are_tuned_in_two_phases_and_random_ones_in_one(plugin):
    tuned = Training(
        model=ModelChoice(name="MobileNetV3Small", weights="imagenet"),
        fine_tuning=FineTuning(head_epochs=4, learning_rate=0.001),
    )
    head, rest = plugin.transfer.phases(tuned)
    assert (head.name, head.epochs, head.learning_rate) == ("head", 4, tuned.learning_rate)
    assert (rest.name, rest.epochs, rest.learning_rate) == ("fine tuning", tuned.epochs, 0.001)
    assert [phase.name for phase in plugin.transfer.phases(Training())] == ["whole"]


def test_only_the_head_is_trained_first_then_the_upper_layers_and_never_their_normalisations(plugin):
    tuned = Training(
        model=ModelChoice(name="MobileNetV3Small", weights="imagenet"),
        fine_tuning=FineTuning(head_epochs=1, learning_rate=0.01),
        epochs=1,
    )
    model = build(plugin, name="MobileNetV3Small")
    backbone = model.get_layer("backbone")
    for phase in plugin.transfer.phases(tuned):
        before = [np.array(weight) for weight in backbone.weights]
        plugin.transfer.set_trainable(model, phase, trained_share=0.2)
        fit(plugin, model, tuned, phase=phase)
        changed = {
            weight.path
            for weight, old in zip(backbone.weights, before, strict=True)
            if not np.array_equal(weight, old) and "moving" not in weight.path
        }
        assert changed == {weight.path for weight in backbone.trainable_weights}
        if phase.name == "head":
            assert not changed
        else:
            assert 0 < len(changed) < len(backbone.weights) / 3
            assert not any("_bn/" in path for path in changed)


def test_a_final_phase_follows_the_last_one_with_a_lower_learning_rate(plugin):
    settings = Training(epochs=40, learning_rate=0.01, final_share=0.25)
    (whole,) = plugin.transfer.phases(settings)
    final = plugin.transfer.final_phase(settings, whole, epochs=30)
    assert (final.name, final.epochs) == ("final", 8)
    assert 0 < final.learning_rate < whole.learning_rate
    assert plugin.transfer.final_phase(settings, whole, epochs=1).epochs == 1
    assert plugin.transfer.final_phase(Training(), whole, epochs=30) is None


def test_a_phase_without_validation_runs_to_its_end_and_keeps_its_last_weights(plugin):
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    x, y = shades()
    model = build(plugin)
    fitter = plugin.fitting.Fitter(model, settings=SETTINGS, class_weights=np.ones(3))
    (phase,) = plugin.transfer.phases(SETTINGS.model_copy(update={"patience": 1, "perfect_epochs": 1}))
    batches = plugin.fitting.Batches(
        training=iter(tf.data.Dataset.from_tensor_slices((x, y)).repeat().batch(20)), per_epoch=3, validation=None
    )
    before = model.get_weights()
    assert fitter.fit(phase, batches, on_epoch=lambda _record: None) == len(fitter.history) == SETTINGS.epochs
    assert all(np.isnan([record.validation_loss, record.validation_accuracy]).all() for record in fitter.history)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    assert np.mean(np.argmax(model(x, training=False), axis=1) == np.argmax(y, axis=1)) > 0.9


# --- Scores -----------------------------------------------------------------------------------------------


def test_mirrored_scores_are_the_mean_of_a_picture_and_its_mirror_image(plugin):
    import keras

    keras.utils.set_random_seed(1)
    model, batch = build(plugin), images(4)
    plain, mirrored = (
        np.array(plugin.classifier.Classifier(model=model).scores(pictures)) for pictures in (batch, batch[:, :, ::-1])
    )
    averaged = np.array(plugin.classifier.Classifier(model=model, is_mirrored=True).scores(batch))
    assert np.abs(plain - mirrored).max() > 1e-3
    assert averaged == pytest.approx((plain + mirrored) / 2, abs=2e-6)


def test_scores_of_the_centre_are_averaged_with_those_of_the_picture_and_both_are_mirrored(plugin):
    import keras

    keras.utils.set_random_seed(1)
    model, batch = build(plugin), images(4)

    def scores(pictures, centre):
        return plugin.network.probabilities(model, pictures, is_mirrored=False, centre=centre)

    enlarged = np.asarray(plugin.network._enlarged_centre(batch, 0.5))
    centred = (scores(batch, 0) + scores(enlarged, 0)) / 2
    assert np.abs(scores(batch, 0) - centred).max() > 1e-4
    assert scores(batch, 0.5) == pytest.approx(centred, abs=1e-6)
    both = plugin.classifier.Classifier(model=model, is_mirrored=True, centre=0.5).scores(batch)
    assert np.array(both) == pytest.approx((scores(batch, 0.5) + scores(batch[:, :, ::-1], 0.5)) / 2, abs=1e-5)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_the_centre_is_enlarged_to_the_size_of_the_picture(plugin, share):
    picture = np.full((1, SIZE, SIZE, 3), 0.2, np.float32)
    picture[:, :, SIZE // 2 :] = 0.8
    enlarged = np.asarray(plugin.network._enlarged_centre(picture, share))
    assert enlarged.shape == picture.shape
    assert enlarged[0, :, 0] == pytest.approx(0.2, abs=1e-6)
    assert enlarged[0, :, -1] == pytest.approx(0.8, abs=1e-6)


def test_mirrored_scores_need_training_on_mirrored_pictures():
    scene, sign = (load_use_case(name).load_config().model for name in ("SCENE", "ROAD_SIGN"))
    assert scene.training.mirrored_scores
    assert not sign.training.mirrored_scores
    with pytest.raises(ConfigError, match="scores mirrored pictures, but the network is not trained on any; set"):
        load_use_case("ROAD_SIGN").load_config(overrides=["training.mirrored_scores=true"])


def test_the_temperature_corrects_confidence_and_changes_no_decision():
    from mlops_image_classification.model.calibration import best_temperature, with_temperature

    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 4000)
    logits = 2 * np.eye(3)[labels] + draw.standard_normal((4000, 3))  # honest logits: log-odds of their own noise
    honest = with_temperature(np.exp(2 * logits) / np.exp(2 * logits).sum(1, keepdims=True), 1.0)
    unsure = with_temperature(honest, 3.0)
    assert best_temperature(honest, labels) == pytest.approx(1.0, abs=0.1)
    assert best_temperature(unsure, labels) == pytest.approx(1 / 3, abs=0.05)
    mended = with_temperature(unsure, best_temperature(unsure, labels))
    assert (mended.argmax(1) == unsure.argmax(1)).all()
    assert np.abs(mended - honest).max() < 0.1


def test_the_history_counts_epochs_through_all_phases(plugin, tmp_path):
    records = [
        plugin.fitting.EpochRecord(
            phase=phase, epoch=epoch, loss=2.0 / k, validation_loss=1.0 / k, validation_accuracy=k / 10
        )
        for k, (phase, epoch) in enumerate([("head", 1), ("head", 2), ("fine tuning", 1)], 1)
    ]
    plugin.train._write_history(tmp_path, records)
    assert (tmp_path / "history.csv").read_text().startswith("epoch,loss,validation_loss,validation_accuracy\n1,")
    assert [(row.step, row.values) for row in read_history(tmp_path / "history.csv")] == [
        (k, {"loss": 2.0 / k, "validation_loss": 1.0 / k, "validation_accuracy": k / 10}) for k in (1, 2, 3)
    ]


def test_the_hyperparameters_are_a_flat_object_of_strings(plugin):
    result = plugin.train._flattened(json.loads(Training().model_dump_json()))
    assert result["model_filters"] == "[32, 64, 128, 256]"
    assert result["learning_rate"] == "0.002"
    assert result["model_weights"] == "null"
    assert result["class_weights"] == "none"
