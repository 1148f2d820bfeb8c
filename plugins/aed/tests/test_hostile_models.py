"""A model's file reaches no other file and runs nothing; what it declares is bounded; each refusal names the place."""

import gzip
import json
import struct
import tarfile
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
from mlops_aed.models import foreign, network, yamnet
from mlops_aed.models.model_files import fault_of
from mlops_aed.models.onnx_checks import external_data_fault
from mlops_aed.models.pretrained import obtain, with_digest

from mlops_core import ConfigError, KeyFaultError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a folder with one network in the formats of Keras."""
    folder = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras and numpy 2
        inputs = keras.Input((4, 4, 1))
        outputs = keras.layers.Dense(3, name="scores")(keras.layers.Flatten()(inputs))
        model = keras.Model(inputs, outputs)
        model.save(folder / "model.keras")
        model.save(folder / "model.h5")
        network.save(model, folder, {})
    return folder


def copy(saved, tmp_path, name):
    (tmp_path / name).write_bytes((saved / name).read_bytes())
    return tmp_path / name


def replace_kernel(path, make):
    """Replace the kernel in an ``.h5`` file by what `make` creates under its name."""
    with h5py.File(path, "a") as file:
        group = file["model_weights/scores"]
        (name,) = [name for name in group.attrs["weight_names"] if "kernel" in str(name)]
        name = name.decode() if isinstance(name, bytes) else name
        del group[name]
        make(group, name)


def external_link(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones((16, 3), "f4")
    return lambda group, name: group.__setitem__(name, h5py.ExternalLink("other.h5", "/secret"))


def external_storage(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(16 * 3 * 4))
    place = [(str(tmp_path / "secret.bin"), 0, 16 * 3 * 4)]
    return lambda group, name: group.create_dataset(name, (16, 3), "f4", external=place)


def virtual(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones((16, 3), "f4")
    layout = h5py.VirtualLayout((16, 3), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (16, 3))
    return lambda group, name: group.create_virtual_dataset(name, layout)


def huge(_):
    return lambda group, name: group.create_dataset(name, (1 << 38,), "f4")


def huge_and_packed(_):
    return lambda group, name: group.create_dataset(name, (1 << 20, 1 << 18), "f4", chunks=(1024, 1024), compression=9)


def soft_link(_):
    return lambda group, name: group.__setitem__(name, h5py.SoftLink("/model_weights/scores"))


def texts(_):
    return lambda group, name: group.create_dataset(name, data=np.array(["x"] * 48, object), dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (external_link, "is a link to '/secret' in the file 'other.h5'; refused"),
        (external_storage, "keeps its data in another file; refused"),
        (virtual, "keeps its data in another file; refused"),
        (huge, "has the shape .*, far more than the .* bytes of the file; refused"),
        (huge_and_packed, "has the shape .*, far more than the .* bytes of the file; refused"),
        (soft_link, "is a link to '/model_weights/scores'; refused"),
        (texts, "holds object; expected numbers"),
    ],
)
def test_an_hdf5_file_that_reaches_outside_or_declares_too_much_is_refused(saved, tmp_path, fault, message):
    path = copy(saved, tmp_path, "model.h5")
    replace_kernel(path, fault(tmp_path))
    with pytest.raises(ConfigError, match=f"model.h5: 'model_weights/scores/.*kernel.*' {message}"):
        foreign.load_keras(path)
    with pytest.raises(ConfigError, match=message):
        yamnet.read_arrays(path)


def test_a_group_that_contains_itself_ends(saved, tmp_path):
    path = copy(saved, tmp_path, "model.h5")
    with h5py.File(path, "a") as file:
        file["model_weights/again"] = file["model_weights"]
    assert foreign.load_keras(path).count_params() == 51


def rewritten(path, *, config=None, members=(), weights=None):
    """Write a ``.keras`` file again, with another description, weights or further members."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    if config:
        described = json.loads(content["config.json"])
        config(described)
        content["config.json"] = json.dumps(described).encode()
    if weights is not None:
        content["model.weights.h5"] = weights
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [*content.items(), *members]:
            archive.writestr(name, data)
    return path


