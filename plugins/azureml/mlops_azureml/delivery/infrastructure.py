"""The infrastructure for Terraform: a workspace, clusters that scale to zero, a virtual network, identities."""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING

from mlops_core import UsageError

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("main.tf", "network.tf", "identities.tf", "variables.tf", "outputs.tf")


def infrastructure_text(name: str) -> str:
    """Return the text of one of `FILES`."""
    files = importlib.resources.files("mlops_azureml.delivery")
    return (files / "templates" / "terraform" / name).read_text(encoding="utf-8")


def write_infrastructure(folder: Path, *, is_forced: bool = False) -> tuple[Path, ...]:
    """Write the files to a folder and return their paths.

    Raises:
        UsageError: one exists and `is_forced` is not set, or the folder cannot be written.
    """
    paths = tuple(folder / name for name in FILES)
    existing = [path for path in paths if path.exists()]
    if existing and not is_forced:
        raise UsageError(f"{existing[0]} exists; --force replaces it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            path.write_text(infrastructure_text(path.name), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
    return paths
