"""What a model of Keras may describe: layers of Keras itself, without code and without other files.

A description names classes and modules. Keras looks them up; which of them it refuses depends on its version, so that
everything but plain layers is refused here, before Keras reads anything.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import h5py

from mlops_core import ConfigError, require_plain_hdf5

if TYPE_CHECKING:
    from pathlib import Path

_CODE_LAYERS = frozenset(
    {"Lambda", "TFOpLambda", "SlicingOpLambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
)
_FILE_LAYERS = frozenset({"StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup"})
"""Layers whose vocabulary may be the name of a file."""
_MARKED = frozenset({"__lambda__", "__function__", "function"})
_MODULES = tuple(
    f"keras.{source}{name}"
    for source in ("", "src.", "api.")
    for name in (
        *("layers", "models", "engine", "initializers", "regularizers", "constraints", "activations", "ops"),
        *("quantizers", "dtype_policies", "mixed_precision", "backend"),
    )
)
_NOT_BUILT = frozenset({"compile_config", "build_config"})
"""Parts of a description that are not read: models are loaded without their training."""
_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_RATIO_LIMIT = 200
_FREE_BYTES = 64 << 20
_CONFIG_LIMIT_BYTES = 32 << 20


def require_layers_only(config: Any, path: Path) -> None:
    """Refuse a description that holds code, names anything but objects of Keras, or reads files.

    Raises:
        ConfigError: the class or module is named.
    """
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            _require_plain_object(part, path)
            waiting.extend(value for key, value in part.items() if key not in _NOT_BUILT)


def _require_plain_object(part: dict[str, Any], path: Path) -> None:
    name, module = part.get("class_name"), part.get("module")
    if name in _CODE_LAYERS or name in _MARKED:
        raise ConfigError(f"{path} has a layer {name}, which holds code; code is never run")
    if name in _FILE_LAYERS:
        raise ConfigError(f"{path} has a layer {name}, which may read other files; refused")
    if "class_name" not in part or module is None:
        return
    is_known = isinstance(module, str) and (
        module == "keras" or f"{module}.".startswith(tuple(f"{m}." for m in _MODULES))
    )
    if not is_known:
        raise ConfigError(f"{path} names {module}.{name}, which is not a layer of Keras; refused")


def require_plain_archive(path: Path) -> None:
    """Refuse a ``.keras`` file with more in it than a network of plain layers and its weights.

    Raises:
        ConfigError: the member, class or module is named.
        zipfile.BadZipFile: it is damaged; other errors of the readers are passed on.
    """
    with zipfile.ZipFile(path) as archive:
        left = max(_FREE_BYTES, _RATIO_LIMIT * path.stat().st_size)
        for member in archive.infolist():
            if member.filename not in {_CONFIG, _WEIGHTS, _METADATA} and not _is_empty_folder(member):
                raise ConfigError(f"{path} holds '{member.filename}'; expected {_CONFIG}, {_METADATA} and {_WEIGHTS}")
            left -= member.file_size
            if left < 0:
                raise ConfigError(f"{path}: '{member.filename}' unpacks to far more than the file; refused")
        if len(archive.infolist()) != len(set(archive.namelist())):
            raise ConfigError(f"{path} holds a file twice; refused")
        if archive.getinfo(_CONFIG).file_size > _CONFIG_LIMIT_BYTES:
            raise ConfigError(f"{path}: {_CONFIG} has more than {_CONFIG_LIMIT_BYTES:,} bytes; refused")
        require_layers_only(json.loads(archive.read(_CONFIG)), path)
        weights = archive.read(_WEIGHTS)
    with h5py.File(io.BytesIO(weights)) as file:
        require_plain_hdf5(file, name=f"{path.name}: {_WEIGHTS}", size=len(weights))


def _is_empty_folder(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename)
    return member.is_dir() and not member.file_size and not parts.is_absolute() and ".." not in parts.parts
