"""Names that a compiled job, its containers and the service share: nodes, ports, inputs of the job, paths, flags."""

from __future__ import annotations

import re

SEED, DATASET_INPUT, CHAMPION = "seed", "dataset", "champion"
IMAGES_INPUT, LABELS_INPUT = "input_image_data_path", "input_label_data_path"
MODEL_NAME, BUILD_ID, BUILD_SOURCE = "model_base_name", "build_id", "build_source"
JOB_INPUTS = (
    SEED,
    DATASET_INPUT,
    CHAMPION,
    IMAGES_INPUT,
    LABELS_INPUT,
    MODEL_NAME,
    BUILD_ID,
    BUILD_SOURCE,
)
"""Names of a job's own inputs; its other inputs are the parameters of the pipeline."""
GATE_NODE, REGISTER_NODE, TAG_NODE = "gate", "register_model", "tag_model"
OWN_NODES = (GATE_NODE, REGISTER_NODE, TAG_NODE)
ACCEPTED, VERDICT = "accepted", "verdict"
MODEL_INPUT, METADATA, BEST_METADATA = "model_input_path", "model_metadata_path", "best_model_metadata_path"
TRIAL = "trial"
LAYOUT = "node"
"""The only layout of containers; the request names it."""

RESERVED_PORTS = frozenset({"path", "ld_library_path", "user", "logname", "home", "pwd", "shell"})
"""Names of inputs and outputs that the service keeps for environment variables, in lower case."""
LONGEST_NAME = 255


def node_name(step: str) -> str:
    """Return the name of a step's node: a Python identifier in lower case.

    Example:
        >>> node_name("train-int8")
        'train_int8'
    """
    return step.replace("-", "_").replace(".", "_")


def shard_node(step: str, index: int) -> str:
    """Return the name of the node of one shard."""
    return f"{node_name(step)}_shard_{index}"


def port_name(name: str) -> str:
    """Return the name of an input or output in a job; a name that the service keeps for itself gets a ``_``.

    Example:
        >>> port_name("split-report"), port_name("path")
        ('split_report', 'path_')
    """
    port = name.replace("-", "_").replace(".", "_")
    return f"{port}_" if port.lower() in RESERVED_PORTS else port


def part_port(output: str, index: int) -> str:
    """Return the name of the input of a merge that holds an output of one shard."""
    return f"{port_name(output)}_part_{index}"


def parameter_port(name: str) -> str:
    """Return the name of the input of a node that holds the value of a parameter."""
    return f"parameter_{name}"


def asset_name(text: str) -> str:
    """Return a name that the service accepts for assets, experiments and components, from a use case's."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "model"


def datastore_path(datastore: str, *parts: str) -> str:
    """Return the address of a folder in a datastore of the workspace.

    Example:
        >>> datastore_path("workspaceblobstore", "datasets", "words")
        'azureml://datastores/workspaceblobstore/paths/datasets/words/'
    """
    return f"azureml://datastores/{datastore}/paths/{'/'.join(part.strip('/') for part in parts if part)}/"


def dataset_folder(name: str, digest: str) -> str:
    """Return where a data set is below a datastore; without its digest, where anybody may have put it."""
    return f"datasets/{name}/{digest}" if digest else f"datasets/{name}"


def champion_folder(prefix: str, digest: str) -> str:
    """Return where the best version's predictions are below a datastore."""
    return f"{prefix}/champions/{digest}"
