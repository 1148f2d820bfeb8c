"""Exporting a registered model to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.api.models import model_path
from mlops_core.api.workspaces import workspace_path
from mlops_core.errors import UsageError
from mlops_core.reading import copying_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.workspace.model_versions import ModelVersion


def export_model(
    use_case: str,
    version: int | str,
    folder: Path | str,
    *,
    workspace: Path | str | None = None,
    describe: Callable[[ModelVersion, Path], None] | None = None,
) -> ModelVersion:
    """Copy a version's artifact to the new folder `folder`, with ``mlops-model.json`` that says where it comes from.

    Its reference statistics, with which a server detects drift, are ``reference_statistics.json``. Its model card is
    ``README.md`` beside the files of the model, or ``MODEL_CARD.md`` if the model has such a file. There is none,
    with a warning, if the record of its run is gone.

    Args:
        use_case: name of the use case.
        version: a number, or an alias.
        folder: the new folder.
        workspace: the workspace's folder; None for ``MLOPS_HOME``, else ``.mlops``.
        describe: adds files in the format of another system to the folder, before it gets its name.

    Raises:
        UsageError: the version does not exist, or the folder exists.
        StoreError: the artifact is gone or damaged.
    """
    import logging

    from mlops_core.errors import MlopsError
    from mlops_core.evaluation.reference_statistics import REFERENCE_FILE
    from mlops_core.trust.model_card import version_card
    from mlops_core.workspace.registry import Registry
    from mlops_core.workspace.store import Store

    target = Path(folder).absolute()
    if target.exists():
        raise UsageError(f"{target} exists; a model is exported to a new folder only")
    with Store(workspace_path(workspace)) as store:
        found = Registry(store).servable_version(use_case, version)
        try:
            card = version_card(store, found)
        except MlopsError as error:
            logging.getLogger(__name__).warning("no model card of version %d: %s", found.version, error)
            card = ""
        reference = store.runs.folder(found.run_id) / REFERENCE_FILE

    def complete(content: Path) -> None:
        _describe(found, content, card=card, reference=reference)
        if describe is not None:
            describe(found, content)

    source = model_path(found, workspace=workspace)
    try:
        _copy_complete(source, target, complete=complete)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {copying_fault(error)}") from error
    return found


def _copy_complete(source: Path, target: Path, *, complete: Callable[[Path], None]) -> None:
    """Copy a folder to a new one, which gets its name when `complete` has added the rest."""
    import shutil
    import tempfile

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as partial:
        content = Path(partial) / "model"
        shutil.copytree(source, content, copy_function=shutil.copyfile)
        complete(content)
        content.rename(target)


def _describe(version: ModelVersion, content: Path, *, card: str, reference: Path) -> None:
    """Write where a model comes from, its reference statistics and its model card beside its files."""
    import json
    import shutil

    from mlops_core.trust.model_card import write_card

    text = json.dumps(version.to_json(), indent=2, ensure_ascii=False) + "\n"
    (content / "mlops-model.json").write_text(text, encoding="utf-8")
    if version.reference and reference.is_file():
        shutil.copyfile(reference, content / reference.name)
    if card:
        write_card(content, card)
