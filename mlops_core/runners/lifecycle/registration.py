"""The model of an accepted run becomes a version of the registry, with the code of its plugin."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.datasets.digests import file_digest
from mlops_core.evaluation.comparability import SPLITS_NOTE, TEST_CONTENT_NOTE, TEST_SET_NOTE, definition_of
from mlops_core.evaluation.coverage import facts_of_note
from mlops_core.evaluation.reference_statistics import REFERENCE_FILE
from mlops_core.runners.evidence import (
    version_comparison,
)
from mlops_core.runners.lifecycle.new_records import utc_now
from mlops_core.settings import read_settings
from mlops_core.workspace.metadata.model_files import write_model_files
from mlops_core.workspace.model_versions import ModelVersion
from mlops_core.workspace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.evaluation.metrics import MetricReport
    from mlops_core.gates.evidence.sample_metric import ComputeMetrics
    from mlops_core.pipeline import Pipeline
    from mlops_core.use_cases.discovery import InstalledUseCase
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store


def keep_code(store: Store, installed: InstalledUseCase) -> str:
    """Keep the code of a plugin as an artifact and return its digest; empty if it cannot be kept."""
    from mlops_core.use_cases.model_code import find_plugin_code

    work = store.work_folder("code")
    try:
        code = find_plugin_code(installed)
        if code is None:
            return ""
        digest = code.digest()
        if store.artifacts.has(digest) and store.artifacts.damage(digest) is None:
            return digest
        folder = work / "content"
        folder.mkdir()
        code.copy_to(folder)
        return store.artifacts.add(folder)
    except OSError:
        return ""  # the model is as good without it
    finally:
        shutil.rmtree(work, ignore_errors=True)


def register_model(  # noqa: PLR0913  everything that a version is made of
    store: Store,
    record: RunRecord,
    *,
    pipeline: Pipeline,
    artifact: str,
    report: MetricReport,
    compute: ComputeMetrics,
    code: str = "",
    record_requests: Callable[[ModelVersion], ModelVersion] | None = None,
) -> RunRecord:
    """Register the model of an accepted run and return the run's record with its version; ``best`` may move.

    Args:
        store: the workspace.
        record: of the run.
        pipeline: that the run carried out.
        artifact: digest of the model.
        report: the metrics by which it was judged.
        compute: the use case's metrics of predictions.
        code: digest of the artifact with the plugin's code; empty for none.
        record_requests: returns a version that is new with its recorded requests; None to record none.

    Raises:
        AssertionError: the gate has not accepted the model; nothing else may ever be registered.
    """
    assert record.verdict is not None and record.verdict.accepted  # noqa: S101, PT018  see above
    dataset, metric = record.dataset, pipeline.metrics[0]
    registry = Registry(store)
    version = ModelVersion(
        use_case=record.use_case,
        version=0,
        run_id=record.run_id,
        created=utc_now(),
        artifact=artifact,
        metrics={name: value.value for name, value in report.values.items()},
        compared_by=metric.name,
        direction=metric.direction,
        test_set=str(report.notes.get(TEST_SET_NOTE, "")),
        dataset=dataset.name if dataset else "",
        dataset_digest=dataset.digest if dataset else "",
        dataset_asset=dataset.assets if dataset else "",
        is_generated_data=bool(dataset and dataset.is_generated),
        config=record.config,
        plugin=record.plugin,
        code=code,
        licences=pipeline.licences,
        splits={name: facts.digest for name, facts in facts_of_note(report.notes.get(SPLITS_NOTE)).items()},
        test_content=str(report.notes.get(TEST_CONTENT_NOTE, "")),
        definition=definition_of(metric, report.notes),
        reference=_digest_of_reference(store, record.run_id),
    )
    if record_requests is not None and registry.known(version) is None:
        version = record_requests(version)
    registered = registry.register(version)
    compare = version_comparison(store, lambda: compute)
    settings = read_settings()
    note = registry.promote_best(registered, compare=compare, allows_pending=settings.best_allows_pending)
    write_model_files(registry, registered, store.runs.folder(record.run_id), name=settings.model_base_name)
    return replace(record, model_version=registered.version, alias_note=note)


def _digest_of_reference(store: Store, run_id: str) -> str:
    """Return the SHA-256 of the reference statistics of a run; empty without any."""
    path = store.runs.folder(run_id) / REFERENCE_FILE
    return file_digest(path) if path.is_file() else ""
