"""The content of a serving image: wheels of core, engine and use case, and the packages that the model needs.

Of what the plugin requires, large packages are left out where the model works without them: it is loaded and warmed up
while they cannot be imported. So a quantized network is served without the framework that trained it. The image does
not contain the model, which the engine delivers when a container starts.
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import re
import shutil
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError
from mlops_core.runners.container.packaging import CORE, base_image_here, folder_of, write_wheel
from mlops_core.runners.container.wheels import hashed_requirements
from mlops_core.serving.needs import imported_modules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from mlops_core.runners.plugin import ContainerImage
    from mlops_core.serving.models import ServedModel
    from mlops_core.use_cases.discovery import InstalledUseCase

_EXTRA = "serve"
_LARGE_BYTES = 50 << 20
_FILES = frozenset({"wheels", "wheels.txt", "requirements.txt", "Dockerfile", "serve.py"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OF_EXTRA = re.compile(r"""extra\s*==\s*["']([\w.-]+)["']""")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingImage:
    """What was written.

    Attributes:
        wheels: the project's own wheels.
        packages: name -> version of each package of the image.
        left_out: name -> size in bytes of each package that the plugin requires and the model does not need.
    """

    wheels: tuple[Path, ...]
    packages: Mapping[str, str]
    left_out: Mapping[str, int]


def write_serving_folder(
    use_case: InstalledUseCase, model: ServedModel, image: ContainerImage, folder: Path
) -> ServingImage:
    """Write everything that ``docker build`` needs for the serving image of a model into `folder`.

    Raises:
        UsageError: the folder cannot be written or holds other files, or the engine has no serving image.
        PluginError: a distribution cannot be built, or the model cannot be loaded.
    """
    if not image.serving_module:
        raise UsageError("this runner has no serving image; choose another one with --runner")
    own = (CORE, *image.distributions, use_case.distribution)
    needed, left_out = _needed_packages(own, model)
    wheels, base = folder / "wheels", base_image_here()
    _prepare(folder, wheels)
    for name in own:
        write_wheel(name, wheels)
    (folder / "wheels.txt").write_text(hashed_requirements(wheels.glob("*.whl")), encoding="utf-8")
    lines = "".join(f"{name}=={version}\n" for name, version in sorted(needed.items()))
    (folder / "requirements.txt").write_text(lines, encoding="utf-8")
    values = {"use_case": use_case.name, "base_image": base, "module": image.serving_module}
    for name in ("Dockerfile", "serve.py"):
        (folder / name).write_text(_template(name, values), encoding="utf-8")
    return ServingImage(wheels=tuple(sorted(wheels.glob("*.whl"))), packages=needed, left_out=left_out)


def _needed_packages(own: Iterable[str], model: ServedModel) -> tuple[dict[str, str], dict[str, int]]:
    """Return the packages of the image, and those that are left out."""
    names = {_normalised(name) for name in own}
    everything = _closure(names)
    modules = imported_modules(model)
    imported = {_normalised(name) for name in _distributions_of(modules)}
    core = _normalised(CORE)
    candidates = {name for name in _direct(names - {core}) - _closure({core}) - imported - names if name in everything}
    left_out: dict[str, int] = {}
    kept = everything
    for name in sorted(candidates):
        rest = _closure(names, without={*left_out, name}) | (imported & everything)
        size = sum(_size(each) for each in kept - rest)
        if size >= _LARGE_BYTES:
            left_out[name], kept = size, rest
    if left_out:
        imported_modules(model, without=sorted(_modules_of(everything - kept)))  # shows that it works without them
    versions = {name: importlib.metadata.version(name) for name in kept - names}
    return {name: version for name, version in versions.items() if not folder_of(_found(name))}, left_out


def _closure(names: Iterable[str], *, without: Iterable[str] = ()) -> frozenset[str]:
    """Return the installed distributions that some distributions require, directly or not, and themselves."""
    closed: set[str] = set()
    waiting, excluded = set(names), set(without)
    while waiting:
        name = waiting.pop()
        closed.add(name)
        waiting |= set(_requirements(name)) - closed - excluded
    return frozenset(closed)


def _direct(names: Iterable[str]) -> set[str]:
    return {requirement for name in names for requirement in _requirements(name)}


def _requirements(name: str) -> Iterator[str]:
    """Yield the installed distributions that one requires here; of core also those of the extra ``serve``."""
    for text in _found(name).requires or ():
        extra, match = _OF_EXTRA.search(text), _NAME.match(text)
        is_wanted = extra is None or (_normalised(name) == _normalised(CORE) and extra[1] == _EXTRA)
        if match and is_wanted and any(importlib.metadata.distributions(name=match[0])):
            yield _normalised(match[0])


def _distributions_of(modules: Iterable[str]) -> Iterator[str]:
    providers = importlib.metadata.packages_distributions()
    for module in modules:
        yield from providers.get(module, ())


def _modules_of(names: Iterable[str]) -> Iterator[str]:
    wanted = set(names)
    for module, providers in importlib.metadata.packages_distributions().items():
        if {_normalised(each) for each in providers} <= wanted:
            yield module


def _found(name: str) -> importlib.metadata.Distribution:
    candidates = list(importlib.metadata.distributions(name=name))
    return next((each for each in candidates if folder_of(each)), candidates[0])


def _size(name: str) -> int:
    return sum(file.size or 0 for file in _found(name).files or ())


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _prepare(folder: Path, wheels: Path) -> None:
    try:
        others = sorted(path.name for path in folder.iterdir() if path.name not in _FILES) if folder.exists() else []
        if others:
            raise UsageError(f"--output {folder} holds other files ({others[0]}); name a new folder")
        shutil.rmtree(wheels, ignore_errors=True)
        wheels.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"--output {folder}: {error.strerror}") from error


def _template(name: str, values: Mapping[str, str]) -> str:
    text = (importlib.resources.files("mlops_core.serving") / "templates" / f"{name}.template").read_text("utf-8")
    return Template(text).substitute(values)
