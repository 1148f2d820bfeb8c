"""The network: ``training.model`` by its name in any of the layouts, or the file at ``general.model_path``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_aed.stm32.rules import NETWORKS

if TYPE_CHECKING:
    from mlops_aed.stm32.draft import Draft

EMBEDDING = 256
_MINIRESNET = re.compile(r"miniresnet(?:v(?P<version>[12]))?(?:_s(?P<stacks>[12]))?(?P<average>_ap)?")
_SECTION = "training.model"


def set_model(draft: Draft, *, mode: str, is_trained: bool) -> None:
    """Set the network of the run; refuse two, none, or one that does not match the features."""
    path, name = draft.value("general.model_path"), draft.value(f"{_SECTION}.name")
    if not is_trained:
        _set_path(draft, mode)
        return
    if path and name:
        draft.refuse("general.model_path", f"and {draft.key(f'{_SECTION}.name')} exclude each other; keep one of them")
    elif path:
        draft.set("general.model_path", path, "general.model_path", note="training starts from it")
        draft.set(f"{_SECTION}.name", "file")
    elif name:
        _set_network(draft, name)
    else:
        note = (
            f"is required by operation_mode {mode}, or {draft.key('general.model_path')}; legal: {', '.join(NETWORKS)}"
        )
        draft.refuse(f"{_SECTION}.name", note)
    _check_shape(draft)


def _set_path(draft: Draft, mode: str) -> None:
    path = draft.value("general.model_path")
    if path:
        draft.set("general.model_path", path, "general.model_path")
    else:
        draft.refuse(
            "general.model_path", f"is required by operation_mode {mode}: a .h5, .keras, .tflite or .onnx file"
        )
    _check_shape(draft)
    draft.ignore(*draft.names(_SECTION), note=f"the model at {draft.key('general.model_path')} is used")


def _set_network(draft: Draft, name: str) -> None:
    if name == "custom":
        _set_custom(draft)
    elif name.startswith("yamnet"):
        _set_yamnet(draft, name)
    else:
        _set_miniresnet(draft, name)
    dropout = draft.value("training.dropout")
    draft.set(f"{_SECTION}.dropout", dropout or 0, "training.dropout")


def _set_custom(draft: Draft) -> None:
    code = draft.value(f"{_SECTION}.code")
    if code is None:
        draft.refuse(
            f"{_SECTION}.name",
            f"is 'custom': add {draft.key(f'{_SECTION}.code')}: package.module:function, "
            "a function (input shape, classes) -> network",
        )
        return
    draft.set(f"{_SECTION}.name", "custom", f"{_SECTION}.name")
    draft.set(f"{_SECTION}.code", code, f"{_SECTION}.code")


def _set_yamnet(draft: Draft, name: str) -> None:
    key = f"{_SECTION}.embedding_size"
    size = int(name.removeprefix("yamnet_e")) if "_e" in name else draft.value(key) or EMBEDDING
    if size != EMBEDDING:
        source = f"{_SECTION}.name" if "_e" in name else key
        draft.refuse(source, f"asks for {size} values; legal: {EMBEDDING}, the backbone whose weights can be read")
        return
    draft.set(f"{_SECTION}.name", "yamnet", f"{_SECTION}.name")
    draft.set(f"{_SECTION}.embedding_size", EMBEDDING, key)
    # The zoo's network uses the mean of the last map; the default here has three times as many values.
    draft.set(f"{_SECTION}.pooling", "avg")
    pretrained = draft.value(f"{_SECTION}.pretrained_weights")
    draft.set(f"{_SECTION}.pretrained", pretrained is not False, f"{_SECTION}.pretrained_weights")


def _set_miniresnet(draft: Draft, name: str) -> None:
    match = _MINIRESNET.fullmatch(name)
    version = (match and match["version"]) or str(draft.value(f"{_SECTION}.version") or "v1")[-1]
    if name == "miniresnetv2":
        version = "2"
    stacks = (match and match["stacks"]) or draft.value(f"{_SECTION}.n_stacks") or 1
    pooling = "avg" if match and match["average"] else draft.value(f"{_SECTION}.pooling")
    ours = "miniresnetv2" if version == "2" else "miniresnet"
    draft.set(f"{_SECTION}.name", ours, f"{_SECTION}.name", f"{_SECTION}.version")
    draft.set(f"{_SECTION}.n_stacks", int(stacks), f"{_SECTION}.n_stacks")
    draft.set(f"{_SECTION}.pooling", pooling, f"{_SECTION}.pooling")
    if draft.value(f"{_SECTION}.pretrained_weights"):
        note = "weights are published for yamnet only; this network starts with random ones"
        draft.ignore(f"{_SECTION}.pretrained_weights", note=note)


def _check_shape(draft: Draft) -> None:
    """Compare the network's input with the shape of the features; the last 1 may be left out."""
    key = f"{_SECTION}.input_shape"
    shape = draft.value(key)
    expected = (draft.value("feature_extraction.n_mels"), draft.value("feature_extraction.patch_length"))
    if shape is None or None in expected:
        return
    if shape not in {expected, (*expected, 1)}:
        draft.refuse(key, f"is {shape}; legal with these features: {(*expected, 1)}")
    else:
        draft.map(key, target="feature_extraction", note="equals (n_mels, patch_length, 1)")
