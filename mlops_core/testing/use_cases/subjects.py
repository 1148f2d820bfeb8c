"""Subjects of a check, from the name of a use case or of a distribution, or from a folder.

A folder need not be installed: its metadata is generated from ``pyproject.toml`` while it is checked. The declaration
in ``tests/test_contract.py`` is used; without that file the smallest configuration is searched for in ``examples/``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from mlops_core.errors import PluginError, UsageError, did_you_mean
from mlops_core.testing.contract import contracts_in
from mlops_core.testing.observation.trees import is_below
from mlops_core.testing.use_cases.contract import UseCaseContract
from mlops_core.testing.use_cases.declaration import ContractDeclaration
from mlops_core.use_cases.discovery import ENTRY_POINT_GROUP, InstalledUseCase, discover_use_cases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

CONTRACT_FILE = Path("tests") / "test_contract.py"
_EXAMPLES = "examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A use case under check.

    Attributes:
        installed: the use case.
        declaration: by its author.
        origin: source of the declaration, for people.
    """

    installed: InstalledUseCase
    declaration: ContractDeclaration
    origin: str


@contextlib.contextmanager
def subjects(text: str) -> Iterator[tuple[Subject, ...]]:
    """Yield the subjects that `text` names: one use case, or all of a distribution or folder.

    Args:
        text: name of a use case, name of a distribution, or path of a folder with ``pyproject.toml``.

    Raises:
        UsageError: it is not the name of any of these.
        PluginError: the folder announces no use case, or its contract cannot be read.
    """
    folder = Path(text)
    if folder.is_dir():
        with exposed(folder.resolve()) as names:
            yield tuple(
                subject_of(item, folder=folder.resolve()) for item in discover_use_cases() if item.name in names
            )
        return
    installed = discover_use_cases()
    by_name = [item for item in installed if item.name.casefold() == text.casefold()]
    by_distribution = [item for item in installed if _canonical(item.distribution) == _canonical(text)]
    chosen = by_name or by_distribution
    if not chosen:
        known = sorted({item.name for item in installed} | {item.distribution for item in installed})
        raise UsageError(
            f"'{text}' is not an installed use case, distribution or folder{did_you_mean(text, known) or ';'} "
            f"installed: {', '.join(known) or 'none'}"
        )
    yield tuple(subject_of(item) for item in chosen)


def subject_of(installed: InstalledUseCase, *, folder: Path | None = None) -> Subject:
    """Return an installed use case as a subject; `folder` is that of its project, if it is known."""
    folder = folder or project_folder(installed.distribution)
    if folder is not None and (folder / CONTRACT_FILE).is_file():
        for contract in contracts_in(_module(folder / CONTRACT_FILE), UseCaseContract):
            if contract.use_case.casefold() == installed.name.casefold():
                return Subject(
                    installed=installed,
                    declaration=contract.declaration(),
                    origin=f"{CONTRACT_FILE}, {contract.__name__}",
                )
    config = smallest_configuration(installed, folder=folder)
    return Subject(
        installed=installed,
        declaration=ContractDeclaration(use_case=installed.name, config=config),
        origin=str(config) if config else "its default configuration",
    )


def smallest_configuration(installed: InstalledUseCase, *, folder: Path | None) -> Path | None:
    """Return ``tiny_<use case>.yaml`` or ``tiny.yaml`` in ``examples/`` of the project or of the package, if any."""
    spec = importlib.util.find_spec(installed.target.partition(":")[0].partition(".")[0])
    places = [folder] if folder else []
    if spec is not None:
        places += [Path(place) for place in spec.submodule_search_locations or ()]
    for place in places:
        for name in (f"tiny_{installed.name.lower()}.yaml", "tiny.yaml"):
            path = place / _EXAMPLES / name
            if path.is_file():
                return path
    return None


def project_folder(distribution: str) -> Path | None:
    """Return the folder from which a distribution is installed in editable form; None for any other."""
    try:
        text = importlib.metadata.distribution(distribution).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    data: dict[str, Any] = json.loads(text) if text else {}
    if not data.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(data["url"]).path))


