"""The code that reads a model, kept with it: a later version of the plugin may read models of its own only.

`PluginCode` copies the plugin's packages when a model is registered, if they are pure Python. `KeptPredictor` predicts
with that copy in a process of its own (`mlops_core.use_cases.model_process`), since a process can hold only
one version of a package. What the plugin depends on is that of the present environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import TreeFile, manifest_of
from mlops_core.errors import DatasetError, PluginError
from mlops_core.installed.distributions import top_level_packages
from mlops_core.predictors import Detection, Interval, SampleScores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mlops_core.use_cases.discovery import InstalledUseCase

CODE_FOLDER = "code"
PLUGIN_FILE = "plugin.json"
_COMPILED = frozenset({".so", ".pyd", ".dylib", ".dll"})
_LIMIT_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class PluginCode:
    """The code of an installed plugin.

    Attributes:
        installed: the plugin.
        files: path in the folder that keeps the code -> the file.
    """

    installed: InstalledUseCase
    files: Mapping[str, Path]

    def digest(self) -> str:
        """Return the digest of the folder that `copy_to` would fill; nothing is copied.

        Raises:
            OSError: a file cannot be read.
        """
        contents = {path: file.read_bytes() for path, file in self.files.items()}
        contents[PLUGIN_FILE] = self._description()
        return manifest_of(
            TreeFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for path, content in sorted(contents.items())
        ).digest

    def copy_to(self, folder: Path) -> None:
        """Copy the code into `folder`.

        Raises:
            OSError: a file cannot be copied.
        """
        for path, file in self.files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        (folder / PLUGIN_FILE).write_bytes(self._description())

    def _description(self) -> bytes:
        text = json.dumps(asdict(self.installed), indent=1, ensure_ascii=False, sort_keys=True)
        return f"{text}\n".encode()


def find_plugin_code(installed: InstalledUseCase) -> PluginCode | None:
    """Return the packages of a plugin; None if they are not found, not pure Python or not small.

    Raises:
        OSError: a folder cannot be read.
    """
    target = installed.target.partition(":")[0].partition(".")[0]
    names = sorted({target, *top_level_packages(installed.distribution)})
    roots = {name: root for name in names if (root := _package_root(name))}
    files = {
        f"{CODE_FOLDER}/{path.relative_to(root.parent).as_posix()}": path
        for root in roots.values()
        for path in _files(root)
    }
    if target not in roots or any(path.suffix in _COMPILED for path in files.values()):
        return None
    if sum(path.stat().st_size for path in files.values()) > _LIMIT_BYTES:
        return None
    return PluginCode(installed, files)


def _package_root(name: str) -> Path | None:
    """Return the folder of a package or the file of a module, without importing it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        folder = next(iter(spec.submodule_search_locations), None)
        return Path(folder) if folder else None
    return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for path in sorted(root.rglob("*")):
        is_hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(root).parts)
        if path.is_file() and not is_hidden:
            yield path


class KeptPredictor:
    """A `Predictor` that answers with the plugin's code as it was when the model was made, in a process of its own."""

    def __init__(self, code: Path, model: Path, *, advice: str) -> None:
        """Start the process and load the model.

        Args:
            code: folder that `PluginCode.copy_to` filled.
            model: folder of the model's artifact.
            advice: what the user can do where the code does not work any more; part of each error.

        Raises:
            PluginError: the kept code cannot load the model in this environment.
        """
        self.advice = advice
        self._lock = threading.Lock()
        self._process = subprocess.Popen(  # noqa: S603  this Python, without a shell
            [sys.executable, "-P", "-m", "mlops_core.use_cases.model_process", str(code), str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            text=True,
            encoding="utf-8",
        )
        self._classes = tuple(self._read()["classes"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores; empty for a regression."""
        return self._classes

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield one answer per file, in order.

        Raises:
            DatasetError: a file cannot be used; the message names it.
            PluginError: the kept code does not work in this environment.
        """
        with self._lock:
            answers = list(self._ask([str(path) for path in paths]))
        yield from answers

    def _ask(self, paths: list[str]) -> Iterator[SampleScores]:
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        try:
            self._process.stdin.write(json.dumps(paths) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:  # ValueError: it was closed
            raise PluginError(f"the process of the model has ended; {self.advice}") from error
        while "path" in (answer := self._read()):
            yield _answer(answer)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101  it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise PluginError(f"the process of the model ended with code {self._process.wait()}; {self.advice}")
        answer: dict[str, Any] = json.loads(line)
        if "unusable" in answer:
            raise DatasetError(answer["unusable"])
        if "error" in answer:
            raise PluginError(f"{answer['error']}; {self.advice}")
        return answer

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.wait()

    def __del__(self) -> None:
        """End the process with the object."""
        if hasattr(self, "_process"):
            self.close()


def _answer(data: dict[str, Any]) -> SampleScores:
    interval = data["interval"]
    path, scores, sample = data["path"], tuple(data["scores"]), data["sample"]
    if "boxes" in data:
        boxes = tuple((left, top, right, bottom) for left, top, right, bottom in data["boxes"])
        return Detection(path=path, scores=scores, sample=sample, labels=tuple(data["labels"]), boxes=boxes)
    return SampleScores(path=path, scores=scores, sample=sample, interval=Interval(**interval) if interval else None)
