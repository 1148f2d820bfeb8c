"""The configuration in a run's folder: written when the run begins, read when it is resumed or reproduced.

``config.yaml`` holds every value as it was used; one that came from the environment stays the reference that it was
(``${TOKEN}``), and ``secrets.json`` holds a digest of its value, so that a resumed run uses the same values or is
refused. A secret that was written out in the user's file is not saved at all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlops_core.config_files.values import find_value
from mlops_core.errors import UsageError
from mlops_core.redaction import REDACTED
from mlops_core.workspace.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.config_files.loaded import LoadedConfig
    from mlops_core.datasets.catalogue import DatasetChoice
    from mlops_core.workspace.records import RunRecord

CONFIG = "config.yaml"
_SECRETS = "secrets.json"
RESUME, REPRODUCE = "resume", "reproduce"
_NEW_RUN = "or start a new run, which reuses every unchanged step"


def write_saved_config(folder: Path, config: LoadedConfig, *, run_id: str) -> None:
    """Write the configuration of a run to its folder.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(folder / CONFIG, config.to_yaml())
    if config.references.texts:
        write_atomically(folder / _SECRETS, json.dumps(config.reference_digests(salt=run_id), indent=1) + "\n")


def require_complete(folder: Path, *, run_id: str, aim: str = RESUME) -> None:
    """Refuse to resume or reproduce a run of whose configuration a secret was not saved.

    Args:
        folder: holds the saved configuration.
        run_id: of the run.
        aim: `RESUME` or `REPRODUCE`.

    Raises:
        UsageError: the secret's key.
    """
    import yaml

    try:
        keys = json.loads((folder / _SECRETS).read_text(encoding="utf-8"))
        saved = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return  # what is missing or damaged is reported where it is needed
    for key in keys:
        if REDACTED in str(find_value(saved, key)):
            raise UsageError(
                f"run {run_id} cannot be {aim}d: the value of {key} is secret and was not saved; start a new run, and "
                f"write the value as ${{NAME}} to be able to {aim} one"
            )


def check_saved_config(folder: Path, config: LoadedConfig, *, run_id: str, aim: str = RESUME) -> None:
    """Refuse a saved configuration, as it was read again, that has other values than when the run began.

    Raises:
        UsageError: a value from the environment is another one now.
    """
    try:
        saved = json.loads((folder / _SECRETS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    now = config.reference_digests(salt=run_id)
    for key, digest in saved.items():
        if now.get(key) != digest:
            reference = config.references.texts.get(key) or "its variable"
            raise UsageError(
                f"run {run_id} cannot be {aim}d: {key} ({reference}) has another value than when the run began; "
                f"set it back{f', {_NEW_RUN}' if aim == RESUME else ''}"
            )


def check_saved_dataset(record: RunRecord, choice: DatasetChoice) -> None:
    """Refuse a relative ``dataset.path`` that leads to another folder than when the run began.

    Raises:
        UsageError: it does.
    """
    if record.dataset is None or record.dataset.asset or choice.path is None or choice.path.is_absolute():
        return
    if choice.earlier_split is not None:  # the data set is a folder of links, and its digest is compared
        return
    if choice.path.is_file():  # an archive: the data set is what was unpacked, and its digest is compared
        return
    if str(choice.path.absolute()) != record.dataset.path:
        raise UsageError(
            f"run {record.run_id} cannot be resumed here: its data set is {record.dataset.path}, and dataset.path "
            f"'{choice.path}' leads to {choice.path.absolute()}; resume it in the folder in which it began, {_NEW_RUN}"
        )