def layer(**fields):
    def change(described):
        described["config"]["layers"][1].update(fields)

    return change


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"class_name": "Lambda"}, "a layer Lambda, which holds code; code is never run"),
        ({"class_name": "TFSMLayer", "config": {"filepath": "/x"}}, "a layer TFSMLayer, which holds code"),
        ({"class_name": "TorchModuleWrapper"}, "a layer TorchModuleWrapper, which holds code"),
        ({"class_name": "function", "module": "builtins", "config": "eval"}, "a layer function, which holds code"),
        ({"module": "os", "class_name": "system"}, "names os.system, which is not a layer of Keras"),
        ({"module": "builtins", "class_name": "eval"}, "names builtins.eval, which is not a layer of Keras"),
        (
            {"module": "keras.utils", "class_name": "get_file"},
            "names keras.utils.get_file, which is not a layer of Keras",
        ),
        ({"module": "keras.config", "class_name": "enable_unsafe_deserialization"}, "which is not a layer of Keras"),
        ({"module": "keras.layersx", "class_name": "Dense"}, "names keras.layersx.Dense, which is not a layer"),
        ({"module": ["os"], "class_name": "system"}, "which is not a layer of Keras"),
        ({"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}, "may read other files"),
    ],
)
def test_a_keras_file_that_names_anything_but_plain_layers_is_refused(saved, tmp_path, fields, message):
    with pytest.raises(ConfigError, match=message):
        foreign.load_keras(rewritten(copy(saved, tmp_path, "model.keras"), config=layer(**fields)))
    described = json.loads((saved / "architecture.json").read_text())
    layer(**fields)(described)
    (tmp_path / "architecture.json").write_text(json.dumps(described))
    with pytest.raises(ConfigError, match=message):
        network.load(tmp_path)


@pytest.mark.parametrize("name", ["../evil", "/evil", "assets/a/vocabulary.txt", "model.weights.npz", "x.py"])
def test_a_keras_file_with_further_members_is_refused(saved, tmp_path, name):
    path = rewritten(copy(saved, tmp_path, "model.keras"), members=[(name, b"x")])
    with pytest.raises(ConfigError, match=f"model.keras holds '{name}'; expected config.json"):
        foreign.load_keras(path)
    assert not (tmp_path.parent / "evil").exists()


def test_a_keras_file_whose_weights_unpack_to_far_more_is_refused(saved, tmp_path):
    path = rewritten(copy(saved, tmp_path, "model.keras"), weights=bytes(200 << 20))
    with pytest.raises(ConfigError, match="'model.weights.h5' unpacks to far more than the file; refused"):
        foreign.load_keras(path)


def test_weights_in_a_keras_file_that_reach_outside_are_refused(saved, tmp_path):
    path = copy(saved, tmp_path, "model.keras")
    with zipfile.ZipFile(path) as archive:
        (tmp_path / "w.h5").write_bytes(archive.read("model.weights.h5"))
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file["layers/extra"] = h5py.ExternalLink("/etc/other.h5", "/secret")
    rewritten(path, weights=(tmp_path / "w.h5").read_bytes())
    with pytest.raises(ConfigError, match="model.weights.h5: 'layers/extra' is a link to '/secret'"):
        foreign.load_keras(path)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_description_nested_too_deeply_or_no_description_is_an_error(saved, tmp_path, name):
    path = copy(saved, tmp_path, name)
    for described in ("[" * 100_000, "{}", "null", "5", '{"class_name": 5, "config": 7}'):
        if name.endswith("h5"):
            with h5py.File(path, "a") as file:
                file.attrs["model_config"] = described[:60_000]
        else:
            with zipfile.ZipFile(path) as archive:
                weights = archive.read("model.weights.h5")
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("config.json", described)
                archive.writestr("metadata.json", "{}")
                archive.writestr("model.weights.h5", weights)
        with pytest.raises(ConfigError, match=name):
            foreign.load_keras(path)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_damaged_model_is_an_error_that_names_it(saved, tmp_path, name):
    whole = (saved / name).read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(12):
        content = bytearray(whole)
        for place in draw.integers(0, min(len(whole), 4000), 8):
            content[place] = draw.integers(256)
        (tmp_path / name).write_bytes(content)
        try:
            foreign.load_keras(tmp_path / name)
        except ConfigError as error:
            message = str(error)
            assert name in message


def field(number, content):
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value):
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


TENSOR = bytes([1 << 3, 3, 2 << 3, 1]) + field(8, b"w")
EXTERNAL = TENSOR + field(13, field(1, b"location") + field(2, b"/etc/passwd")) + bytes([14 << 3, 1])


@pytest.mark.representatives("tensor", "place")
@pytest.mark.parametrize(
    ("tensor", "is_fault"),
    [(TENSOR, False), (EXTERNAL, True), (TENSOR + bytes([14 << 3, 1]), True), (TENSOR + bytes([14 << 3, 0]), False)],
)
@pytest.mark.parametrize(
    "place",
    [
        lambda tensor: field(7, field(5, tensor)),
        lambda tensor: field(7, field(1, field(5, field(5, tensor)))),
        lambda tensor: field(7, field(1, field(5, field(6, field(5, tensor))))),
        lambda tensor: field(7, field(15, field(1, tensor))),
    ],
    ids=["initializer", "constant", "inner graph", "sparse initializer"],
)
def test_an_onnx_model_with_weights_in_other_files_is_refused(tmp_path, tensor, is_fault, place):
    (tmp_path / "model.onnx").write_bytes(bytes([1 << 3, 8]) + place(tensor))
    assert ("in other files, which are never read" in fault_of(tmp_path / "model.onnx")) is is_fault


def test_a_malformed_onnx_model_is_damaged(tmp_path):
    for content in (field(7, b"\x07"), field(7, b"\xff" * 20), field(7, field(5, b"\x2a\xff\x7f"))):
        (tmp_path / "model.onnx").write_bytes(content)
        assert external_data_fault(tmp_path / "model.onnx").startswith("is damaged")


