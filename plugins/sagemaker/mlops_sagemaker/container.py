"""The entry point of every step's container: runs `mlops_core.runners.container.execution` below ``/opt/ml``.

**Command**: `ENTRYPOINT` plus arguments, the same for Processing (``AppSpecification.ContainerEntrypoint`` and
``ContainerArguments``) and Training (``AlgorithmSpecification``). It needs no environment variable and no
hyperparameter. ``--root=/opt/ml`` is the root of the tree; the variable MLOPS_CONTAINER_ROOT overrides it.

**Searches**: a tuning job's image is started with the one argument ``train``; the command's arguments and the index of
the trial are hyperparameters of the job.

**Ingestion**: the command of the step ``ingest`` begins with that word; `mlops_sagemaker.ingestion` describes it.

**Inputs**: input ``x`` of a step is the folder ``processing/input/x`` or, in a training job, the channel
``input/data/x``. Outputs of a training job arrive as ``model.tar.gz`` or ``output.tar.gz``.

**Outputs**: output ``x`` is written to ``processing/output/x``; in a training job the output that the request names as
``model_output`` is written to ``model``, all others to ``output/data/x``.

**Shards**: a step with ``shards=N`` is a job with ``InstanceCount`` N. ``config/resourceconfig.json`` (training:
``input/config/resourceconfig.json``) determines the shard of an instance by ``current_host`` and ``hosts``.

**Exit**: exit code 0, or a code of `mlops_core.errors.ExitCode` with a one-line message in ``output/failure`` and
``output/message``. The evaluation of a *rejected* model succeeds; its verdict is in ``output/message``, which the
service returns as the property ``ExitMessage`` of the processing job, and the Fail step repeats it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core import Shard
from mlops_core.runners import RunnerError, read_settings
from mlops_core.runners.container.execution import run_container
from mlops_core.runners.container.request import Part
from mlops_sagemaker.compiler.arguments import ARGUMENT, CONTAINER_ROOT, INGEST, TRAIN, TRIAL, TURN
from mlops_sagemaker.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.runners.container.execution import ContainerLayout
    from mlops_core.runners.container.request import ContainerRequest

ROOT_VARIABLE = "MLOPS_CONTAINER_ROOT"
_MESSAGE_LIMIT = 1024
_HYPERPARAMETERS = "input/config/hyperparameters.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute the request in the arguments and return the exit code."""
    texts = list(sys.argv[1:] if arguments is None else arguments)
    root = _root(texts)
    if texts[:1] == [INGEST]:
        from mlops_sagemaker.ingestion import run_ingestion

        return run_ingestion(texts[1:], root, JobSite(root))
    if texts == [TRAIN]:
        try:
            texts = trial_arguments(root / _HYPERPARAMETERS)
        except RunnerError as error:
            JobSite(root).report(str(error), is_failure=True)
            sys.stderr.write(f"mlops: error: {error}\n")
            return int(error.exit_code)
    return run_container(texts, JobSite(root))


def trial_arguments(path: Path) -> list[str]:
    """Return the arguments of the command of a search's trial, from the hyperparameters of its job.

    Raises:
        RunnerError: the file is missing or holds no arguments.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        arguments = [values[name] for name in sorted(values) if name.startswith(ARGUMENT)]
        index = sum(int(values[name]) for name in (TRIAL, TURN) if name in values)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunnerError(f"{path} does not hold the hyperparameters of a trial: {error}") from error
    if not arguments or TRIAL not in values:
        raise RunnerError(f"{path} holds no '{TRIAL}' and '{ARGUMENT}000'; expected the job of a compiled search")
    return [*arguments, f"--trial={index}"]


def _root(arguments: Sequence[str]) -> Path:
    roots = [text.partition("=")[2] for text in arguments if text.startswith("--root=")]
    return Path(read_settings().environ.get(ROOT_VARIABLE) or (roots[-1] if roots else CONTAINER_ROOT))


@dataclass(frozen=True, slots=True)
class JobSite:
    """The ``/opt/ml`` tree of a job."""

    root: Path

    def layout(self, request: ContainerRequest) -> ContainerLayout:
        """Return the folders of a processing job or of a training job."""
        return JobLayout(root=self.root, request=request)

    def report(self, message: str, *, is_failure: bool) -> None:
        """Write the message to the files that the service reads."""
        for name in ("failure", "message") if is_failure else ("message",):
            path = self.root / "output" / name
            # If this folder cannot be written, the exit code and the log still report the failure.
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(message.encode()[:_MESSAGE_LIMIT])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLayout:
    """The folders of a job's container."""

    root: Path
    request: ContainerRequest

    @property
    def work(self) -> Path:
        """Folder for temporary files; on the same volume as the outputs, so that they can be renamed."""
        return self.root / "mlops"

    def input(self, name: str) -> Path:
        """Return the folder of an input."""
        if self.request.layout == Layout.TRAINING:
            return self.root / "input" / "data" / name
        return self.root / "processing" / "input" / name

    def output(self, name: str) -> Path:
        """Return the folder of an output."""
        if self.request.layout == Layout.PROCESSING:
            return self.root / "processing" / "output" / name
        return self.root / "model" if name == self.request.model_output else self.root / "output" / "data" / name

    def shard(self) -> Shard:
        """Return the shard of this instance.

        Raises:
            RunnerError: the service's file is missing or does not list this host.
        """
        if self.request.part is not Part.SHARD:
            return Shard()
        folder = self.root / ("input/config" if self.request.layout == Layout.TRAINING else "config")
        path = folder / "resourceconfig.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            hosts = sorted(data["hosts"], key=lambda name: (len(name), name))
            return Shard(index=hosts.index(data["current_host"]), count=len(hosts))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunnerError(f"{path} does not identify this instance: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