@contextlib.contextmanager
def exposed(folder: Path) -> Iterator[frozenset[str]]:
    """Make the use cases of a project's folder discoverable, here and in processes, and yield their names.

    Raises:
        PluginError: the folder announces none.
    """
    metadata = list(folder.glob("*.dist-info/entry_points.txt"))
    if metadata:
        announced = [
            entry
            for distribution in importlib.metadata.distributions(path=[str(folder)])
            for entry in distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        ]
        with _on_path(folder, packages=_packages(entry.value for entry in announced)):
            yield frozenset(entry.name for entry in announced)
        return
    project = _project(folder)
    entries: dict[str, str] = project.get("entry-points", {}).get(ENTRY_POINT_GROUP, {})
    if not entries:
        raise PluginError(f'{folder}/pyproject.toml has no [project.entry-points."{ENTRY_POINT_GROUP}"]')
    names = {item.name for item in discover_use_cases() if _canonical(item.distribution) == _canonical(project["name"])}
    packages = _packages(entries.values())
    code = folder / "src" if (folder / "src").is_dir() else folder
    if set(entries) <= names:
        # An installation of another folder, or a copy in site-packages, is not what shall be checked.
        installed_here = all(_is_imported_from(package, code) for package in packages)
        with contextlib.nullcontext() if installed_here else _on_path(code, packages=packages):
            yield frozenset(entries)
        return
    with tempfile.TemporaryDirectory(prefix="mlops-metadata-") as place:
        _write_metadata(Path(place), project, entries)
        with _on_path(code, Path(place), packages=packages):
            yield frozenset(entries)


def _packages(targets: Iterable[str]) -> frozenset[str]:
    """Return the top-level packages of entry points such as ``mlops_words.plugin:WORDS``."""
    return frozenset(target.partition(":")[0].strip().partition(".")[0] for target in targets)


def _is_imported_from(package: str, folder: Path) -> bool:
    spec = importlib.util.find_spec(package)
    places = [*(spec.submodule_search_locations or ()), spec.origin] if spec else []
    return any(is_below(str(place), [str(folder)]) for place in places if place)


def _project(folder: Path) -> dict[str, Any]:
    path = folder / "pyproject.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        project: dict[str, Any] = data["project"]
        return {"name": project["name"], **project}
    except FileNotFoundError:
        raise PluginError(f"{folder} has no pyproject.toml; expected the folder of a plugin's distribution") from None
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise PluginError(f"{path} cannot be read: {error!r}") from error


def _write_metadata(place: Path, project: dict[str, Any], entries: dict[str, str]) -> None:
    name, version = project["name"], project.get("version", "0")
    info = place / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    requires = "".join(f"Requires-Dist: {text}\n" for text in project.get("dependencies", ()))
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}", encoding="utf-8"
    )
    lines = "".join(f"{key} = {target}\n" for key, target in entries.items())
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{lines}", encoding="utf-8")


@contextlib.contextmanager
def _on_path(*folders: Path, packages: frozenset[str]) -> Iterator[None]:
    """Put folders at the beginning of the search path, here and in processes; forget their modules in the end.

    Modules of `packages` that were imported from elsewhere are set aside meanwhile: they are other code.
    """
    before, variable = list(sys.path), os.environ.get("PYTHONPATH")
    texts = [str(folder) for folder in folders]
    elsewhere = {
        name: module
        for name, module in sys.modules.copy().items()
        if name.partition(".")[0] in packages and not _is_of(module, texts)
    }
    for name in elsewhere:
        del sys.modules[name]
    sys.path[:0] = texts
    os.environ["PYTHONPATH"] = os.pathsep.join([*texts, *filter(None, [variable])])
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
        for name, module in sys.modules.copy().items():
            if _is_of(module, texts):
                del sys.modules[name]
        sys.modules.update(elsewhere)
        if variable is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = variable


def _is_of(module: ModuleType, folders: list[str]) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(is_below(str(place), folders) for place in places if place)


def _module(path: Path) -> object:
    name = f"mlops_contract_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise PluginError(f"{path} cannot be imported: {error}; install the plugin's extra 'test'") from error
    return module


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
