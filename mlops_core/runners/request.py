"""What a runner is asked to carry out: `RunRequest`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_core.runners.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.config_files.loaded import LoadedConfig
    from mlops_core.datasets.catalogue import DatasetChoice
    from mlops_core.pipeline import ParameterValue, Pipeline
    from mlops_core.use_cases.manager import UseCase
    from mlops_core.workspace.records import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run, checked before anything is executed.

    Attributes:
        use_case: the loaded use case.
        config: its validated configuration.
        pipeline: built from that configuration.
        parameters: a value for each of the pipeline's parameters.
        seed: random seed.
        is_offline: refuse to fetch from the network.
        selection: which steps are run even where they could be reused, or not at all.
        resumed: the record of the run that is resumed; None for a new run.
        artifacts_dir: folder to which the evaluation is copied; None for no copy.
        dataset: the data set that the configuration asks for; None to ask the use case.
        run_id: id of a new run, chosen by a caller that must find the run again; empty for any.
    """

    use_case: UseCase
    config: LoadedConfig
    pipeline: Pipeline
    parameters: Mapping[str, ParameterValue]
    seed: int = 0
    is_offline: bool = False
    selection: Selection = field(default_factory=Selection)
    resumed: RunRecord | None = None
    artifacts_dir: Path | None = None
    dataset: DatasetChoice | None = None
    run_id: str = ""

    def dataset_choice(self) -> DatasetChoice:
        """Return the data set that the configuration asks for.

        Raises:
            ConfigError: the catalogue has no data set of the configured name.
        """
        return self.dataset or self.use_case.dataset_choice(self.config.model)
