"""An HDF5 file with weights reaches no other file and declares no more than it holds; each refusal names the place."""

import io
import subprocess
import sys

import pytest

from mlops_core import ConfigError, require_plain_hdf5

h5py = pytest.importorskip("h5py")
np = pytest.importorskip("numpy")


def external_link(file, _):
    file["kernel"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(file, _):
    file["kernel"] = h5py.SoftLink("/other")


def external_storage(file, folder):
    file.create_dataset("kernel", (16, 3), "f4", external=[(str(folder / "secret.bin"), 0, 16 * 3 * 4)])


def virtual(file, folder):
    layout = h5py.VirtualLayout((16, 3), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", (16, 3))
    file.create_virtual_dataset("kernel", layout)


def huge(file, _):
    file.create_dataset("kernel", (1 << 38,), "f4")


def texts(file, _):
    file.create_dataset("kernel", data=np.array(["x"] * 48, object), dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (external_link, "is a link to '/secret' in the file 'other.h5'; refused"),
        (soft_link, "is a link to '/other'; refused"),
        (external_storage, "keeps its data in another file; refused"),
        (virtual, "keeps its data in another file; refused"),
        (huge, r"has the shape \(274877906944,\), far more than the .* bytes of the file; refused"),
        (texts, "holds object; expected numbers"),
    ],
)
def test_faults_are_refused_by_place(tmp_path, fault, message):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        fault(file.create_group("layer"), tmp_path)
    with (
        h5py.File(path) as file,
        pytest.raises(ConfigError, match=f"^weights: model.h5: 'layer/kernel' {message}$"),
    ):
        require_plain_hdf5(file, name="weights: model.h5", size=path.stat().st_size)


def test_an_unknown_filter_is_refused(monkeypatch):
    monkeypatch.setattr("mlops_core.weights._FILTERS", frozenset({2}))
    with h5py.File(io.BytesIO(), "w") as file:
        file.create_dataset("kernel", data=[1.0, 2.0], compression="gzip")
        with pytest.raises(ConfigError, match="^m: 'kernel' is packed by the unknown filter 1; refused$"):
            require_plain_hdf5(file, name="m", size=2048)


def test_plain_arrays_and_a_group_that_contains_itself_are_accepted():
    with h5py.File(io.BytesIO(), "w") as file:
        file.create_dataset("layer/kernel", data=np.ones((4, 4), "f4"), chunks=(2, 2), compression="gzip")
        file["layer/again"] = file["layer"]
        require_plain_hdf5(file, name="m", size=2048)


def test_core_imports_h5py_only_when_it_is_called():
    command = "import sys, mlops_core; mlops_core.require_plain_hdf5; sys.exit('h5py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
