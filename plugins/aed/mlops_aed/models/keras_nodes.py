"""Numbers of the calls of nested models in a description that Keras 2 wrote, as Keras 3 counts them.

Keras 2 counts the construction of a nested model with an input as its first call, so a reference to its output is
``["sequential_2", 1, 0, {}]``. Keras 3 counts calls only, except where it reads the outputs of the outer model: there
it subtracts 1 for a ``Functional``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_FUNCTIONAL = {"Functional", "Model"}


def renumbered(config: Any) -> Any:
    """Return a description of a model, with the calls of nested models of any depth as Keras 3 counts them.

    References as Keras 3 writes them are mappings and stay as they are.
    """
    if isinstance(config, list):
        return [renumbered(item) for item in config]
    if not isinstance(config, dict):
        return config
    inner = {key: renumbered(value) for key, value in config.items()}
    if "output_layers" in inner and isinstance(inner.get("layers"), list) and any(_calls(inner["layers"])):
        _renumber(inner)
    return inner


def _renumber(graph: dict[str, Any]) -> None:
    """Change the references of one functional model in place; Keras 3 has a single input or output without a list."""
    nested = {layer["name"]: layer["class_name"] for layer in graph["layers"] if _is_model(layer)}
    calls = [call for call in _calls(graph["layers"]) if call[0] in nested]
    ends = [end for end in _ends(graph["output_layers"]) if end[0] in nested]
    first: dict[str, int] = {}
    for name, number, *_ in (*calls, *ends):
        first[name] = min(number, first.get(name, number))
    for call in calls:
        call[1] -= first[call[0]]
    for end in ends:
        end[1] -= first[end[0]] - (1 if nested[end[0]] in _FUNCTIONAL else 0)
    for key in ("input_layers", "output_layers"):
        if isinstance(graph.get(key), list) and len(_ends(graph[key])) == len(graph[key]) == 1:
            (graph[key],) = graph[key]


def _ends(outputs: Any) -> list[list[Any]]:
    """Return the references to the inputs or outputs of a model."""
    if isinstance(outputs, list) and len(outputs) == 3 and isinstance(outputs[0], str):
        return [outputs]
    return [item for item in outputs if isinstance(item, list)] if isinstance(outputs, list) else []


def _is_model(layer: dict[str, Any]) -> bool:
    config = layer.get("config")
    return isinstance(config, list) or (isinstance(config, dict) and isinstance(config.get("layers"), list))


def _calls(layers: list[dict[str, Any]]) -> Iterator[list[Any]]:
    """Yield the references ``[layer, call, tensor, ...]`` to the inputs of layers, as Keras 2 writes them."""
    for layer in layers:
        for node in layer.get("inbound_nodes") or ():
            if isinstance(node, list):
                yield from (item for item in node if isinstance(item, list) and item and isinstance(item[0], str))
