"""Moves files between the workspace and the emulated S3: outputs and logs of executions, and data sets."""

from __future__ import annotations

import os
import shutil
import tarfile
from typing import TYPE_CHECKING

from mlops_core.runners import RunnerError, write_atomically
from mlops_core.runners.remote.stable_copies import is_linked, place_files
from mlops_sagemaker.emulator.faults import StepFault
from mlops_sagemaker.emulator.objects import FolderObjects, download_prefix, parse_uri
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core import Step
    from mlops_core.runners import Store
    from mlops_sagemaker.compiler.job_graph import JobContext, Source
    from mlops_sagemaker.emulator.execution import PipelineExecution
    from mlops_sagemaker.emulator.objects import ObjectStore


def place_dataset(objects: FolderObjects, folder: Path, uri: S3Uri, *, digest: str, own: Path) -> None:
    """Place the files of a data set below `uri`: those of the workspace `own` as hard links where possible.

    Jobs work on copies, so they cannot change the data set. A data set with another digest is replaced.
    """
    target = objects.path(uri)
    marker = target.with_name(f".{target.name}.digest")
    is_there = target.is_dir() and marker.exists() and marker.read_text(encoding="utf-8") == digest
    if is_there and not is_linked(folder, target, own=own):
        return
    marker.unlink(missing_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    for old in (partial, target):
        shutil.rmtree(old, ignore_errors=True)
    place_files(folder, partial, own=own)
    try:
        partial.rename(target)
    except OSError:  # a concurrent run has just placed it
        shutil.rmtree(partial)
    write_atomically(marker, digest)


def remove_dataset(objects: FolderObjects, uri: S3Uri) -> None:
    """Remove a data set, so that it is placed again."""
    target = objects.path(uri)
    target.with_name(f".{target.name}.digest").unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)


class Results:
    """The results of an execution."""

    def __init__(self, execution: PipelineExecution, context: JobContext, *, objects: ObjectStore) -> None:
        """Locate the results by the same expressions as the steps of the definition."""
        self._execution = execution
        self._context = context
        self._objects = objects

    def add_outputs(self, step: Step, store: Store) -> dict[str, str]:
        """Add the outputs of a step that succeeded to the store, and return their digests by output name.

        Raises:
            RunnerError: an output is not at its location.
        """
        sources = {output: self._context.source(f"{step.name}.{output}") for output in step.all_outputs}
        return self._add(step, sources, store)

    def add_trial_outputs(self, step: Step, selection: Step, store: Store, *, job: str) -> dict[str, str]:
        """Add the outputs of a trial, which the training job `job` wrote; errors are those of `add_outputs`."""
        sources = {output: self._context.trial_output(selection, output, job=job) for output in step.all_outputs}
        return self._add(step, sources, store)

    def _add(self, step: Step, sources: Mapping[str, Source], store: Store) -> dict[str, str]:
        digests = {}
        for output, source in sources.items():
            folder = store.work_folder(f"{step.name}-{output}")
            try:
                digests[output] = store.artifacts.add(self._fetch(source, folder))
            except (StepFault, tarfile.TarError, OSError) as error:
                raise RunnerError(f"step '{step.name}': cannot read output '{output}': {error}") from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return digests

    def _fetch(self, source: Source, folder: Path) -> Path:
        uri = parse_uri(self._execution.resolve(source.uri))
        target = folder / "files"
        target.mkdir()
        if source.packed is None:
            download_prefix(self._objects, S3Uri(uri.bucket, uri.key.rstrip("/") + "/"), target)
            return target
        archive = folder / "archive.tar.gz"
        self._objects.download(uri, archive)
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
        return target / source.packed if source.packed else target


def copy_logs(paths: list[Path], *, folder: Path, step: str) -> None:
    """Copy the logs of a job's containers to the folder of the run: ``<step>.log`` or ``<step>.<index>.log``."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, path in enumerate(paths):
        name = f"{step}.log" if len(paths) == 1 else f"{step}.{index}.log"
        shutil.copyfile(path, folder / name)
