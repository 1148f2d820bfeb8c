"""Models of other programs, loaded with ``general.model_path``: each format, and its faults."""

import csv
import json
import shutil
import subprocess
import sys
import tarfile
import wave
from dataclasses import asdict

import h5py
import numpy as np
import pytest
from mlops_aed.config import AedConfig
from mlops_aed.models import model_folder, scorers
from mlops_aed.models.class_order import ordered_classes, require_order
from mlops_aed.pipeline_steps import steps
from pydantic import ValidationError

import mlops_core
from mlops_core import ConfigError, StepContext, load_use_case
from mlops_core.steps.context import StepRequest
from mlops_core.workspace.store import Store

CLASSES = ("bass", "hum", "tone", "whistle")
MELS, FRAMES = 64, 96
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning"),
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),
]


def some_patches():
    """24 patches; those of each class are loud in its quarter of the mel bands."""
    draw = np.random.default_rng(1)
    patches = draw.normal(-4, 1, (24, MELS, FRAMES)).astype("<f4")
    for index in range(24):
        quarter = index % 4
        patches[index, 16 * quarter : 16 * quarter + 16] += 3
    return patches


def write_features(folder):
    folder.mkdir()
    (folder / "patches.f32").write_bytes(some_patches().tobytes())
    rows = [f"{('train', 'validation', 'test')[n % 3]},{CLASSES[n % 4]},g{n},c{n}.wav,0" for n in range(24)]
    (folder / "patches.csv").write_text("part,label,group,clip,patch\n" + "\n".join(rows) + "\n", encoding="utf-8")
    header = {"patches": 24, "shape": [MELS, FRAMES], "classes": CLASSES, "left_out": []}
    (folder / "features.json").write_text(json.dumps(header), encoding="utf-8")


