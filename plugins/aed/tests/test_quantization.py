"""Quantized models: types, cost, difference from the original, and refused inputs."""

import json
from dataclasses import asdict

import keras
import numpy as np
import pytest
from mlops_aed.config import AedConfig, General, ModelChoice, Quantization
from mlops_aed.export.onnx_export import export, require_equal
from mlops_aed.export.onnx_export import quantize as quantize_onnx
from mlops_aed.export.quantization import to_tflite
from mlops_aed.export.separate_scales import with_separate_scales
from mlops_aed.models import architectures, model_folder, network
from mlops_aed.models.litert import LiteRtModel, Quantity, quantized
from mlops_aed.models.onnx_models import OnnxModel
from mlops_aed.pipeline_steps import steps
from mlops_aed.steps.evaluate import model_facts

from mlops_core import ConfigError, StepError
from mlops_core.steps.context import StepRequest
from mlops_core.steps.execution import execute

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow's own
SHAPE = (64, 96)
CLASSES = 3


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return architectures.build(ModelChoice(filters=(4, 8)), shape=SHAPE, classes=CLASSES)


@pytest.fixture(scope="module")
def patches():
    return np.random.default_rng(2).standard_normal((24, *SHAPE)).astype(np.float32)


def quantize(model, patches, folder, **settings):
    path = folder / "quantized_model.tflite"
    path.write_bytes(to_tflite(model, patches, Quantization(**settings)))
    return LiteRtModel(path)


@pytest.mark.representatives("input_type", "output_type")
@pytest.mark.parametrize("input_type", ["int8", "uint8", "float"])
@pytest.mark.parametrize("output_type", ["int8", "float"])
def test_each_type_of_input_and_output_gives_the_scores_of_the_original(
    model, patches, tmp_path, input_type, output_type
):
    found = quantize(model, patches, tmp_path, input_type=input_type, output_type=output_type)
    assert found.input_quantity.dtype == {"float": np.float32}.get(input_type, np.dtype(input_type))
    assert found.input_shape == (*SHAPE, 1)
    expected = model.predict(patches[..., None], verbose=0)
    assert np.abs(found.scores(patches) - expected).max() < 0.05


def test_uint8_scores_are_returned_as_real_numbers(model, patches, tmp_path):
    found = quantize(model, patches, tmp_path, output_type="uint8")
    assert np.abs(found.scores(patches).sum(axis=1) - 1).max() < 0.02


def scales(path):
    from ai_edge_litert.interpreter import Interpreter

    tensors = Interpreter(model_path=str(path)).get_tensor_details()
    return [len(found["quantization_parameters"]["scales"]) for found in tensors if len(found["shape"]) == 4]


def test_each_channel_has_its_own_scale_unless_the_granularity_is_per_tensor(model, patches, tmp_path):
    for name in ("per_channel", "per_tensor"):
        (tmp_path / name).mkdir()
        quantize(model, patches, tmp_path / name, granularity=name)
    assert max(scales(tmp_path / "per_channel" / "quantized_model.tflite")) == 8
    assert max(scales(tmp_path / "per_tensor" / "quantized_model.tflite")) == 1


