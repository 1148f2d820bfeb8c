"""The ``/opt/ml`` tree of a container below a temporary root.

Commands, environments and configuration files contain ``/opt/ml/...``, which does not exist without a container, so
these texts are rewritten to paths in the tree. Code with hard-coded paths needs the mount namespace of
`mlops_sagemaker.emulator.jobs.containers`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.paths import require_inside

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MENTION = re.compile(r"(?<![\w./-])/opt/ml(?![\w.-])")


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree below `root`, which takes the place of ``/``."""

    root: Path

    @property
    def opt_ml(self) -> Path:
        """The folder that takes the place of ``/opt/ml``."""
        return self.root / "opt" / "ml"

    def path(self, inside: str) -> Path:
        """Return the path on this machine for a path below ``/opt/ml`` in the container.

        Raises:
            StepFault: the path is not below ``/opt/ml``.
        """
        return self.root / require_inside(inside).lstrip("/")

    def folder(self, inside: str) -> Path:
        """Create a folder of the container and return its path on this machine.

        Raises:
            StepFault: the path is not below ``/opt/ml``.
        """
        path = self.path(inside)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def rewrite(self, text: str) -> str:
        """Return `text` with ``/opt/ml`` replaced by its path in the tree."""
        return _MENTION.sub(lambda _: str(self.opt_ml), text)

    def write_json(self, inside: str, data: Mapping[str, Any]) -> None:
        """Write a JSON configuration file."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1, sort_keys=True), encoding="utf-8")

    def rewrite_files(self, folder: str) -> None:
        """Rewrite the paths in the configuration files below `folder`."""
        for path in self.path(folder).rglob("*.json"):
            path.write_text(self.rewrite(path.read_text(encoding="utf-8")), encoding="utf-8")
