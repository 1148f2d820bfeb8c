"""What an execution left in S3, brought into the workspace: artifacts by digest, logs, evaluation, verdict.

The other direction is here too: a data set becomes objects of a bucket without being copied.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

from mlops_core import Verdict
from mlops_core.runners import EVALUATION_OUTPUT, RunnerError, write_atomically
from mlops_core.runners.container.request import GATE_OUTPUT
from mlops_sagemaker.emulator.faults import StepFault
from mlops_sagemaker.emulator.objects import FolderObjects, download_prefix, parse_uri
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core import Step
    from mlops_core.runners import Store
    from mlops_sagemaker.compiler.job_graph import JobContext
    from mlops_sagemaker.emulator.execution import PipelineExecution
    from mlops_sagemaker.emulator.objects import ObjectStore


def place_dataset(objects: FolderObjects, folder: Path, uri: S3Uri, *, digest: str) -> None:
    """Make the files of a data set objects below `uri`, by hard links where the file systems allow them.

    Jobs get copies, so no job can change the data set through them. Data of another digest are replaced.
    """
    target = objects.path(uri)
    marker = target.with_name(f".{target.name}.digest")
    if marker.exists() and marker.read_text(encoding="utf-8") == digest:
        return
    marker.unlink(missing_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    for old in (partial, target):
        shutil.rmtree(old, ignore_errors=True)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            place = partial / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            _link(path.resolve(), place)
    try:
        partial.rename(target)
    except OSError:  # another run has just placed it
        shutil.rmtree(partial)
    write_atomically(marker, digest)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


class Results:
    """Reads the results of one execution."""

    def __init__(self, execution: PipelineExecution, context: JobContext, *, objects: ObjectStore) -> None:
        """Find the results by the same expressions by which the definition's steps find them."""
        self._execution = execution
        self._context = context
        self._objects = objects

    def add_outputs(self, step: Step, store: Store) -> dict[str, str]:
        """Bring every output of a step that succeeded into the store; return output -> digest.

        Raises:
            RunnerError: an output is not where the definition says.
        """
        found = {}
        for output in step.all_outputs:
            folder = store.work_folder(f"{step.name}-{output}")
            try:
                found[output] = store.artifacts.add(self._fetch(f"{step.name}.{output}", folder))
            except (StepFault, tarfile.TarError, OSError) as error:
                raise RunnerError(f"step '{step.name}': output '{output}' cannot be brought back: {error}") from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return found

    def verdict(self) -> Verdict:
        """Return the verdict that the evaluation's container left.

        Raises:
            RunnerError: it left none.
        """
        try:
            uri = self._execution.resolve(self._gate_uri())
            data = json.loads(self._objects.read(parse_uri(uri).join("evaluation.json")))
            return Verdict.from_json(data["verdict"])
        except (StepFault, ValueError, KeyError, TypeError) as error:
            raise RunnerError(f"the evaluation left no verdict: {error}") from error

    def _gate_uri(self) -> Mapping[str, Any]:
        from mlops_sagemaker.compiler.expressions import processing_output

        return processing_output(self._context.evaluation_job(), GATE_OUTPUT)

    def _fetch(self, reference: str, folder: Path) -> Path:
        source = self._context.source(reference)
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

    def evaluation_reference(self) -> str:
        """Return the reference of the output that holds ``evaluation.json``."""
        return f"{self._context.pipeline.evaluation_step.name}.{EVALUATION_OUTPUT}"


def copy_logs(paths: list[Path], *, folder: Path, step: str) -> None:
    """Put the logs of a step's containers where the logs of a run are: ``<step>.log``, ``<step>.<index>.log``."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, path in enumerate(paths):
        name = f"{step}.log" if len(paths) == 1 else f"{step}.{index}.log"
        shutil.copyfile(path, folder / name)
