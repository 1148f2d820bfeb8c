"""Datastores as folders: the files of ``azureml://datastores/NAME/paths/PATH`` on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from mlops_core.runners import DefinitionError, write_atomically
from mlops_core.runners.remote.stable_copies import is_linked, place_files

_ADDRESS = re.compile(
    r"azureml://(?:subscriptions/[^/]+/resource[gG]roups/[^/]+/(?:providers/[^/]+/)?workspaces/[^/]+/)?"
    r"datastores/(?P<store>[A-Za-z0-9_]+)/paths/(?P<path>.*)\Z"
)


@dataclass(frozen=True, slots=True)
class FolderDatastores:
    """The datastores of a workspace, one folder each."""

    root: Path

    def path(self, address: str) -> Path:
        """Return the folder or file behind an address; a path on this machine stands for itself.

        Raises:
            DefinitionError: it is not an address of a datastore, or leads out of it.
        """
        match = _ADDRESS.match(address)
        if match is None:
            return self._local(address)
        parts = [part for part in urllib.parse.unquote(match["path"]).split("/") if part]
        if ".." in parts or any("\\" in part or "\0" in part for part in parts):
            raise DefinitionError(f"{address} leads out of its datastore; expected a path below it")
        return self.root.joinpath(match["store"], *parts)

    def _local(self, address: str) -> Path:
        if "://" in address or address.startswith("azureml:"):
            raise DefinitionError(
                f"{address} cannot be read on this machine; expected azureml://datastores/NAME/paths/PATH or a folder"
            )
        return Path(address).absolute()

    def place(self, folder: Path, address: str, *, own: Path | None = None) -> None:
        """Place the files of a folder at an address, as hard links where possible; nothing is done where they are.

        The address has to name the content, like that of a data set with its digest.

        Args:
            folder: with the files.
            address: where to place them.
            own: folder in which nobody edits files; those of other folders are copied, and where an earlier version of
                this package linked them, placed again. None if nobody edits the files, wherever they are.
        """
        target = self.path(address)
        if target.is_dir():
            if own is None or not is_linked(folder, target, own=own):
                return
            shutil.rmtree(target)
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        place_files(folder, partial, own=own)
        try:
            partial.rename(target)
        except OSError:  # a concurrent run has just placed it
            shutil.rmtree(partial)

    def discard(self, address: str) -> None:
        """Remove what is at an address."""
        shutil.rmtree(self.path(address), ignore_errors=True)

    def upload(self, folder: Path, address: str) -> None:
        """Move a folder to an address, replacing its former content."""
        target = self.path(address)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(folder, target)

    def register(self, name: str, version: str, address: str) -> str:
        """Make an address a version of a data asset and return the version; one that exists stays as it is.

        Args:
            name: of the asset.
            version: its version; empty for the next number.
            address: of the content.
        """
        folder = self.root.parent / "data" / name
        numbers = [int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()]
        version = version or str(max(numbers, default=0) + 1)
        path = folder / f"{version}.json"
        if not path.exists():
            write_note(path, json.dumps({"name": name, "version": version, "uri": address}))
        return version


def write_note(path: Path, text: str) -> None:
    """Write a small file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
