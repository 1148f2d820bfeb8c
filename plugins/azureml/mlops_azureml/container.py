"""Executes a node in a container of the service: a step, the gate, the registration of a model, the mark of the best.

`mlops_core.runners.container.execution` executes a step; this module knows how the service passes folders (as arguments
of the command, ``--input=NAME=FOLDER`` and ``--output=NAME=FOLDER``) and how it learns the outcome (the exit code and
the log). The command is ``python3 -m mlops_azureml.container [gate | register | tag] ARGUMENTS``.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_azureml.compiler.commands import decoded, request_text
from mlops_azureml.layout import ACCEPTED, BEST_METADATA, METADATA, MODEL_INPUT, VERDICT
from mlops_core import MlopsError, Shard
from mlops_core.runners import OBJECTIVE_OUTPUT, ExitCode, RunnerError, read_settings
from mlops_core.runners.container.execution import run_container
from mlops_core.runners.container.request import read_order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlops_core.runners.container.execution import ContainerLayout
    from mlops_core.runners.container.request import ContainerRequest

_TRIAL = "--trial="


@dataclass(slots=True, kw_only=True)
class NodeArguments:
    """The arguments of a node's command.

    Attributes:
        inputs: name of an input, or ``NAME/FOLDER`` for a part of it -> folder.
        outputs: name of an output -> folder.
        shard: which instance this is.
        core: the arguments that core reads.
        options: all others, by name.
    """

    inputs: dict[str, Path] = field(default_factory=dict)
    outputs: dict[str, Path] = field(default_factory=dict)
    shard: Shard = field(default_factory=Shard)
    core: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Sequence[str]) -> NodeArguments:
        """Parse the arguments of a command.

        Raises:
            RunnerError: one is damaged.
        """
        arguments = cls()
        for text in texts:
            flag, _, value = text.partition("=")
            try:
                arguments._take(flag, value, text)
            except (ValueError, IndexError) as error:
                raise RunnerError(f"argument {text[:80]!r} of the node's command is damaged: {error}") from error
        return arguments

    def _take(self, flag: str, value: str, text: str) -> None:
        if flag in ("--input", "--output"):
            name, separator, folder = value.partition("=")
            if not separator or not folder:
                raise ValueError("expected NAME=FOLDER")
            (self.inputs if flag == "--input" else self.outputs)[name] = Path(folder)
        elif flag == "--shard":
            index, count = value.split("/")
            self.shard = Shard(index=int(index), count=int(count))
        elif encoded := request_text(text):
            self.core.append(f"--request={json.dumps(decoded(encoded))}")
        elif flag in ("--name", "--build-source", "--build-id", "--facts64", "--compared-by", "--goal"):
            self.options[flag.removeprefix("--")] = value
        else:
            self.core.append(text)

    def input(self, name: str) -> Path:
        """Return the folder of an input.

        Raises:
            RunnerError: the command does not name it.
        """
        if name not in self.inputs:
            raise RunnerError(f"the node's command names no input '{name}'; compile the pipeline again")
        return self.inputs[name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute the node of the arguments and return the exit code."""
    texts = list(sys.argv[1:] if arguments is None else arguments)
    parts: dict[str, Callable[[NodeArguments], None]] = {"gate": pass_gate, "register": register_model, "tag": mark}
    if texts and texts[0] in parts:
        return _carried_out(parts[texts[0]], texts[1:])
    try:
        node = NodeArguments.parse(texts)
    except MlopsError as error:
        return _failed(error)
    code = run_container(node.core, NodeSite(node))
    if code == ExitCode.OK and any(text.startswith(_TRIAL) for text in node.core):
        return _carried_out(log_objective, texts)
    return code


