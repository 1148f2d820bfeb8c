"""Assemblies of earlier runs, so that a run in which nothing has changed imports neither the plugin nor pydantic.

The hooks that describe a use case are pure: their answers depend on their arguments and on the plugin's code and files.
An assembly is kept under everything else that could matter (installed version, configuration file, overrides,
environment, folder, interpreter, sys.path), with the state of each file that could matter: the source of every module
that was imported, all files of the plugin's package, the configuration files, what they name, and the folders on
sys.path. It is used only when every one of them is unchanged. A configuration with secrets is never kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.config_files.loaded import LoadedConfig
from mlops_core.config_files.references import References
from mlops_core.config_files.texts import noted_files, texts_in
from mlops_core.datasets.catalogue import CommandSource, Dataset, DatasetChoice
from mlops_core.datasets.earlier_splits import EarlierSplit
from mlops_core.errors import MlopsError
from mlops_core.pipeline import Pipeline
from mlops_core.redaction import redact_urls
from mlops_core.settings import expand_home
from mlops_core.use_cases.assembly import Assembly
from mlops_core.use_cases.manager import UseCase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mlops_core.config import UseCaseConfig
    from mlops_core.use_cases.discovery import InstalledUseCase

ASSEMBLIES = "assemblies"
"""The folder of a workspace that holds them."""
_FORMAT = "mlops-assembly/3"
_KEPT = 50
"""The number of cached files; the oldest are removed."""
_MAX_FILES = 5_000
"""The largest plugin package that is cached; checking a larger one would take longer than importing it."""
_MARGIN_NS = 1_000_000_000
_LONGEST_PATH = 4096
_UNRELATED = frozenset({"_", "OLDPWD", "PWD", "SHLVL"})
"""Environment variables that the shell changes between commands; the folder itself is part of the key."""


class AssemblyCache:
    """The assemblies that one workspace keeps."""

    def __init__(self, folder: Path, *, on_miss: Callable[[], object] | None = None) -> None:
        """Keep assemblies in `folder`; nothing is kept while its parent, the workspace, does not exist.

        Args:
            folder: of the assemblies.
            on_miss: called when no assembly was found, before the use case is imported.
        """
        self._folder = folder
        self._on_miss = on_miss or (lambda: None)

    def find(
        self,
        installed: InstalledUseCase,
        *,
        config: Path | None,
        overrides: Sequence[str],
        environ: Mapping[str, str],
    ) -> Assembly | None:
        """Return the assembly of an earlier run when nothing that it depends on has changed."""
        known = self._read(installed, config=config, overrides=overrides, environ=environ)
        if known is None:
            self._on_miss()
        return known

    def _read(
        self,
        installed: InstalledUseCase,
        *,
        config: Path | None,
        overrides: Sequence[str],
        environ: Mapping[str, str],
    ) -> Assembly | None:
        path = self._path(installed, config=config, overrides=overrides, environ=environ)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != _FORMAT or _state_of(data["files"], data["folders"], data["named"]) != data["state"]:
                return None
            return _from_json(data, installed, config=config, overrides=overrides, environ=environ)
        except (OSError, ValueError, KeyError, TypeError, MlopsError):  # missing, damaged or of another version
            return None

    def save(
        self, assembly: Assembly, *, config: Path | None, overrides: Sequence[str], environ: Mapping[str, str]
    ) -> None:
        """Keep an assembly, unless it holds secrets or a file changed while this process was running."""
        if assembly.config.secrets or assembly.config.is_imported or not self._folder.parent.is_dir():
            return
        entry = assembly.dataset.entry
        if entry is not None and any(isinstance(source, CommandSource) for source in entry.sources):
            return  # the script is part of the data set's identity, and is read each time
        installed = assembly.use_case.installed
        try:
            files = _files(assembly, config)
            folders = [entry or "." for entry in sys.path]
            named = sorted(set(_named_paths(assembly.config.sections())))
            if files is None or _newest_change_ns([*files, *filter(os.path.isfile, named)]) >= _oldest_ns():
                return  # what is in memory may not be what is on the disk
            state = _state_of(files, folders, named)
            data = {"format": _FORMAT, "files": files, "folders": folders, "named": named, "state": state}
            data |= _to_json(assembly)
            text = json.dumps(data)
            if redact_urls(text) != text:
                return  # an address of the data set holds a password or a signature
            again = _from_json(json.loads(text), installed, config=config, overrides=overrides, environ=environ)
            if (again.pipeline, again.dataset) != (assembly.pipeline, assembly.dataset):
                return
            self._write(self._path(installed, config=config, overrides=overrides, environ=environ), text)
        except (OSError, ValueError, TypeError):  # no place to keep it, or a value that JSON cannot hold
            return

    def _write(self, path: Path, text: str) -> None:
        self._folder.mkdir(exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
        newest = sorted(self._folder.iterdir(), key=lambda kept: kept.stat().st_mtime, reverse=True)
        for old in newest[_KEPT:]:
            old.unlink(missing_ok=True)

    def _path(
        self,
        installed: InstalledUseCase,
        *,
        config: Path | None,
        overrides: Sequence[str],
        environ: Mapping[str, str],
    ) -> Path:
        parts = (
            _FORMAT,
            (installed.name, installed.target, installed.distribution, installed.version),
            str(config),
            list(overrides),
            sorted((name, value) for name, value in environ.items() if name not in _UNRELATED),
            str(Path.cwd()),
            (sys.version, sys.executable, sys.path),
        )
        digest = hashlib.sha256(json.dumps(parts).encode(errors="surrogatepass")).hexdigest()
        return self._folder / f"{digest[:32]}.json"


def _to_json(assembly: Assembly) -> dict[str, Any]:
    dataset = assembly.dataset
    return {
        "implementations": assembly.use_case.implementations(),
        "sections": assembly.config.sections(),
        "text": assembly.config.to_yaml(),
        "references": dict(assembly.config.references.texts),
        "pipeline": assembly.pipeline.to_json(),
        "dataset": {
            "name": dataset.name,
            "path": None if dataset.path is None else str(dataset.path),
            "entry": None if dataset.entry is None else dataset.entry.to_json(),
            "required": list(dataset.required),
            "earlier_split": None if dataset.earlier_split is None else asdict(dataset.earlier_split),
        },
    }


def _from_json(
    data: Mapping[str, Any],
    installed: InstalledUseCase,
    *,
    config: Path | None,
    overrides: Sequence[str],
    environ: Mapping[str, str],
) -> Assembly:
    use_case = UseCase.deferred(installed, implementations=data["implementations"])

    def load() -> UseCaseConfig:
        model: UseCaseConfig = use_case.load_config(config, overrides=overrides, environ=environ).model
        return model

    choice = data["dataset"]
    references = References(texts=data["references"])
    return Assembly(
        use_case=use_case,
        config=LoadedConfig.from_data(
            data["sections"], text=data["text"], path=config, references=references, load=load
        ),
        pipeline=Pipeline.from_json(data["pipeline"]),
        dataset=DatasetChoice(
            name=choice["name"],
            path=None if choice["path"] is None else Path(choice["path"]),
            entry=None if choice["entry"] is None else Dataset.from_json(choice["entry"]),
            required=tuple(choice.get("required", ())),
            earlier_split=_earlier_split(choice["earlier_split"]),
        ),
    )


def _earlier_split(data: Mapping[str, Any] | None) -> EarlierSplit | None:
    return None if data is None else EarlierSplit(**{**data, "keys": tuple(data["keys"])})


# --- What an assembly depends on --------------------------------------------------------------------------


def _files(assembly: Assembly, config: Path | None) -> list[str] | None:
    """Return every file that the assembly may depend on.

    None when the plugin's package is too large to check, and when the digest of a folder was noted, which would have to
    be read.
    """
    if any(map(os.path.isdir, noted_files(assembly.config.sections()))):
        return None
    files = set(_module_files())
    files.add(str(assembly.use_case.default_config_path().absolute()))
    if config is not None:
        files.add(str(config.absolute()))
    section = assembly.config.sections().get("tuning")
    if isinstance(section, dict) and isinstance(space := section.get("search_space"), str):
        files.add(str(expand_home(space, what="tuning.search_space").absolute()))
    top = sys.modules.get(assembly.use_case.installed.target.partition(":")[0].partition(".")[0])
    for root in getattr(top, "__path__", ()):
        for count, path in enumerate(_package_files(root)):
            if count >= _MAX_FILES:
                return None
            files.add(path)
    return sorted(files)


def _module_files() -> Iterator[str]:
    """Yield the file of each imported module; the standard library changes with the interpreter only."""
    library = os.path.dirname(os.__file__)  # noqa: PTH120  compared as text
    packages = os.path.join(library, "site-packages")  # noqa: PTH118
    for module in sys.modules.copy().values():
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and (not path.startswith(library) or path.startswith(packages)):
            yield path


def _package_files(root: str) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (f"{folder}/{name}" for name in names if not name.endswith(".pyc"))


def _named_paths(sections: Mapping[str, object]) -> Iterator[str]:
    """Yield each text of a configuration that may be a path, whole: a plugin may have read the file of that name."""
    for text in texts_in(sections):
        if 0 < len(text) < _LONGEST_PATH and "://" not in text and "\0" not in text:
            yield os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111  Path objects would double the time


def _state_of(files: Iterable[str], folders: Iterable[str], named: Iterable[str]) -> str:
    """Return a digest of the states of files and folders, without reading them; what is `named` may not be there."""
    states: list[tuple[int, ...]] = []
    for path in files:
        found = os.stat(path)  # noqa: PTH116  Path objects would double the time
        states.append((found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))
    for path in folders:
        try:
            states.append((os.stat(path).st_mtime_ns,))  # noqa: PTH116  the same
        except OSError:
            states.append(())
    for path in named:
        try:
            found = os.stat(path)  # noqa: PTH116  the same
        except OSError:
            states.append(())
        else:
            is_file = stat.S_ISREG(found.st_mode)
            states.append((found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino) if is_file else (1,))
    return hashlib.sha256(repr(states).encode()).hexdigest()


def _newest_change_ns(files: Iterable[str]) -> int:
    return max(os.stat(path).st_ctime_ns for path in files)  # noqa: PTH116  the same


def _oldest_ns() -> int:
    """Return the time after which a change may not be in this process's memory."""
    return _process_start_ns() - _MARGIN_NS


def _process_start_ns() -> int:
    """Return when this process was started.

    Raises:
        OSError: the system call failed.
    """
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time_ns() - int(age_s * 1e9)