def network(*, order=CLASSES, shape=(MELS, FRAMES, 1), classes=4, name="scores"):
    """A network that returns the mean of each quarter, as scores in `order`."""
    import keras

    inputs = keras.Input(shape)
    means = keras.layers.Flatten()(keras.layers.AveragePooling2D((shape[0] // 4, shape[1]))(inputs))
    model = keras.Model(inputs, keras.layers.Dense(classes, activation="softmax", name=name)(means))
    kernel = np.zeros((4, classes), "f4")
    for place, label in enumerate(order[:classes]):
        kernel[CLASSES.index(label), place] = 2
    model.layers[-1].set_weights([kernel, np.zeros(classes, "f4")])
    return model


def keras_2_config():
    """The network as Keras 2 describes it, with ``/`` in the names of its layers."""

    def layer(kind, name, inbound, **config):
        nodes = [[[inbound, 0, 0, {}]]] if inbound else []
        config = {"name": name, "trainable": True, "dtype": "float32", **config}
        return {"class_name": kind, "config": config, "name": name, "inbound_nodes": nodes}

    pool = {"pool_size": [16, 96], "padding": "valid", "strides": [16, 96], "data_format": "channels_last"}
    initial = {"class_name": "GlorotUniform", "config": {"seed": None}}
    dense = {"units": 4, "activation": "softmax", "use_bias": True, "kernel_initializer": initial}
    shape = {"batch_input_shape": [None, MELS, FRAMES, 1], "sparse": False, "ragged": False}
    layers = [
        layer("InputLayer", "patch/in", None, **shape),
        layer("AveragePooling2D", "body/pool", "patch/in", **pool),
        layer("Flatten", "body/flat", "body/pool", data_format="channels_last"),
        layer("Dense", "head/scores", "body/flat", **dense),
    ]
    layers[0]["config"].pop("trainable")
    ends = {"input_layers": [["patch/in", 0, 0]], "output_layers": [["head/scores", 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "zoo/model", "layers": layers, **ends}}


def write_keras_2(path, config=None):
    config = config or keras_2_config()
    kernel, bias = network().layers[-1].get_weights()
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.9.0", "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        weights = file.create_group("model_weights")
        names = [layer["config"]["name"] for layer in config["config"]["layers"]]
        weights.attrs["layer_names"] = [name.encode() for name in names]
        weights.attrs["keras_version"], weights.attrs["backend"] = b"2.9.0", b"tensorflow"
        for name in names:
            group = weights.create_group(name)
            found = {f"{name}/kernel:0": kernel, f"{name}/bias:0": bias} if name == "head/scores" else {}
            group.attrs["weight_names"] = [key.encode() for key in found] or np.array([], dtype="S1")
            for key, value in found.items():
                group[key] = value
    return path


def write_tflite(path, model=None):
    from mlops_aed.config import Quantization
    from mlops_aed.export.quantization import to_tflite

    path.write_bytes(to_tflite(model or network(), some_patches(), Quantization()))
    return path


def write_onnx(path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    from mlops_aed.export.onnx_export import export

    model = network()
    model.predict(some_patches()[:1, ..., None], verbose=0)  # Keras exports a model only after it was called
    export(model, path)
    return path


def write_keras_3(path):
    network().save(path)
    return path


WRITERS = {
    "model.keras": write_keras_3,
    "model.h5": write_keras_3,
    "keras_2.h5": write_keras_2,
    "model.tflite": write_tflite,
    "model.onnx": write_onnx,
}


def load(tmp_path, path, **general):
    """Execute the step `load` with generated features; return the folder of the model."""
    from mlops_aed.steps.load_model import load_model

    given = {"operation_mode": "evaluation", "model_path": str(path), **general}
    config = AedConfig.model_validate({"general": given})
    step = next(step for step in steps(config) if step.name == "load")
    if not (tmp_path / "features").exists():
        write_features(tmp_path / "features")
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "scratch").mkdir(exist_ok=True)
    sections = json.loads(config.model_dump_json())
    request = StepRequest(
        use_case="AED",
        step=step,
        config={name: sections[name] for name in step.config},
        parameters={},
        seed=0,
        inputs=dict.fromkeys(step.inputs, tmp_path / "features"),
        outputs={"model": tmp_path / "model"},
        scratch=tmp_path / "scratch",
    )
    load_model(StepContext(request))
    return tmp_path / "model"


@pytest.mark.parametrize("name", WRITERS)
def test_each_format_gives_the_scores_of_the_original(tmp_path, name):
    expected = network().predict(some_patches()[..., None], verbose=0)
    assert expected.max(axis=1).min() > 0.9
    folder = load(tmp_path, WRITERS[name](tmp_path / name))
    metadata = model_folder.read_metadata(folder)
    assert metadata["classes"] == list(CLASSES)
    assert metadata["origin"] == name
    found = scorers.scores(scorers.open_scorer(folder), some_patches(), metadata)
    np.testing.assert_allclose(found, expected, atol=0.05 if name.endswith("tflite") else 1e-5)


def test_slashes_in_the_names_of_layers_are_replaced_not_lost(tmp_path):
    from mlops_aed.models import foreign

    model = foreign.load_keras(write_keras_2(tmp_path / "model.h5"))
    assert [layer.name for layer in model.layers][1:] == ["body__pool", "body__flat", "head__scores"]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def shorten(path):
    path.write_bytes(path.read_bytes()[:-1])


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 610472\n"
PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><body>Not found</body></html>"
REPLACED = {
    "a pointer of Git LFS": (POINTER, "is a pointer of Git LFS, not the model; get the content with: git lfs pull"),
    "a page": (PAGE, "is a web page, not the model"),
    "empty": (b"", "is empty"),
    "no model": (b"nothing at all", "is not a"),
}


def refused_before_a_run(path, message, *, key="general.model_path"):
    """The command that plans a run names the file as it was given, and why."""
    mode = {"general.model_path": "evaluation"}.get(key, "training")
    with pytest.raises(ConfigError) as caught:
        load_use_case("AED").load_config(overrides=[f"general.operation_mode={mode}", f"{key}={path}"])
    assert f"{key}: {path}" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.representatives("name", "damage")
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("damage", [cut, shorten])
def test_a_file_without_its_end_is_refused_before_anything_runs(tmp_path, monkeypatch, name, damage):
    monkeypatch.chdir(tmp_path)
    damage(WRITERS[name](tmp_path / name))
    refused_before_a_run(name, "is cut off")


@pytest.mark.representatives("name", "content")
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("content", REPLACED)
def test_a_file_that_is_no_model_is_refused_before_anything_runs(tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(REPLACED[content][0])
    refused_before_a_run(name, REPLACED[content][1])


def test_weights_that_are_no_model_are_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.h5").write_bytes(POINTER)
    with pytest.raises(ConfigError, match=r"training\.model\.weights: w\.h5 is a pointer of Git LFS"):
        load_use_case("AED").load_config(overrides=["training.model.name=yamnet", "training.model.weights=w.h5"])


def test_a_damaged_file_in_an_archive_is_named_with_the_archive(tmp_path):
    path = tmp_path / "model.tar.gz"
    write_keras_3(tmp_path / "best_model.keras")
    cut(tmp_path / "best_model.keras")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "best_model.keras", "saved/best_model.keras")
    with pytest.raises(ConfigError, match=rf"general\.model_path: {path} \(best_model\.keras in it\) is cut off"):
        load(tmp_path, path)
    cut(path)
    refused_before_a_run(path, "is cut off: the archive has no end")


def test_damage_that_shows_only_when_a_model_is_built_is_named_with_the_given_path(tmp_path):
    path = write_keras_2(tmp_path / "model.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights/head/scores"]
    with pytest.raises(ConfigError, match=rf"{path} is not a readable Keras model"):
        load(tmp_path, path)


def with_lambda(config):
    config["config"]["layers"][1]["class_name"] = "Lambda"
    return config


def test_code_in_a_file_is_never_run(tmp_path):
    with pytest.raises(ConfigError, match="a layer Lambda, which holds code; code is never run"):
        load(tmp_path, write_keras_2(tmp_path / "model.h5", with_lambda(keras_2_config())))


def test_weights_without_a_network_are_refused(tmp_path):
    network().save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ConfigError, match="holds weights without a network; expected a whole model"):
        load(tmp_path, tmp_path / "a.weights.h5")


def test_a_model_for_other_patches_is_refused(tmp_path):
    network(shape=(32, 48, 1)).save(tmp_path / "model.keras")
    with pytest.raises(ConfigError, match=r"of the shape \(32, 48, 1\); feature_extraction gives \(64, 96\)"):
        load(tmp_path, tmp_path / "model.keras")


def test_a_model_with_another_number_of_scores_is_refused(tmp_path):
    write_tflite(tmp_path / "model.tflite", network(classes=3))
    with pytest.raises(ConfigError, match=r"model\.tflite returns 3 scores; the data set has 4 classes: bass, hum"):
        load(tmp_path, tmp_path / "model.tflite")


def test_a_missing_file_and_a_wrong_digest_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"general\.model_path: no file .*/gone\.h5; expected a path"):
        load(tmp_path, tmp_path / "gone.h5")
    path = write_keras_3(tmp_path / "model.keras")
    with pytest.raises(ConfigError, match="has the SHA-256"):
        load(tmp_path, path, model_sha256="0" * 64)


def test_the_content_of_the_file_belongs_to_the_configuration(tmp_path):
    path = write_keras_2(tmp_path / "model.h5")
    general = {"operation_mode": "evaluation", "model_path": str(path)}
    before = AedConfig.model_validate({"general": general}).general.model_sha256
    with h5py.File(path, "a") as file:
        file["model_weights/head/scores/head/scores/bias:0"][0] = 1
    assert AedConfig.model_validate({"general": general}).general.model_sha256 not in {None, before}


def test_scores_in_another_order_are_detected(tmp_path):
    order = ("tone", "bass", "whistle", "hum")
    network(order=order).save(tmp_path / "model.keras")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, tmp_path / "model.keras")
    assert "set general.model_classes: [tone, bass, whistle, hum]" in str(caught.value)
    assert "of 24 patches 0% are right" in str(caught.value)
    folder = load(tmp_path, tmp_path / "model.keras", model_classes=order)
    metadata = model_folder.read_metadata(folder)
    assert metadata["classes"] == list(order)
    found = scorers.scores(scorers.open_scorer(folder), some_patches(), metadata)
    assert [order[place] for place in found.argmax(axis=1)] == [CLASSES[n % 4] for n in range(24)]


def test_a_bad_model_is_bad_in_every_order():
    scores = np.random.default_rng(0).random((400, 4)).astype("f4")
    labels = [CLASSES[n % 4] for n in range(400)]
    assert 0.1 < require_order(scores, labels, CLASSES, key="k", name="m") < 0.4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("bass", "hum", "tone", "fiddle"), "unknown fiddle; missing whistle; expected in any order: bass, hum"),
        (("bass", "hum"), "missing tone, whistle"),
        (("bass", "hum", "tone", "whistle", "hum"), "a class appears twice"),
    ],
)
def test_classes_that_are_not_those_of_the_data_set_are_named(given, message):
    with pytest.raises(ConfigError, match=f"general.model_classes: {message}"):
        ordered_classes(given, CLASSES, key="general.model_classes")


