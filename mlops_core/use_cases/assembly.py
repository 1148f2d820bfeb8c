"""Assembling a use case for a run: plugin, configuration, pipeline and data set, each checked against the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_core.config_files.loaded import LoadedConfig
    from mlops_core.datasets.catalogue import DatasetChoice
    from mlops_core.pipeline import Pipeline
    from mlops_core.use_cases.discovery import InstalledUseCase
    from mlops_core.use_cases.manager import UseCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """A use case, ready to run.

    Attributes:
        use_case: the use case; its plugin may not be imported yet.
        config: the validated configuration.
        pipeline: the pipeline of that configuration.
        dataset: the data set that the configuration selects.
    """

    use_case: UseCase
    config: LoadedConfig
    pipeline: Pipeline
    dataset: DatasetChoice


class EarlierAssemblies(Protocol):
    """Assemblies that were kept; `mlops_core.use_cases.assembly_cache.AssemblyCache` keeps them in a workspace."""

    def find(
        self,
        installed: InstalledUseCase,
        *,
        config: Path | None,
        overrides: Sequence[str],
        environ: Mapping[str, str],
    ) -> Assembly | None:
        """Return an earlier assembly if nothing that it depends on has changed."""

    def save(
        self, assembly: Assembly, *, config: Path | None, overrides: Sequence[str], environ: Mapping[str, str]
    ) -> None:
        """Keep an assembly."""


def assemble(
    name: str,
    *,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str],
    cache: EarlierAssemblies | None = None,
) -> Assembly:
    """Return the use case `name` with its configuration, pipeline and data set.

    Args:
        name: of the use case, without regard to case.
        config: the user's configuration file; None for the plugin's defaults.
        overrides: texts ``a.b=value``.
        environ: for ``${NAME}`` in the configuration.
        cache: earlier assemblies; one of them is returned, without importing the plugin, when nothing has changed.

    Raises:
        UsageError: the use case does not exist.
        PluginError: the plugin cannot be imported, or breaks the contract.
        ConfigError: the configuration is wrong, or names an unknown data set.
        PipelineError: the pipeline is not well formed.
    """
    from mlops_core.use_cases.discovery import find_use_case
    from mlops_core.use_cases.manager import load_use_case

    if cache is not None:
        known = cache.find(find_use_case(name), config=config, overrides=overrides, environ=environ)
        if known is not None:
            return known
    use_case = load_use_case(name)
    loaded = use_case.load_config(config, overrides=overrides, environ=environ)
    with loaded.redactor().errors():
        pipeline = use_case.pipeline(loaded.model)
        dataset = use_case.dataset_choice(loaded.model)
    assembly = Assembly(use_case=use_case, config=loaded, pipeline=pipeline, dataset=dataset)
    if cache is not None:
        cache.save(assembly, config=config, overrides=overrides, environ=environ)
    return assembly
