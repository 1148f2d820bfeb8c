"""Checks the expressions in commands: each must name an input or output of the component."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_azureml.checking.faults import below
from mlops_azureml.checking.graph import component_of, iter_expressions, ports_of

if TYPE_CHECKING:
    from mlops_azureml.checking.faults import Faults

_OPTIONAL = re.compile(r"\$\[\[.*?\]\]", re.DOTALL)
_UNFINISHED = re.compile(r"\$\{\{(?![^{}$]*\}\})|\$\[\[(?!.*?\]\])", re.DOTALL)
_LINE_END = re.compile(r"\\\s*\n")
_KINDS = ("inputs", "outputs", "search_space")


def check_commands(faults: Faults, data: Mapping[str, Any]) -> None:
    """Check the commands of all command and sweep nodes."""
    jobs = data.get("jobs")
    for name, node in jobs.items() if isinstance(jobs, Mapping) else ():
        if not isinstance(node, Mapping):
            continue
        component = component_of(node)
        key = "trial" if node.get("type") == "sweep" else "component"
        path = below(below("jobs", str(name)), key) if component is not None else below("jobs", str(name))
        command = (component if component is not None else node).get("command")
        if isinstance(command, str):
            _check_command(faults, below(path, "command"), command, node)


def _check_command(faults: Faults, path: str, command: str, node: Mapping[str, Any]) -> None:
    if _LINE_END.search(command):
        faults.add(path, "a line ends with '\\'", "write the command in one line, or with '>-' in YAML")
    if match := _UNFINISHED.search(command):
        faults.add(path, f"'{command[match.start() : match.start() + 30]}' is not closed", "close it with '}}' or ']]'")
    inputs, outputs = ports_of(node, "inputs"), ports_of(node, "outputs")
    space = node.get("search_space") if node.get("type") == "sweep" else {}
    known = {"inputs": inputs, "outputs": outputs, "search_space": space if isinstance(space, Mapping) else {}}
    for text, inside in iter_expressions(command):
        kind, _, name = inside.partition(".")
        if kind not in _KINDS or not name:
            faults.add(path, f"{text} does not belong in a command", "expected ${{inputs.NAME}} or ${{outputs.NAME}}")
        elif name not in known[kind]:
            faults.unknown(path, f"{kind.removesuffix('s')} in {text}:", name, map(str, known[kind]))
    required = _OPTIONAL.sub("", command)
    for text, inside in iter_expressions(required):
        kind, _, name = inside.partition(".")
        declared = inputs.get(name)
        if kind == "inputs" and isinstance(declared, Mapping) and declared.get("optional") is True:
            faults.add(path, f"{text} is optional, and the command always reads it", f"write $[[--{name} {text}]]")
    read = {inside for _, inside in iter_expressions(command)}
    for name in outputs:
        if f"outputs.{name}" not in read and component_of(node) is not None:
            faults.warn(path, f"the command does not name the output '{name}'", f"pass ${{{{outputs.{name}}}}} to it")
