"""Results of deterministic nodes that later jobs may reuse, as the service does.

The service compares components and inputs: values, and the *addresses* of data, not their bytes. A reused node has the
outputs of the former one, so nodes behind it may be reused, too.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from mlops_azureml.interpreter.datastores import write_note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_azureml.interpreter.datastores import FolderDatastores

_SHOWN_ONLY = ("display_name", "description", "tags", "version")


def result_key(component: Mapping[str, Any], inputs: Mapping[str, object]) -> str:
    """Return the key of a node's results.

    Args:
        component: of the node.
        inputs: port -> value or address.
    """
    compared = {name: value for name, value in component.items() if name not in _SHOWN_ONLY}
    text = json.dumps([compared, dict(inputs)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class ReusableResults:
    """Outputs of former nodes by key, in a folder."""

    def __init__(self, folder: Path, datastores: FolderDatastores) -> None:
        """Keep one file for each result in `folder`; the outputs themselves are in the datastores."""
        self._folder = folder
        self._datastores = datastores

    def find(self, key: str) -> tuple[str, dict[str, str]] | None:
        """Return the job that has executed a node and the addresses of its outputs; None if there is none."""
        try:
            data = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
            outputs = {str(port): str(address) for port, address in data["outputs"].items()}
            job = str(data["job"])
        except (OSError, ValueError, KeyError, AttributeError):
            return None
        if not all(self._datastores.path(address).exists() for address in outputs.values()):
            return None
        return job, outputs

    def keep(self, key: str, *, job: str, outputs: Mapping[str, str]) -> None:
        """Keep the outputs of a node."""
        write_note(self._folder / f"{key}.json", json.dumps({"job": job, "outputs": dict(outputs)}))
