"""Which files `mlops drift simulate` changes: those that the user names, or the test samples of the run's data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.datasets.listing import is_hidden_or_tool
from mlops_core.errors import DatasetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlops_core.evaluation.reference_statistics import ReferenceStatistics
    from mlops_core.predictors import ContentType
    from mlops_core.serving.models import ServedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFiles:
    """Files to change.

    Attributes:
        files: at least one.
        are_all_wanted: False where only samples of the reference are, since the files may hold others, too.
    """

    files: tuple[Path, ...]
    are_all_wanted: bool


def named_files(paths: Iterable[Path]) -> SampleFiles:
    """Return the files that the user named; of a folder, all that are not hidden.

    Raises:
        DatasetError: a path is missing, or a folder has no files.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = _files_in(path)
            if not inside:
                raise DatasetError(f"{path} holds no files; expected samples")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise DatasetError(f"no file {path}; expected a sample, or a folder of samples")
    return SampleFiles(files=tuple(dict.fromkeys(files)), are_all_wanted=True)


def reference_files(
    model: ServedModel, reference: ReferenceStatistics, types: Sequence[ContentType], *, workspace: Path | str | None
) -> SampleFiles:
    """Return the files of the samples of the reference, in the data set that the run of the model read.

    Raises:
        UsageError: they cannot be found; the message says why.
    """
    folder = _dataset_of(model, workspace)
    inside = _files_in(folder)
    names = set(reference.samples)
    last = {name.rpartition("/")[2] for name in names}
    exact = [path for path in inside if path.relative_to(folder).as_posix() in names]
    found = exact or [path for path in inside if path.name in last]
    if not found and any(kind.has_rows for kind in types):
        found = inside
    if not found:
        raise UsageError(f"the data set {folder} holds none of the {len(names)} samples of the reference as a file")
    return SampleFiles(files=tuple(found), are_all_wanted=False)


def _dataset_of(model: ServedModel, workspace: Path | str | None) -> Path:
    """Return the folder of the data set.

    Raises:
        UsageError: there is none.
    """
    from mlops_core.api import workspace_path
    from mlops_core.workspace.store import Store

    run = model.facts.get("run_id")
    home = workspace_path(workspace)
    if not (isinstance(run, str) and run) or not home.is_dir():
        raise UsageError(f"{model} has no run in a workspace, which would name its data set")
    with Store(home) as store:
        record = store.runs.load(run)
    if record.dataset is None or not Path(record.dataset.path).is_dir():
        where = "is unknown" if record.dataset is None else f"is not at {record.dataset.path}"
        raise UsageError(f"the data set of run {run} {where}")
    return Path(record.dataset.path)


def _files_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(map(is_hidden_or_tool, path.relative_to(folder).parts))
    )
