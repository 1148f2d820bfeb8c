"""Step keys: when a step may be reused instead of run again, and why not.

A key covers the step's declaration and code (its module and every module of the same top-level package that it
imports, by content), the content of its inputs, the configuration sections and parameters that it declares, the
seed, the versions of the packages that it declares, and core's own step protocol. Neither time stamps nor paths
are in it. The components are kept beside the key, so that the difference between two keys can be named.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import PluginError
from mlops_core.steps.execution import STEP_PROTOCOL_VERSION
from mlops_core.use_cases.distributions import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.pipeline import ParameterValue, Step

_DIGEST_LENGTH = 64
_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One component in which two keys differ; `old` or `new` is empty where it was not there.

    Attributes:
        component: for example ``config training.epochs``, ``code my_plugin.features``, ``input features``.
        old: value or digest in the earlier key.
        new: value or digest in the later one.
    """

    component: str
    old: str
    new: str

    def __str__(self) -> str:
        """Return it as a person reads it; digests are shortened."""
        return f"{self.component}: {_shown(self.old)} -> {_shown(self.new)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKey:
    """A key and its components.

    Attributes:
        digest: SHA-256 of the components, in hexadecimal.
        components: name such as ``code my_plugin.features`` or ``config training.epochs`` -> digest or value.
    """

    digest: str
    components: Mapping[str, str]

    def changes_since(self, earlier: Mapping[str, str]) -> tuple[Change, ...]:
        """Return the components that differ from those of an earlier key."""
        names = sorted({*self.components, *earlier})
        pairs = ((name, earlier.get(name, ""), self.components.get(name, "")) for name in names)
        return tuple(Change(component=name, old=old, new=new) for name, old, new in pairs if old != new)


def step_key(  # noqa: PLR0913  each argument is a component of the key
    step: Step,
    *,
    config: Mapping[str, object],
    parameters: Mapping[str, ParameterValue],
    inputs: Mapping[str, str],
    seed: int,
    code: CodeIndex,
    extra_modules: tuple[str, ...] = (),
) -> StepKey:
    """Return the key of `step`.

    The number of shards is not in it: the merged output does not depend on it.

    Args:
        step: the step.
        config: value of each section that it declares, as JSON types.
        parameters: value of each parameter that it declares.
        inputs: digest of each input, by local name.
        seed: of the run.
        code: where digests of source code come from.
        extra_modules: other modules that the step depends on (for an evaluation, that of the metric hook).
    """
    components = {
        "protocol": str(STEP_PROTOCOL_VERSION),
        "step": f"{step.kind} {step.run} v{step.version} -> {' '.join(step.all_outputs)}",
        "seed": str(seed),
    }
    own = [reference.partition(":")[0] for reference in (step.run, step.merge) if reference]
    for module in (*own, *extra_modules):
        components |= {f"code {name}": digest for name, digest in code.digests(module).items()}
    if step.merge:
        components["merge"] = step.merge
    for name, section in config.items():
        components |= {f"config {key}": value for key, value in _leaves(name, section)}
    components |= {f"parameter {name}": json.dumps(value) for name, value in parameters.items()}
    components |= {f"input {name}": digest for name, digest in inputs.items()}
    components |= {f"package {name}": _version(name) for name in step.packages}
    text = json.dumps(components, sort_keys=True, ensure_ascii=False)
    return StepKey(digest=hashlib.sha256(text.encode()).hexdigest(), components=components)


class CodeIndex:
    """Digests of source code, each file read and parsed once; make a new one for each run, since files change."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._modules: dict[str, tuple[str, tuple[str, ...]] | None] = {}
        self._digests: dict[str, dict[str, str]] = {}

    def digests(self, module: str) -> dict[str, str]:
        """Return module -> SHA-256 of its source, for `module` and all that it imports from its own package.

        Imports are followed in the source, those inside functions too; nothing is imported.

        Raises:
            PluginError: the module has no source that can be found.
        """
        if module not in self._digests:
            self._digests[module] = self._follow(module)
        return self._digests[module]

    def _follow(self, module: str) -> dict[str, str]:
        found: dict[str, str] = {}
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            read = self._read(name, package=module.partition(".")[0])
            if read is None:
                continue
            found[name], imports = read
            waiting += imports
        if module not in found:
            raise PluginError(
                f"module '{module}' of a step has no source that can be found; is its distribution installed?"
            )
        return dict(sorted(found.items()))

    def _read(self, name: str, *, package: str) -> tuple[str, tuple[str, ...]] | None:
        if name not in self._modules:
            path = _source_path(name)
            self._modules[name] = None
            if path is not None:
                source = path.read_bytes()
                imports = _imports_within(source, name, package, is_package=path.name == "__init__.py")
                self._modules[name] = (hashlib.sha256(source).hexdigest(), tuple(imports))
        return self._modules[name]


def _leaves(key: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key, json.dumps(value, ensure_ascii=False, sort_keys=True)


def _shown(text: str) -> str:
    if len(text) == _DIGEST_LENGTH and not set(text) - set("0123456789abcdef"):
        return text[:12]
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") or "nothing"


def _imports_within(source: bytes, module: str, package: str, *, is_package: bool) -> Iterator[str]:
    parents = module.split(".")
    yield from (".".join(parents[:count]) for count in range(1, len(parents)))
    here = parents if is_package else parents[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (base, node.module or "") if part)
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == package)


@lru_cache(maxsize=4096)
def _source_path(module: str) -> Path | None:
    """Return the file of a module, found without importing it: only its top-level package is asked for."""
    top, *rest = module.split(".")
    root = _package_root(top)
    if root is None:
        return None
    if not rest:
        root = root / "__init__.py" if root.is_dir() else root
        return root if root.is_file() else None
    path = root.joinpath(*rest)
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@lru_cache(maxsize=64)
def _package_root(top: str) -> Path | None:
    """Return the folder of a top-level package, or the file of a top-level module."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@lru_cache(maxsize=256)
def _version(distribution: str) -> str:
    return version_of(distribution) or "not installed"