def exported(tmp_path, **features):
    from mlops_aed.models import network as networks

    sections = json.loads(AedConfig().model_dump_json())
    metadata = {
        "classes": CLASSES,
        "mean": -4.0,
        "deviation": 2.0,
        "preprocessing": sections["preprocessing"],
        "feature_extraction": {**sections["feature_extraction"], **features},
    }
    folder = tmp_path / "exported"
    folder.mkdir()
    networks.save(network(), folder, metadata)
    return folder


def test_an_exported_model_brings_its_own_statistics(tmp_path):
    folder = load(tmp_path, exported(tmp_path))
    metadata = model_folder.read_metadata(folder)
    assert (metadata["mean"], metadata["deviation"]) == (-4, 2)
    found = scorers.scores(scorers.open_scorer(folder), some_patches(), metadata)
    expected = network().predict((some_patches()[..., None] + 4) / 2, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_exported_model_of_other_features_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"feature_extraction\.fmin is 125\.0; exported was trained with 50"):
        load(tmp_path, exported(tmp_path, fmin=50))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValidationError, match=r"empty is not an exported model; expected a file, or a folder written"):
        load(tmp_path, tmp_path / "empty")


@pytest.mark.parametrize(
    ("general", "message"),
    [
        ({"operation_mode": "evaluation"}, "is required by operation_mode evaluation; legal: a file of the format .h5"),
        (
            {"operation_mode": "chain_eqe", "model_path": "m.tflite"},
            "operation_mode chain_eqe takes .h5, .ker",
        ),
        (
            {"operation_mode": "evaluation", "model_path": "m.pt"},
            "operation_mode evaluation takes .h5, .keras, .tf",
        ),
        ({"model_path": "m.h5"}, "to train an existing model further, set model.name: file"),
    ],
)
def test_a_file_that_the_mode_cannot_use_is_refused(general, message):
    overrides = [f"general.{key}={value}" for key, value in general.items()]
    with pytest.raises(ConfigError, match=message) as caught:
        load_use_case("AED").load_config(overrides=overrides)
    assert "general.model_path" in str(caught.value)