def test_an_archive_with_a_header_that_no_memory_holds_is_refused(tmp_path):
    header = tarfile.TarInfo("h")
    header.type, header.size = tarfile.XHDTYPE, 1_500_000_000
    (tmp_path / "model.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    with pytest.raises(ConfigError, match="general.model_path: .*model.tar.gz is not a readable archive: .* refused"):
        obtain(str(tmp_path / "model.tar.gz"), tmp_path, sha256=None, key="general.model_path")


def test_an_archive_that_is_a_bomb_is_refused(tmp_path):
    with gzip.open(tmp_path / "model.tar.gz", "wb", compresslevel=1) as stream:
        for _ in range(80):
            stream.write(bytes(1 << 20))
    assert "a bomb?" in fault_of(tmp_path / "model.tar.gz")


def test_a_tflite_file_whose_offsets_lead_outside_is_refused(tmp_path):
    (tmp_path / "model.tflite").write_bytes(struct.pack("<I", 0xFFFFFFF0) + b"TFL3" + bytes(64))
    assert "is cut off" in fault_of(tmp_path / "model.tflite")


def test_a_signature_alone_is_a_model_that_is_cut_off(tmp_path):
    path = tmp_path / "model.h5"
    for size in range(8, 40):
        path.write_bytes(b"\x89HDF\r\n\x1a\n".ljust(size, b"\0"))
        assert fault_of(path).startswith("is cut off: it has ")


@pytest.mark.parametrize("place", [0, 6])  # the name of an entry, and the version that reads it
def test_a_damaged_archive_of_keras_is_refused(tmp_path, place):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("config.json", "model.weights.h5"):
            archive.writestr(name, b"0" * 100)
    assert fault_of(path) == ""
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\1\2") + place] ^= 0xFF
    path.write_bytes(content)
    assert fault_of(path).startswith("is damaged: ")


def npy(shape, *, kind="<f4", data=b""):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    "members",
    [
        {"000.npy": npy((1 << 38,))},
        {"000.npy": npy((16, 3), kind="|O", data=b"cos\nsystem\n(S'true'\ntR.")},
        {"000.npy": npy((16, 3), data=b"cut off")},
        {"000.npy": npy((2, 2), data=bytes(16))},
        {},
    ],
    ids=["huge", "pickle", "cut off", "other shape", "empty"],
)
def test_weights_of_an_exported_folder_that_are_not_its_own_are_refused(saved, tmp_path, members):
    (tmp_path / "architecture.json").write_bytes((saved / "architecture.json").read_bytes())
    with zipfile.ZipFile(tmp_path / "weights.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ConfigError, match="weights.npz does not hold the weights of its model"):
        network.load(tmp_path)


@pytest.mark.parametrize("section", ["general.model_path", "training.pretrained.path"])
def test_a_folder_that_is_no_model_is_refused_without_reading_what_it_holds(tmp_path, section, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "huge.bin").write_bytes(b"x")
    monkeypatch.setattr("mlops_aed.models.pretrained.digest", lambda path: pytest.fail(f"read {path}"))
    key = section.rpartition(".")[2]
    with pytest.raises(KeyFaultError, match="is not an exported model; expected a file"):
        with_digest({key: str(tmp_path)}, path_key=key, digest_key="sha256")


def test_a_folder_with_too_many_files_is_refused(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    for number in range(4):
        (tmp_path / "deep" / f"{number}.wav").write_bytes(b"x")
    noted = with_digest({"path": str(tmp_path)}, path_key="path", digest_key="sha256", is_model=False)
    assert len(noted["sha256"]) == 64
    monkeypatch.setattr("mlops_aed.models.pretrained._MOST_FILES", 3)
    with pytest.raises(KeyFaultError, match="holds more than 3 files; name the folder with the recordings"):
        with_digest({"path": str(tmp_path)}, path_key="path", digest_key="sha256", is_model=False)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "weights.npz",
            b"version https://git-lfs.github.com/spec/v1\noid",
            "holds weights.npz, which is a pointer of Git LFS",
        ),
        ("weights.npz", b"PK\x03\x04" + bytes(100), "holds weights.npz, which is cut off"),
        ("weights.npz", b"junk", "holds weights.npz, which is not an archive of weights"),
        ("metadata.json", b"<!DOCTYPE html>", "holds metadata.json, which is a web page"),
        ("architecture.json", b'{"layers": [', "holds architecture.json, which is not JSON"),
        ("model.tflite", b"", "holds model.tflite, which is empty"),
    ],
)
def test_a_file_of_an_exported_model_that_is_something_else_is_named(tmp_path, name, content, message):
    (tmp_path / "metadata.json").write_text("{}", encoding="utf-8")
    assert fault_of(tmp_path) == ""
    (tmp_path / name).write_bytes(content)
    assert fault_of(tmp_path).startswith(message)
