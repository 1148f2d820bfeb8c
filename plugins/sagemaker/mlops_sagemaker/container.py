"""The command of every step's container in SageMaker: `mlops_core.runners.container.execution` below ``/opt/ml``.

**The command** is `ENTRYPOINT` plus arguments, equal for Processing (``AppSpecification.ContainerEntrypoint`` and
``ContainerArguments``) and Training (``AlgorithmSpecification``). No environment variable and no hyperparameter is
needed. ``--root=/opt/ml`` says where the tree is; the variable MLOPS_CONTAINER_ROOT overrides it.

**Inputs**: input ``x`` of a step is the folder ``processing/input/x`` or, in a training job, the channel
``input/data/x``. An input that a training job wrote arrives as ``model.tar.gz`` or ``output.tar.gz``.

**Outputs**: output ``x`` leaves from ``processing/output/x``; in a training job one output is ``model`` itself (the
request's ``model_output``), the others are ``output/data/x``.

**Shards**: a step with ``shards=N`` is a job with ``InstanceCount`` N. ``config/resourceconfig.json`` (training:
``input/config/resourceconfig.json``) with ``current_host`` and ``hosts`` says which shard this instance has.

**The end**: exit code 0, or that of `mlops_core.errors.ExitCode`; on failure one line in ``output/failure`` and
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
from mlops_sagemaker.compiler.arguments import CONTAINER_ROOT
from mlops_sagemaker.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.runners.container.execution import ContainerLayout
    from mlops_core.runners.container.request import ContainerRequest

ROOT_VARIABLE = "MLOPS_CONTAINER_ROOT"
_MESSAGE_LIMIT = 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command's arguments say and return the exit code."""
    texts = list(sys.argv[1:] if arguments is None else arguments)
    return run_container(texts, JobSite(_root(texts)))


def _root(arguments: Sequence[str]) -> Path:
    given = [text.partition("=")[2] for text in arguments if text.startswith("--root=")]
    return Path(read_settings().environ.get(ROOT_VARIABLE) or (given[-1] if given else CONTAINER_ROOT))


@dataclass(frozen=True, slots=True)
class JobSite:
    """The ``/opt/ml`` tree of a job."""

    root: Path

    def layout(self, request: ContainerRequest) -> ContainerLayout:
        """Return the folders of a processing job or of a training job."""
        return JobLayout(root=self.root, request=request)

    def report(self, message: str, *, is_failure: bool) -> None:
        """Write the message where the service reads it."""
        for name in ("failure", "message") if is_failure else ("message",):
            path = self.root / "output" / name
            # The exit code and the log say it too, wherever this folder cannot be written.
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(message.encode()[:_MESSAGE_LIMIT])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLayout:
    """The folders of one job's container."""

    root: Path
    request: ContainerRequest

    @property
    def work(self) -> Path:
        """A folder for everything that is not an output; on the same volume, so that outputs are renamed."""
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
        """Return which instance this is.

        Raises:
            RunnerError: the service's file is not there or names other hosts.
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
            raise RunnerError(f"{path} does not say which instance this is: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
