"""Script mode of the framework images: command and environment as the SageMaker Training Toolkit builds them.

Source: package ``sagemaker-training`` 5.1, modules ``mapping``, ``environment``, ``entry_point`` and ``process``.
Packages of a ``setup.py`` or ``requirements.txt`` are not installed here; distributed training (MPI, ``torchrun`` and
the like) is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.objects import parse_uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_sagemaker.emulator.jobs.common import Host, JobPlace

CODE = "/opt/ml/code"
_PREFIX = "sagemaker_"
_PROGRAM, _SOURCE, _LOG_LEVEL = "sagemaker_program", "sagemaker_submit_directory", "sagemaker_container_log_level"
_OWN = ("default_user_module_name", "_tuning_objective_metric")
"""Hyperparameters without the prefix that are not passed to the program either."""
_OF_THE_TOOLKIT = (
    _PROGRAM,
    _SOURCE,
    _LOG_LEVEL,
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_region",
    "sagemaker_job_name",
    "sagemaker_s3_output",
)
_DISTRIBUTED = re.compile(r"sagemaker_\w+_enabled\Z")
_ENTRY_POINT = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._+-]*(/[A-Za-z0-9._+-]+)*\Z")
_IN_FOLDER = 'cd "$1" && shift && exec "$@"'


def hyperparameters_of(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the hyperparameters of a training job as the service writes them."""
    return {name: str(value) for name, value in (request.get("HyperParameters") or {}).items()}


def script_command(place: JobPlace, host: Host, request: Mapping[str, Any]) -> list[str]:
    """Return the command for the program that the hyperparameters name; empty if they name none.

    The source is unpacked to ``/opt/ml/code``, the working directory of the program.

    Raises:
        StepFault: the source or the program cannot be used.
    """
    values = _values(request)
    program = values.get(_PROGRAM)
    if not program:
        return []
    for name, value in values.items():
        if value and _DISTRIBUTED.match(name):
            raise StepFault(FaultKind.CLIENT, f"hyperparameter {name}: distributed training cannot be executed here")
    folder = host.tree.folder(CODE)
    _fetch_source(place, host, folder, source=str(values.get(_SOURCE) or CODE))
    return ["/bin/sh", "-c", _IN_FOLDER, "sh", CODE, *_entry(folder, str(program)), *to_arguments(values)]


def to_arguments(values: Mapping[str, Any]) -> list[str]:
    """Return hyperparameters as arguments: sorted, ``--name value``, and ``-n value`` for names of one letter.

    A dict becomes ``key=value,key=value``, null an empty text; other values as Python prints them.
    """
    arguments: list[str] = []
    for name in sorted(name for name in values if _is_passed(name)):
        value = values[name]
        if isinstance(value, dict):
            text = ",".join(f"{key}={value[key]}" for key in sorted(value))
        else:
            text = "" if value is None else str(value)
        arguments += [f"--{name}" if len(name) > 1 else f"-{name}" if name else "", text]
    return arguments


def script_environment(host: Host, request: Mapping[str, Any], *, name: str, arn: str) -> dict[str, str]:
    """Return the environment variables of the service and of the toolkit."""
    values = _values(request)
    passed = {key: value for key, value in values.items() if _is_passed(key)}
    channels = [channel["ChannelName"] for channel in request.get("InputDataConfig") or ()]
    resources = host.resource_config
    variables: dict[str, Any] = {
        "MODEL_DIR": "/opt/ml/model",
        "OUTPUT_DIR": "/opt/ml/output",
        "OUTPUT_DATA_DIR": "/opt/ml/output/data",
        "OUTPUT_INTERMEDIATE_DIR": "/opt/ml/output/intermediate",
        "INPUT_DIR": "/opt/ml/input",
        "INPUT_CONFIG_DIR": "/opt/ml/input/config",
        "CHANNELS": sorted(channels),
        "HPS": passed,
        "USER_ARGS": to_arguments(values),
        "USER_ENTRY_POINT": values.get(_PROGRAM),
        "MODULE_NAME": re.sub(r"\.py\Z", "", str(values.get(_PROGRAM) or "")),
        "MODULE_DIR": str(values.get(_SOURCE) or CODE),
        "LOG_LEVEL": values.get(_LOG_LEVEL, 20),
        "FRAMEWORK_PARAMS": {
            key: value for key, value in values.items() if key.startswith(_PREFIX) and key not in _OF_THE_TOOLKIT
        },
        "RESOURCE_CONFIG": resources,
        "HOSTS": list(host.names),
        "CURRENT_HOST": host.name,
        "CURRENT_INSTANCE_TYPE": host.instance_type,
        "CURRENT_INSTANCE_GROUP": resources["current_group_name"],
        "NETWORK_INTERFACE_NAME": resources["network_interface_name"],
        "IS_HETERO": False,
        "NUM_GPUS": 0,
        "NUM_NEURONS": 0,
        "NUM_CPUS": os.cpu_count() or 1,
    }
    variables |= {f"CHANNEL_{channel}": f"/opt/ml/input/data/{channel}" for channel in channels}
    variables |= {f"HP_{key}": value for key, value in passed.items()}
    texts = {f"SM_{key.upper()}": _as_variable(value) for key, value in variables.items()}
    service = {"TRAINING_JOB_NAME": name, "TRAINING_JOB_ARN": arn}
    return service | texts | {key: str(value) for key, value in (request.get("Environment") or {}).items()}


def _values(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the hyperparameters, each of which the SDK encodes as JSON."""
    return {name: _decoded(text) for name, text in hyperparameters_of(request).items()}


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_passed(name: str) -> bool:
    return not name.startswith(_PREFIX) and name not in _OWN


def _as_variable(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


# --- Source and entry point -------------------------------------------------------------------------------


def _fetch_source(place: JobPlace, host: Host, folder: Path, *, source: str) -> None:
    """Unpack or copy the source to the code folder, unless that has files already."""
    if any(folder.iterdir()) or source == CODE:
        return
    path = host.tree.path("/opt/ml/input/source.tar.gz")
    if source.startswith("s3://"):
        place.objects.download(parse_uri(source), path)
    elif ".." in PurePosixPath(source).parts or not source.startswith("/opt/ml/"):
        raise StepFault(FaultKind.CLIENT, f"{_SOURCE}: {source!r} is neither an s3:// URI nor below /opt/ml")
    else:
        path = host.tree.path(source)
    try:
        if path.is_dir():
            shutil.copytree(path, folder, dirs_exist_ok=True)
        elif source.startswith("s3://") or tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                tar.extractall(folder, filter="data")
        else:
            shutil.copy2(path, folder)
    except (OSError, tarfile.TarError) as error:
        raise StepFault(FaultKind.CLIENT, f"{_SOURCE}: {source} cannot be unpacked: {error}") from error


def _entry(folder: Path, program: str) -> list[str]:
    """Return how the toolkit starts a program, which depends on its name and on a ``setup.py`` beside it."""
    if not _ENTRY_POINT.match(program) or {".", ".."} & set(program.split("/")):
        expected = "letters, digits and '._+-/', relative to the source"
        raise StepFault(FaultKind.CLIENT, f"{_PROGRAM}: {program!r} is not a valid entry point; expected {expected}")
    has_package = (folder / "setup.py").is_file()
    if has_package and not program.endswith(".sh"):
        return ["python3", "-m", re.sub(r"\.py\Z", "", program)]
    path = folder / program
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise StepFault(FaultKind.CLIENT, f"{_PROGRAM}: the source has no file {program!r}")
    if program.endswith(".py"):
        return ["python3", program]
    path.chmod(0o777)
    return [f"./{program}"]
