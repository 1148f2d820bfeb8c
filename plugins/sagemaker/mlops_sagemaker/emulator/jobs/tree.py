"""The ``/opt/ml`` tree of one container under a temporary root, and how its paths are put into what a step is told.

A step's command, environment and configuration files mention ``/opt/ml/...``. Without a container that place does
not exist, so these texts are rewritten to the tree; code that has the path in its own source needs the mount of
`mlops_sagemaker.emulator.jobs.containers`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OPT_ML = "/opt/ml"
_MENTION = re.compile(r"(?<![\w./-])/opt/ml(?![\w.-])")


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree below `root`; `root` stands for ``/``."""

    root: Path

    @property
    def opt_ml(self) -> Path:
        """The folder that stands for ``/opt/ml``."""
        return self.root / "opt" / "ml"

    def path(self, inside: str) -> Path:
        """Return where a path of the container is on this machine."""
        return self.root / inside.lstrip("/")

    def folder(self, inside: str) -> Path:
        """Return the same, after making the folder."""
        path = self.path(inside)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def rewrite(self, text: str) -> str:
        """Return `text` with each mention of ``/opt/ml`` replaced by the place in the tree."""
        return _MENTION.sub(lambda _: str(self.opt_ml), text)

    def write_json(self, inside: str, data: Mapping[str, Any]) -> None:
        """Write a configuration file of the service."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1, sort_keys=True), encoding="utf-8")

    def rewrite_files(self, folder: str) -> None:
        """Rewrite the configuration files below `folder`; for a container that sees no ``/opt/ml``."""
        for path in self.path(folder).rglob("*.json"):
            path.write_text(self.rewrite(path.read_text(encoding="utf-8")), encoding="utf-8")
