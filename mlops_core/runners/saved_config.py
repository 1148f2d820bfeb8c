"""The configuration in a run's folder: written when the run begins, read when it is resumed.

``config.yaml`` holds every value as it was used; a secret stays the reference that it was (``${TOKEN}``), and
``secrets.json`` a digest of its value, so that a resumed run uses the same values or is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlops_core.config_files.loaded import REDACTED, find_value
from mlops_core.errors import UsageError
from mlops_core.workspace.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.config_files.loaded import LoadedConfig
    from mlops_core.datasets.catalogue import DatasetChoice
    from mlops_core.workspace.records import RunRecord

CONFIG = "config.yaml"
_SECRETS = "secrets.json"
_NEW_RUN = "or start a new run, which reuses every unchanged step"


def write_saved_config(folder: Path, config: LoadedConfig, *, run_id: str) -> None:
    """Write the configuration of a run to its folder.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(folder / CONFIG, config.to_yaml())
    if config.secrets:
        write_atomically(folder / _SECRETS, json.dumps(config.secret_digests(salt=run_id), indent=1) + "\n")


def check_saved_config(folder: Path, config: LoadedConfig, *, run_id: str) -> None:
    """Refuse a saved configuration, as it was read again, that has other values than when the run began.

    Raises:
        UsageError: a secret has another value now, or was not saved as a reference.
    """
    try:
        saved = json.loads((folder / _SECRETS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        saved = {}
    now = config.secret_digests(salt=run_id)
    for key, digest in saved.items():
        if find_value(config.sections(), key) == REDACTED:
            raise UsageError(
                f"run {run_id} cannot be resumed: the value of {key} is secret and was not saved; start a new run"
            )
        if now.get(key) != digest:
            reference = config.secrets.get(key) or "its variable"
            raise UsageError(
                f"run {run_id} cannot be resumed: {key} ({reference}) has another value than when the run began; "
                f"set it back, {_NEW_RUN}"
            )


def check_saved_dataset(record: RunRecord, choice: DatasetChoice) -> None:
    """Refuse a relative ``dataset.path`` that leads to another folder than when the run began.

    Raises:
        UsageError: it does.
    """
    if record.dataset is None or choice.path is None or choice.path.is_absolute():
        return
    if str(choice.path.absolute()) != record.dataset.path:
        raise UsageError(
            f"run {record.run_id} cannot be resumed here: its data set is {record.dataset.path}, and dataset.path "
            f"'{choice.path}' leads to {choice.path.absolute()}; resume it in the folder in which it began, {_NEW_RUN}"
        )
