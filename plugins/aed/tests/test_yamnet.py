"""The pretrained backbone: read from a file as Keras 2 wrote it, equal to a network computed by numpy alone."""

import h5py
import numpy as np
import pytest

from mlops_core import ConfigError

BLOCKS = ((1, 32, 64), (2, 64, 128), (1, 128, 128), (2, 128, 256), (1, 256, 256))


def layers():
    yield "layer1/conv", "kernel", (3, 3, 1, 32), 32
    for number, (_, before, after) in enumerate(BLOCKS, 2):
        yield f"layer{number}/depthwise_conv", "depthwise_kernel", (3, 3, before, 1), before
        yield f"layer{number}/pointwise_conv", "kernel", (1, 1, before, after), after


def write_keras_2_file(path):
    """Random weights in the groups and under the names of the published file."""
    draw = np.random.default_rng(5)
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.9.0"
        group = file.create_group("model_weights/model_2")
        for name, kind, shape, filters in layers():
            fan_in = shape[0] * shape[1] * (1 if kind == "depthwise_kernel" else shape[2])
            group[f"{name}/{kind}:0"] = draw.normal(0, np.sqrt(2 / fan_in), shape).astype("f4")
            group[f"{name}/bn/beta:0"] = draw.normal(0, 0.1, filters).astype("f4")
            group[f"{name}/bn/moving_mean:0"] = draw.normal(0, 0.1, filters).astype("f4")
            group[f"{name}/bn/moving_variance:0"] = draw.uniform(0.5, 1.5, filters).astype("f4")
    return path


def windows(x, stride):
    """The 3x3 windows of ``padding="same"``, (height, width, channels, 3, 3)."""
    pads = []
    for size in x.shape[:2]:
        total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
        pads.append((total // 2, total - total // 2))
    return np.lib.stride_tricks.sliding_window_view(np.pad(x, (*pads, (0, 0))), (3, 3), axis=(0, 1))[::stride, ::stride]


def numpy_embedding(path, patch):
    """The result of the published network for a patch (64, 96), computed without Keras."""
    with h5py.File(path) as file:
        group = file["model_weights/model_2"]
        x = patch.T[..., None].astype("f8")
        strides = iter([2, *[stride for block in BLOCKS for stride in (block[0], 1)]])
        for name, kind, shape, _ in layers():
            kernel = np.asarray(group[f"{name}/{kind}:0"], dtype="f8")
            stride = next(strides)
            if kind == "depthwise_kernel":
                x = np.einsum("hwcij,ijc->hwc", windows(x, stride), kernel[..., 0])
            elif shape[0] == 3:
                x = np.einsum("hwcij,ijcf->hwf", windows(x, stride), kernel)
            else:
                x = x @ kernel[0, 0]
            beta, mean, variance = (
                group[f"{name}/bn/{key}:0"][:] for key in ("beta", "moving_mean", "moving_variance")
            )
            x = np.maximum((x - mean) / np.sqrt(variance + 1e-4) + beta, 0)
    return x.mean(axis=(0, 1))


def keras_embedding(path, patch):
    import keras
    from mlops_aed.models import yamnet

    inputs, found = yamnet.build_backbone()
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(found[-1]))
    yamnet.load_pretrained(model, path)
    return model.predict(patch[None, ..., None], verbose=0)[0]


def some_patch():
    return np.random.default_rng(3).normal(-4, 2, (64, 96)).astype("f4")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_network_returns_what_numpy_computes_from_the_same_file(tmp_path):
    path = write_keras_2_file(tmp_path / "weights.h5")
    expected = numpy_embedding(path, some_patch())
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(keras_embedding(path, some_patch()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_published_weights_give_the_recorded_values(yamnet_256):
    found = keras_embedding(yamnet_256, some_patch())
    np.testing.assert_allclose(found, numpy_embedding(yamnet_256, some_patch()), rtol=1e-4, atol=1e-5)
    assert found.shape == (256,)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no file"),
        (lambda path: path.write_bytes(b"nothing"), "is not a readable HDF5 file"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "is not a readable HDF5 file"),
        (lambda path: rename(path, "layer4/depthwise_conv/bn/beta:0"), "has no weight 'layer4/depthwise_conv/bn/beta'"),
        (lambda path: reshape(path, "layer1/conv/kernel:0"), r"'layer1/conv/kernel' has the shape \(2, 2\); expected"),
        (lambda path: spoil(path, "layer1/conv/kernel:0"), "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_that_does_not_fit_is_refused_with_the_weight_that_is_wrong(tmp_path, damage, message):
    path = write_keras_2_file(tmp_path / "weights.h5")
    damage(path)
    with pytest.raises(ConfigError, match=message):
        keras_embedding(path, some_patch())


def rename(path, name):
    with h5py.File(path, "a") as file:
        del file[f"model_weights/model_2/{name}"]


def reshape(path, name):
    rename(path, name)
    with h5py.File(path, "a") as file:
        file[f"model_weights/model_2/{name}"] = np.zeros((2, 2), "f4")


def spoil(path, name):
    with h5py.File(path, "a") as file:
        file[f"model_weights/model_2/{name}"][0] = np.nan
