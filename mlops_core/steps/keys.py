"""Step keys: when a step may be reused instead of run again, and why not.

A key covers the step's declaration and code (`mlops_core.steps.source_code`), the content of its inputs, the
configuration sections and parameters that it declares, the seed, the versions of the packages and the environment
variables that it declares, and core's own step protocol. Neither time stamps nor paths are in it. The components are
kept beside the key, so that the difference between two keys can be named.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mlops_core.config_files.texts import texts_in
from mlops_core.installed.distributions import version_of
from mlops_core.steps.execution import STEP_PROTOCOL_VERSION
from mlops_core.use_cases.searches import is_selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_core.pipeline import ParameterValue, Step
    from mlops_core.steps.source_code import CodeIndex
    from mlops_core.tuning.declaration import Tuning

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
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
    if step.tuning is not None:
        config = _tuned_config(step.tuning, step.trial, config)
        components |= _search_components(step.tuning, step.trial)
    own = [reference.partition(":")[0] for reference in (step.run, step.merge) if reference]
    if is_selection(step):
        own = []  # core counts by its step protocol
    for module in (*own, *extra_modules):
        components |= {f"code {name}": digest for name, digest in code.digests(module).items()}
    for module in _modules_in(config):
        components |= {f"code {name}": digest for name, digest in code.digests_if_found(module, own=own[0]).items()}
    if step.merge:
        components["merge"] = step.merge
    for name, section in config.items():
        components |= {f"config {key}": value for key, value in _leaves(name, section)}
    if step.tuning is not None and step.trial is not None:
        for name in step.tuning.values(step.trial):
            del components[f"config {step.tuning.space.parameter(name).key}"]
    components |= {f"parameter {name}": json.dumps(value) for name, value in parameters.items()}
    components |= {f"input {name}": digest for name, digest in inputs.items()}
    components |= {f"package {name}": _version(name) for name in step.packages}
    components |= {f"environment {name}": value for name, value in step.environment.items()}
    if step.batch:
        components |= {f"batch {name}": json.dumps(value) for name, value in asdict(step.batch).items()}
    text = json.dumps(components, sort_keys=True, ensure_ascii=False)
    return StepKey(digest=hashlib.sha256(text.encode()).hexdigest(), components=components)


def _tuned_config(tuning: Tuning, trial: int | None, config: Mapping[str, object]) -> Mapping[str, object]:
    return config if trial is None else tuning.overlay(config, tuning.values(trial))


def _search_components(tuning: Tuning, trial: int | None) -> dict[str, str]:
    """Return what distinguishes a trial from others, and a selection: the drawn values, not how they were drawn.

    The values of a Bayesian search are not known yet; they follow from the search, the index and the earlier trials,
    which are inputs.
    """
    found = {"objective": tuning.objective}
    if trial is None or (trial == 0 and tuning.is_static):
        return found
    if tuning.is_static:
        return found | {f"tuned {name}": json.dumps(value) for name, value in tuning.values(trial).items()}
    space = json.dumps(tuning.space.to_json(), sort_keys=True)
    search = {
        "sampler": tuning.sampler,
        "space": space,
        "seed": tuning.seed,
        "index": trial,
        "concurrent": tuning.concurrent,
    }
    return found | {f"search {name}": str(value) for name, value in search.items()}


def _leaves(key: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key, json.dumps(value, ensure_ascii=False, sort_keys=True)


def _modules_in(config: Mapping[str, object]) -> Iterator[str]:
    """Yield the modules that a configuration names as ``package.module:function``."""
    for text in texts_in(config):
        if _REFERENCE.fullmatch(text):
            yield text.partition(":")[0]


def _shown(text: str) -> str:
    if len(text) == _DIGEST_LENGTH and not set(text) - set("0123456789abcdef"):
        return text[:12]
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") or "nothing"


@lru_cache(maxsize=256)
def _version(distribution: str) -> str:
    return version_of(distribution) or "not installed"