# --- The whole way: a quantized model on real files, without TensorFlow ----------------------------------------


def write_sounds(folder):
    """Chords, each in one quarter of the mel scale, with folds and recordings."""
    (folder / "audio").mkdir(parents=True)
    rows = ["filename,fold,category,src_file"]
    for n in range(40):
        label, fold = CLASSES[n % 4], n // 8 + 1
        time = np.arange(16_000 * 2) / 16_000
        low, high = ((150, 700), (800, 1_750), (1_950, 3_600), (4_000, 7_200))[n % 4]
        tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in np.linspace(low, high, 24))
        noise = np.random.default_rng(n).normal(0, 20, len(time))
        with wave.open(str(folder / "audio" / f"{n}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((1_000 * tones + noise).astype("<i2").tobytes())
        rows.append(f"{n}.wav,{fold},{label},{n}")
    (folder / "meta").mkdir()
    (folder / "meta" / "esc50.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def write_unknown_files(folder, sounds):
    (folder / "below").mkdir(parents=True)
    shutil.copy(sounds / "audio" / "2.wav", folder / "a.wav")
    shutil.copy(sounds / "audio" / "3.wav", folder / "below" / "b.wav")
    (folder / "notes.txt").write_text("no audio", encoding="utf-8")
    return folder


_WITHOUT_TENSORFLOW = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tensorflow", "keras", "h5py", "onnxruntime"}:
            raise AssertionError(f"{name} is imported")
sys.meta_path.insert(0, Refuse())
from mlops_core.cli import _exit_code
sys.exit(_exit_code(sys.argv[1:]))
"""


def test_a_quantized_file_is_evaluated_registered_and_predicts_without_tensorflow(tmp_path):
    sounds = write_sounds(tmp_path / "sounds")
    overrides = [
        "general.operation_mode=evaluation",
        f"general.model_path={write_tflite(tmp_path / 'zoo.tflite')}",
        f"dataset.path={sounds}",
        "dataset.name=tones",
        f"classify.path={write_unknown_files(tmp_path / 'unknown', sounds)}",
    ]
    record = mlops_core.run("AED", workspace=tmp_path / "w", overrides=overrides)
    assert str(record.status) == "accepted", record.error
    names = [step.name for step in record.steps]
    assert [name for name in names if name != "fetch"] == ["split", "preprocess", "load", "classify", "evaluate"]
    with Store(tmp_path / "w") as store:
        table = store.artifacts.path(record.step("classify").outputs["classes"]) / "classes.csv"
        rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [(row["file"], row["class"]) for row in rows] == [("a.wav", "tone"), ("below/b.wav", "whistle")]
    assert float(rows[0]["tone"]) == float(rows[0]["score"]) > 0.5
    assert {clause.metric: clause.value for clause in record.verdict.clauses}["clip_acc"] == 1
    files = [str(sounds / "audio" / f"{n}.wav") for n in range(4)]
    command = ["--workspace", str(tmp_path / "w"), "predict", "--usecase", "AED", "--json", *files]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TENSORFLOW, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert [max(answer["scores"], key=answer["scores"].get) for answer in answers] == list(CLASSES)


def test_the_cost_of_a_graph_is_counted_by_hand(tmp_path):
    from mlops_aed.models.litert import LiteRtModel

    cost = LiteRtModel(write_tflite(tmp_path / "m.tflite")).cost()
    assert cost.multiplications == 16  # four means times four classes; means are no multiplications
    assert cost.flash_bytes == (tmp_path / "m.tflite").stat().st_size
    assert cost.activations_bytes >= MELS * FRAMES  # the input alone, a byte each
    assert all(value > 0 for value in asdict(cost).values())