def pooled(*, dropout=0.2, use_bias=True):
    """A network whose head reads means beside maxima a hundred times as large."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((*SHAPE, 1))
    x = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(inputs)
    large = keras.layers.Rescaling(100.0)(keras.layers.GlobalMaxPooling2D()(x))
    values = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(x), large])
    values = keras.layers.Dropout(dropout)(values) if dropout else values
    outputs = keras.layers.Dense(CLASSES, activation="softmax", use_bias=use_bias, name="scores")(values)
    network = keras.Model(inputs, outputs)
    weights = network.get_layer("scores").get_weights()
    weights[0][:4] *= 10
    weights[0][4:] /= 100
    network.get_layer("scores").set_weights(weights)
    return network


@pytest.mark.parametrize("given", [{}, {"dropout": 0}, {"use_bias": False}])
def test_a_head_without_the_concatenation_below_it_gives_the_same_scores(patches, given):
    original = pooled(**given)
    separate = with_separate_scales(original)
    assert "Concatenate" not in {type(layer).__name__ for layer in separate.layers}
    expected = original.predict(patches[..., None], verbose=0)
    np.testing.assert_allclose(separate.predict(patches[..., None], verbose=0), expected, atol=1e-5)


def test_a_network_without_a_concatenation_below_its_head_is_quantized_as_it_is(model):
    assert with_separate_scales(model) is model


def test_pooled_values_of_very_different_ranges_keep_their_precision(patches, tmp_path):
    network = pooled()
    expected = network.predict(patches[..., None], verbose=0)
    assert np.abs(quantize(network, patches, tmp_path).scores(patches) - expected).max() < 0.03


def test_the_same_network_gives_the_same_file(model, patches, tmp_path):
    assert to_tflite(model, patches, Quantization()) == to_tflite(model, patches, Quantization())


def test_the_cost_of_a_graph_is_counted(patches, tmp_path):
    inputs = keras.Input((*SHAPE, 1))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(inputs)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    known = keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(x))
    cost = quantize(known, patches, tmp_path).cost()
    assert cost.multiplications == 32 * 48 * 4 * 9 + 32 * 48 * 4 * 9 + 4 * CLASSES
    assert cost.flash_bytes == (tmp_path / "quantized_model.tflite").stat().st_size
    assert cost.activations_bytes == 2 * 32 * 48 * 4  # the first map and the second, at one byte a value
    weights, biases, axes = 4 * 9 + 4 * 9 + 4 * CLASSES, 4 * (4 + 4), 4 * 2  # a dense layer's zeros are left out
    assert cost.weights_bytes == weights + biases + axes


def test_values_outside_the_range_of_the_input_are_counted(model, patches, tmp_path):
    found = quantize(model, patches, tmp_path)
    assert found.clipping_rate(patches) < 0.01
    loud = patches.copy()
    loud[:, :, :48] = 100.0
    assert found.clipping_rate(loud) == pytest.approx(0.5, abs=0.01)
    assert quantize(model, patches, tmp_path, input_type="float").clipping_rate(loud) == 0


@pytest.mark.parametrize(("value", "expected"), [(0.26, 1), (0.24, 0), (-1000.0, -128), (1000.0, 127)])
def test_a_real_number_becomes_the_nearest_integer_in_range(value, expected):
    quantity = Quantity(dtype=np.dtype("int8"), scale=0.5, zero_point=0)
    assert quantized(np.array([value], dtype=np.float32), quantity).tolist() == [expected]


@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_an_export_is_quantized_to_int8(model, patches, tmp_path, granularity):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("tf2onnx")
    source, target = tmp_path / "model.onnx", tmp_path / "quantized_model.onnx"
    model.predict(patches[:1, ..., None], verbose=0)
    export(model, source)
    quantize_onnx(source, target, patches, is_per_channel=granularity == "per_channel", scratch=tmp_path)
    graph = onnx.load(target).graph
    weights = [item for item in graph.initializer if len(item.dims) == 4]
    assert weights
    assert all(item.data_type == onnx.TensorProto.INT8 for item in weights)
    scales = {item.name: tuple(item.dims) for item in graph.initializer if item.name.endswith("_scale")}
    assert any(size != (1,) and size for size in scales.values()) is (granularity == "per_channel")
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}
    expected = model.predict(patches[..., None], verbose=0)
    found = OnnxModel(target).scores(patches)
    assert 0 < np.abs(found - expected).max() < 0.05
    with pytest.raises(StepError, match=r"model\.onnx cannot be quantized"):
        quantize_onnx(source, tmp_path / "no" / "folder.onnx", patches, is_per_channel=False, scratch=tmp_path)


def test_an_int8_export_needs_the_export():
    with pytest.raises(ValueError, match="needs export_onnx: true"):
        Quantization(onnx_int8=True)


def test_an_export_to_onnx_gives_the_scores_of_the_original(model, patches, tmp_path):
    path = tmp_path / "model.onnx"
    export(model, path)
    require_equal(model, path, patches)
    assert OnnxModel(path).scores(patches).shape == (24, CLASSES)
    other = keras.models.clone_model(model)
    with pytest.raises(StepError, match="returns other scores"):
        require_equal(other, path, patches)


def test_facts_of_a_quantized_model_are_its_cost_and_its_clipping(model, patches, tmp_path):
    network.save(model, tmp_path, {"mean": 0.0, "deviation": 1.0, "classes": ["a", "b", "c"]})
    assert model_facts(tmp_path, patches) == {}
    found = quantize(model, patches, tmp_path)
    facts = model_facts(tmp_path, patches)
    assert facts == {**asdict(found.cost()), "input_clipping_rate": round(found.clipping_rate(patches), 8)}
    (tmp_path / model_folder.ONNX_FILE).write_bytes(b"12345")
    assert model_facts(tmp_path, patches)["onnx_bytes"] == 5
    assert json.dumps(facts)


def test_a_quantized_model_is_not_quantized_again(tmp_path):
    (tmp_path / "model").mkdir()
    model_folder.write_metadata(tmp_path / "model", {"origin": "theirs.tflite"})
    step = next(
        step for step in steps(AedConfig(general=General(operation_mode="chain_tqe"))) if step.name == "quantize"
    )
    request = StepRequest(
        use_case="AED",
        step=step,
        config={"quantization": {}},
        parameters={},
        seed=0,
        inputs={"model": tmp_path / "model"},
        outputs={"model": tmp_path},
        scratch=tmp_path,
    )
    with pytest.raises(ConfigError, match=r"theirs\.tflite cannot be quantized; expected a Keras network"):
        execute(request)


def test_a_file_that_is_not_a_model_is_named(tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"broken\.tflite is not a readable \.tflite file"):
        LiteRtModel(tmp_path / "broken.tflite")
