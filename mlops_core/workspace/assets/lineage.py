"""Where a data asset comes from, and the runs and models that used it; found by its content, not by a name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from mlops_core.workspace.assets.store import DataAsset
    from mlops_core.workspace.model_versions import ModelVersion
    from mlops_core.workspace.records import DatasetRecord, RunRecord
    from mlops_core.workspace.runs import RunSummary
    from mlops_core.workspace.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetLineage:
    """What a data asset is connected with.

    Attributes:
        asset: the asset.
        source: name and digest of the data that the run which made it read; None where no run made it.
        runs: that read data of this content, newest first.
        models: that were trained on data of this content.
    """

    asset: DataAsset
    source: str | None
    runs: tuple[RunSummary, ...]
    models: tuple[ModelVersion, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the lineage as JSON types only."""
        return {
            "asset": self.asset.to_json(),
            "source": self.source,
            "runs": [asdict(run) for run in self.runs],
            "models": [{"use_case": model.use_case, "version": model.version} for model in self.models],
        }


def read_lineage(store: Store, asset: DataAsset) -> AssetLineage:
    """Return what an asset is connected with in this workspace."""
    runs = []
    for run in store.runs.newest(limit=-1):
        record = _loaded(store, run.run_id)
        if record is not None and record.dataset is not None and _has_read(record.dataset, asset):
            runs.append(run)
    maker = _loaded(store, asset.run_id) if asset.run_id else None
    source = f"{maker.dataset.name} {maker.dataset.digest[:12]}" if maker and maker.dataset else None
    models = tuple(
        version
        for version in Registry(store).versions()
        if version.dataset_digest == asset.digest or str(asset) in _named(version.dataset_asset)
    )
    return AssetLineage(asset=asset, source=source, runs=tuple(runs), models=models)


def _has_read(dataset: DatasetRecord, asset: DataAsset) -> bool:
    """Return whether a run read data of an asset's content, as its data set or as part of an earlier split."""
    return dataset.digest == asset.digest or str(asset) in _named(dataset.assets)


def _named(assets: str) -> set[str]:
    """Return the assets in a text ``name:number, part: name:number, ...``."""
    return {each.rpartition(" ")[2] for each in assets.split(", ")}


def _loaded(store: Store, run_id: str) -> RunRecord | None:
    try:
        return store.runs.load(run_id)
    except MlopsError:
        return None
