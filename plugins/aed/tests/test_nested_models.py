"""Models of Keras 2 with models inside, as the zoo publishes fine-tuned ones: numbers of calls, order of weights."""

import json

import h5py
import numpy as np
import pytest
from mlops_aed.models import foreign, network

MELS, FRAMES = 64, 96
EPSILON = 1e-3
GAMMA, BETA, MEAN, VARIANCE = (np.array([value], "f4") for value in (1.5, 0.25, -4.0, 2.0))
KERNEL = np.eye(4, dtype="f4") * 2
BIAS = np.array([0.0, 0.1, 0.2, 0.3], "f4")


def some_patches():
    return np.random.default_rng(1).normal(-4, 1, (5, MELS, FRAMES, 1)).astype("f4")


def expected_scores(patches):
    """Normalise, take the mean of each quarter of the mel bands, and apply the head."""
    normal = (patches[..., 0] - MEAN) / np.sqrt(VARIANCE + EPSILON) * GAMMA + BETA
    values = normal.reshape(-1, 4, MELS // 4 * FRAMES).mean(axis=2) @ KERNEL + BIAS
    return np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)


def layer(kind, name, *, trainable=True, **config):
    return {"class_name": kind, "config": {"name": name, "trainable": trainable, "dtype": "float32", **config}}


def source(name):
    shape = {"batch_input_shape": [None, MELS, FRAMES, 1], "sparse": False, "ragged": False}
    return {"class_name": "InputLayer", "config": {"name": name, "dtype": "float32", **shape}}


def body(*, trainable):
    pool = {"pool_size": [16, 96], "padding": "valid", "strides": [16, 96], "data_format": "channels_last"}
    axis = {"axis": [3], "momentum": 0.99, "epsilon": EPSILON, "center": True, "scale": True}
    return [
        layer("BatchNormalization", "layer1/bn", trainable=trainable, **axis),
        layer("AveragePooling2D", "layer1/pool", **pool),
        layer("Flatten", "layer1/flat", data_format="channels_last"),
    ]


def sequential(name, *layers):
    return {"class_name": "Sequential", "config": {"name": name, "layers": [source(f"{name}_input"), *layers]}}


def functional(name, *layers):
    """A chain of layers; the output of a model with an input has the number 1, as Keras 2 counts."""
    chain = [{**source(f"{name}_in"), "name": f"{name}_in", "inbound_nodes": []}]
    for item in layers:
        before = chain[-1]
        chain.append({**item, "name": item["config"]["name"], "inbound_nodes": [[[*end_of(before), {}]]]})
    ends = {"input_layers": [[f"{name}_in", 0, 0]], "output_layers": [end_of(chain[-1])]}
    return {"class_name": "Functional", "config": {"name": name, "trainable": True, "layers": chain, **ends}}


def end_of(item):
    return [item["config"]["name"], 1 if "layers" in item["config"] else 0, 0]


def head():
    return layer("Dense", "new_head", units=4, activation="softmax", use_bias=True)


def weights_of(*, trainable):
    """Return the weights in the order of Keras 2: those that are trained first."""
    scale = {"layer1/bn/gamma:0": GAMMA, "layer1/bn/beta:0": BETA}
    dense = {"new_head/kernel:0": KERNEL, "new_head/bias:0": BIAS}
    moving = {"layer1/bn/moving_mean:0": MEAN, "layer1/bn/moving_variance:0": VARIANCE}
    return {**scale, **dense, **moving} if trainable else {**dense, **scale, **moving}


def write(path, config, *, trainable=True):
    """Write the model with its weights; those of nested models are in the group of the outermost of them."""
    values = weights_of(trainable=trainable)
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.8.0", "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        weights = file.create_group("model_weights")
        weights.attrs["keras_version"], weights.attrs["backend"] = b"2.8.0", b"tensorflow"
        layers = [item for item in config["config"]["layers"] if item["class_name"] != "InputLayer"]
        weights.attrs["layer_names"] = [item["config"]["name"].encode() for item in layers]
        for item in layers:
            inside = json.dumps(item)
            names = [name for name in values if f'"{name.rpartition("/")[0]}"' in inside]
            group = weights.create_group(item["config"]["name"])
            group.attrs["weight_names"] = [name.encode() for name in names] or np.array([], dtype="S1")
            for name in names:
                group[name] = values[name]
    return path


SHAPES = {
    "sequential": lambda layers: functional("model", sequential("sequential_2", *layers), head()),
    "functional": lambda layers: functional("model", functional("base", *layers), head()),
    "sequential in functional": lambda layers: functional(
        "model", functional("base", sequential("sequential_2", *layers)), head()
    ),
    "functional in sequential": lambda layers: functional(
        "model", sequential("sequential_2", functional("base", *layers)), head()
    ),
    "three deep": lambda layers: functional(
        "model", sequential("a", functional("b", sequential("c", *layers))), head()
    ),
    "sequential outside": lambda layers: sequential("model", sequential("sequential_2", *layers), head()),
    "head inside": lambda layers: functional("model", sequential("sequential_2", *layers, head())),
    "head in a functional": lambda layers: functional("model", functional("base", *layers, head())),
}


@pytest.mark.representatives(3)
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_nested_model_gives_the_scores_of_its_weights(tmp_path, shape, trainable):
    path = write(tmp_path / "model.h5", SHAPES[shape](body(trainable=trainable)), trainable=trainable)
    model = foreign.load_keras(path)
    np.testing.assert_allclose(model.predict(some_patches(), verbose=0), expected_scores(some_patches()), atol=1e-5)
    network.save(model, tmp_path, {"classes": list("abcd")})
    again, _ = network.load(tmp_path)
    np.testing.assert_allclose(again.predict(some_patches(), verbose=0), expected_scores(some_patches()), atol=1e-5)


def test_a_nested_model_that_is_called_twice_keeps_both_calls(tmp_path):
    shared = functional("model", sequential("sequential_2", *body(trainable=True)), head())
    layers = shared["config"]["layers"]
    twice = {"trainable": True, "dtype": "float32"}
    layers.insert(1, {**layer("ReLU", "relu", **twice), "name": "relu", "inbound_nodes": [[["model_in", 0, 0, {}]]]})
    layers[2]["inbound_nodes"].append([["relu", 0, 0, {}]])
    layers.insert(3, {**layer("Add", "add"), "name": "add"})
    layers[3]["inbound_nodes"] = [[["sequential_2", 1, 0, {}], ["sequential_2", 2, 0, {}]]]
    layers[4]["inbound_nodes"] = [[["add", 0, 0, {}]]]
    model = foreign.load_keras(write(tmp_path / "model.h5", shared))
    patches = np.abs(some_patches())
    logits = np.log(model.predict(patches, verbose=0))
    once = np.log(expected_scores(patches))
    centred = 2 * (once - BIAS) - (2 * (once - BIAS)).mean(axis=1, keepdims=True)
    np.testing.assert_allclose((logits - BIAS) - (logits - BIAS).mean(axis=1, keepdims=True), centred, atol=1e-4)


def test_code_in_a_nested_model_is_refused(tmp_path):
    code = layer("Lambda", "code", function="x")
    path = write(tmp_path / "model.h5", functional("model", sequential("a", functional("b", code)), head()))
    with pytest.raises(foreign.ConfigError, match="a layer Lambda, which holds code"):
        foreign.load_keras(path)
