"""What a pipeline job may contain, as tables: keys with their types, types of ports, modes.

Sources: the YAML reference of pipeline jobs, command components and sweep jobs (CLI v2), and what azure-ai-ml 1.35
reads. Nodes whose keys are not listed (parallel, spark, automl, ...) are checked for names, compute and bindings only.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The type of a value."""

    TEXT = "a text"
    NUMBER = "a number"
    WHOLE = "a whole number"
    POSITIVE = "a whole number above 0"
    FLAG = "true or false"
    MAP = "a mapping"
    LIST = "a list"
    TEXTS = "a mapping of texts"
    COMPUTE = "azureml:NAME"
    ANY = "anything"


JOB = {
    "$schema": Kind.TEXT,
    "type": Kind.TEXT,
    "name": Kind.TEXT,
    "display_name": Kind.TEXT,
    "experiment_name": Kind.TEXT,
    "description": Kind.TEXT,
    "tags": Kind.TEXTS,
    "properties": Kind.TEXTS,
    "compute": Kind.COMPUTE,
    "settings": Kind.MAP,
    "inputs": Kind.MAP,
    "outputs": Kind.MAP,
    "jobs": Kind.MAP,
    "identity": Kind.MAP,
    "services": Kind.MAP,
    "component": Kind.ANY,
}
SETTINGS = {
    "default_compute": Kind.COMPUTE,
    "default_datastore": Kind.TEXT,
    "continue_on_step_failure": Kind.FLAG,
    "force_rerun": Kind.FLAG,
}
_NODE = {
    "type": Kind.TEXT,
    "component": Kind.ANY,
    "inputs": Kind.MAP,
    "outputs": Kind.MAP,
    "compute": Kind.COMPUTE,
    "resources": Kind.MAP,
    "properties": Kind.TEXTS,
    "comment": Kind.TEXT,
    "identity": Kind.MAP,
    "queue_settings": Kind.MAP,
}
COMMAND_NODE = {
    **_NODE,
    "limits": Kind.MAP,
    "environment": Kind.ANY,
    "environment_variables": Kind.TEXTS,
    "distribution": Kind.MAP,
    "services": Kind.MAP,
    "code": Kind.TEXT,
    "command": Kind.TEXT,
    "display_name": Kind.TEXT,
    "description": Kind.TEXT,
    "tags": Kind.TEXTS,
}
SWEEP_NODE = {
    "type": Kind.TEXT,
    "trial": Kind.ANY,
    "inputs": Kind.MAP,
    "outputs": Kind.MAP,
    "compute": Kind.COMPUTE,
    "resources": Kind.MAP,
    "properties": Kind.TEXTS,
    "comment": Kind.TEXT,
    "queue_settings": Kind.MAP,
    "sampling_algorithm": Kind.ANY,
    "search_space": Kind.MAP,
    "objective": Kind.MAP,
    "limits": Kind.MAP,
    "early_termination": Kind.MAP,
}
COMPONENT = {
    "$schema": Kind.TEXT,
    "type": Kind.TEXT,
    "name": Kind.TEXT,
    "version": Kind.ANY,
    "display_name": Kind.TEXT,
    "description": Kind.TEXT,
    "tags": Kind.TEXTS,
    "is_deterministic": Kind.FLAG,
    "inputs": Kind.MAP,
    "outputs": Kind.MAP,
    "code": Kind.TEXT,
    "environment": Kind.ANY,
    "command": Kind.TEXT,
    "resources": Kind.MAP,
    "distribution": Kind.MAP,
    "properties": Kind.TEXTS,
    "additional_includes": Kind.LIST,
    "queue_settings": Kind.MAP,
}
RESOURCES = {
    "instance_type": Kind.ANY,
    "instance_count": Kind.POSITIVE,
    "shm_size": Kind.TEXT,
    "docker_args": Kind.ANY,
    "locations": Kind.LIST,
    "properties": Kind.MAP,
    "max_instance_count": Kind.POSITIVE,
}
COMMAND_LIMITS = {"timeout": Kind.POSITIVE}
SWEEP_LIMITS = {
    "max_total_trials": Kind.POSITIVE,
    "max_concurrent_trials": Kind.POSITIVE,
    "timeout": Kind.POSITIVE,
    "trial_timeout": Kind.POSITIVE,
}
IDENTITY_TYPES = ("managed", "managed_identity", "user_identity", "aml_token")
JOB_INPUT = {"type": Kind.TEXT, "path": Kind.TEXT, "mode": Kind.TEXT, "value": Kind.ANY, "description": Kind.TEXT}
NODE_INPUT = {"type": Kind.TEXT, "path": Kind.ANY, "mode": Kind.TEXT, "value": Kind.ANY}
OUTPUT = {
    "type": Kind.TEXT,
    "path": Kind.TEXT,
    "mode": Kind.TEXT,
    "name": Kind.TEXT,
    "version": Kind.ANY,
    "description": Kind.TEXT,
}
COMPONENT_INPUT = {
    "type": Kind.TEXT,
    "description": Kind.TEXT,
    "default": Kind.ANY,
    "optional": Kind.FLAG,
    "min": Kind.NUMBER,
    "max": Kind.NUMBER,
    "enum": Kind.LIST,
    "mode": Kind.TEXT,
    "path": Kind.TEXT,
}
COMPONENT_OUTPUT = {"type": Kind.TEXT, "description": Kind.TEXT, "mode": Kind.TEXT}
ENVIRONMENT = {
    "image": Kind.TEXT,
    "name": Kind.TEXT,
    "version": Kind.ANY,
    "conda_file": Kind.ANY,
    "build": Kind.MAP,
    "description": Kind.TEXT,
    "tags": Kind.TEXTS,
    "os_type": Kind.TEXT,
    "inference_config": Kind.MAP,
}
DISTRIBUTIONS = {
    "pytorch": {"type": Kind.TEXT, "process_count_per_instance": Kind.POSITIVE},
    "mpi": {"type": Kind.TEXT, "process_count_per_instance": Kind.POSITIVE},
    "tensorflow": {"type": Kind.TEXT, "worker_count": Kind.POSITIVE, "parameter_server_count": Kind.WHOLE},
    "ray": {"type": Kind.TEXT},
}

NODE_TYPES = ("command", "sweep", "parallel", "spark", "automl", "pipeline", "data_transfer", "import")
LITERALS = ("string", "number", "integer", "boolean")
FOLDERS = ("uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model")
DATA = ("uri_file", *FOLDERS)
INPUT_MODES = ("ro_mount", "download", "direct")
TABLE_INPUT_MODES = (*INPUT_MODES, "eval_mount", "eval_download")
OUTPUT_MODES = ("rw_mount", "upload")
TABLE_OUTPUT_MODES = (*OUTPUT_MODES, "direct")

SAMPLERS = ("random", "grid", "bayesian")
BAYESIAN = ("choice", "uniform", "quniform")
SPACES = {
    "choice": ("values",),
    "randint": ("upper",),
    "uniform": ("min_value", "max_value"),
    "loguniform": ("min_value", "max_value"),
    "quniform": ("min_value", "max_value", "q"),
    "qloguniform": ("min_value", "max_value", "q"),
    "normal": ("mu", "sigma"),
    "lognormal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "qlognormal": ("mu", "sigma", "q"),
}
POLICIES = {
    "bandit": ("slack_factor", "slack_amount"),
    "median_stopping": (),
    "truncation_selection": ("truncation_percentage",),
}
POLICY_KEYS = ("type", "evaluation_interval", "delay_evaluation")