def _carried_out(part: Callable[[NodeArguments], None], texts: Sequence[str]) -> int:
    try:
        part(NodeArguments.parse(texts))
    except MlopsError as error:
        return _failed(error)
    except Exception as error:  # noqa: BLE001  the outermost function: the reason must reach the log
        traceback.print_exc()
        print(f"mlops: error: defect in mlops: {type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return int(ExitCode.DEFECT)
    return int(ExitCode.OK)


def _failed(error: MlopsError) -> int:
    print(f"mlops: error: {error}", file=sys.stderr, flush=True)  # noqa: T201  the container's log
    return int(error.exit_code)


# --- Steps -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeSite:
    """The container of a node."""

    node: NodeArguments

    def layout(self, request: ContainerRequest) -> ContainerLayout:
        """Return the folders of the node."""
        del request
        return NodeLayout(node=self.node, work=Path(tempfile.mkdtemp(prefix="mlops-")))

    def report(self, message: str, *, is_failure: bool) -> None:
        """Do nothing: the service reads the exit code, and core has printed the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLayout:
    """The folders of a node, as its command names them."""

    node: NodeArguments
    work: Path

    def input(self, name: str) -> Path:
        """Return the folder of an input, put together from its parts where it has some."""
        if name in self.node.inputs:
            return self.node.inputs[name]
        joined = self.work / "joined" / name
        for key, folder in self.node.inputs.items():
            owner, _, part = key.partition("/")
            if owner == name and folder.is_dir() and not (joined / part).exists():
                shutil.copytree(folder, joined / part, copy_function=_link)
        return joined

    def output(self, name: str) -> Path:
        """Return the folder of an output."""
        if name not in self.node.outputs:
            raise RunnerError(f"the node's command names no output '{name}'; compile the pipeline again")
        return self.node.outputs[name]

    def shard(self) -> Shard:
        """Return which instance this is."""
        return self.node.shard


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(Path(source).resolve())


def log_objective(node: NodeArguments) -> None:
    """Log the objective of a trial, by which the service compares it.

    Raises:
        RunnerError: the trial left no result, or MLflow refuses.
    """
    from mlops_azureml.values.mlflow import log_trial

    path = node.outputs.get(OBJECTIVE_OUTPUT, Path()) / "objective.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        name, value, drawn = str(result["metric"]), float(result["value"]), dict(result["values"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunnerError(f"{path} is not the result of a trial: {error}") from error
    log_trial(metric=name, value=value, parameters=drawn, environ=read_settings().environ)


# --- After the evaluation ----------------------------------------------------------------------------------------


def pass_gate(node: NodeArguments) -> None:
    """Pass on an accepted model.

    Raises:
        GateRejectedError: it was rejected; nothing is written.
        MlopsError: there is no verdict, or it is not confirmed.
    """
    from mlops_core.runners.container.acceptance import require_accepted

    require_accepted(read_order(node.core), evaluation=node.input("evaluation"), verdict=node.input(VERDICT))
    shutil.copytree(node.input("model"), node.outputs[ACCEPTED], copy_function=shutil.copyfile, dirs_exist_ok=True)
    print("accepted: every clause of the gate is met", flush=True)  # noqa: T201  the container's log


def register_model(node: NodeArguments) -> None:
    """Register the accepted model and write ``model_metadata.json``.

    Raises:
        RunnerError: the registry refuses; nothing is registered.
    """
    from mlops_azureml.registration import model_tags, open_registry, register
    from mlops_core.runners.container.acceptance import model_facts

    facts = model_facts(read_order(node.core), evaluation=node.input("evaluation"))
    origin = {str(key): str(value) for key, value in decoded(node.options["facts64"]).items()}
    tags = model_tags(facts, origin=_origin(origin, node.options, read_settings().environ))
    # As the service wrote it: a path would lose one of the slashes.
    model = register(open_registry(read_settings().environ), name=node.options["name"], uri=_address(node), tags=tags)
    metadata = {"name": model.name, "version": model.version, **dict(sorted(facts.metrics.items()))}
    _write_json(node.outputs[METADATA] / "model_metadata.json", metadata)
    print(f"registered {model.name} version {model.version}", flush=True)  # noqa: T201  the container's log


def mark(node: NodeArguments) -> None:
    """Mark the best version and write ``best_model_metadata.json``.

    Raises:
        RunnerError: the registry refuses, or the metadata does not name a registered model.
    """
    from mlops_azureml.registration import mark_best, open_registry

    path = node.input(METADATA) / "model_metadata.json"
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        name, version = str(metadata["name"]), str(metadata["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunnerError(f"{path} does not name a registered model: {error}") from error
    best = mark_best(
        open_registry(read_settings().environ),
        name=name,
        version=version,
        compared_by=node.options["compared-by"],
        is_higher_better=node.options["goal"] == "maximize",
    )
    _write_json(node.outputs[BEST_METADATA] / "best_model_metadata.json", {"name": name, "version": best.version})
    print(f"best version of {name}: {best.version}", flush=True)  # noqa: T201  the container's log


def _address(node: NodeArguments) -> str:
    text = str(node.input(MODEL_INPUT))
    scheme, separator, rest = text.partition(":/")
    return f"{scheme}://{rest.lstrip('/')}" if separator and not text.startswith("/") else text


def _origin(facts: Mapping[str, str], options: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    dataset, digest = facts.get("dataset", ""), facts.get("dataset_digest", "")
    return {
        "use_case": facts.get("use_case", ""),
        "plugin": facts.get("plugin", ""),
        "dataset_version": f"{dataset}:{digest[:12]}" if digest else dataset,
        "build_source": options.get("build-source", ""),
        "build_id": options.get("build-id", ""),
        "run_id": environ.get("AZUREML_ROOT_RUN_ID") or environ.get("AZUREML_RUN_ID", ""),
    }


def _write_json(path: Path, data: Mapping[str, object]) -> None:
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True)
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
