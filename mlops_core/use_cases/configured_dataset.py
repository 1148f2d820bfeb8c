"""The data set that the section ``dataset`` of a configuration selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import ConfigError, PluginError
from mlops_core.settings import expand_home

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.config import UseCaseConfig
    from mlops_core.datasets.catalogue import Dataset
    from mlops_core.use_cases.discovery import InstalledUseCase


def own_dataset(name: str, config: UseCaseConfig) -> Dataset | None:
    """Return the entry that the user's configuration has in ``dataset.source``.

    Raises:
        ConfigError: the script in it cannot be read.
    """
    from mlops_core.config import DatasetSourceSection
    from mlops_core.datasets.catalogue import CommandSource, Dataset, Source, StoredSource
    from mlops_core.datasets.digests import file_digest

    source = getattr(getattr(config, "dataset", None), "source", None)
    if not isinstance(source, DatasetSourceSection):
        return None
    entry: Source | CommandSource | StoredSource
    if source.url is not None and "://" in source.url and not source.url.startswith(("http://", "https://", "file://")):
        entry = StoredSource(url=source.url)
    elif source.url is not None:
        entry = Source(url=source.url, sha256=source.sha256 or "", unpack=_is_archive(source.url))
    else:
        script = expand_home(source.command_file or "", what="dataset.source.command_file").absolute()
        try:
            entry = CommandSource(script=str(script), sha256=file_digest(script))
        except OSError as error:
            raise ConfigError(
                f"dataset.source.command_file: {script} cannot be read: {error.strerror}; expected a script for bash"
            ) from None
    return Dataset(name=name, title=name, licence=source.licence or "", sources=(entry,))


def _is_archive(url: str) -> bool:
    from mlops_core.datasets.addresses import name_in_address

    return name_in_address(url).lower().endswith((".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz"))


def selected_dataset(config: UseCaseConfig, installed: InstalledUseCase) -> tuple[str, Path | None]:
    """Return the name in the section ``dataset`` and the folder given by the user, if any.

    Raises:
        PluginError: the configuration has no such section.
    """
    section = getattr(config, "dataset", None)
    name = getattr(section, "name", None)
    path = getattr(section, "path", None)
    if not isinstance(name, str):
        raise PluginError(
            f"{installed}: its configuration has no dataset.name; implement mlops_get_dataset_source instead"
        )
    return name, expand_home(path, what="dataset.path") if path else None
