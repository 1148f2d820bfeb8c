"""Registers accepted models in a registry of models, and marks the best version by the tag ``best_model``.

The registry is that of a workspace, or a folder on this machine. Both operations may be repeated: a model that is
registered keeps its version, and marks that an interrupted call left behind are put right by the next one.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlops_azureml.values.models import BEST_TAG, RegisteredModel, VersionExistsError
from mlops_core.runners import RunnerError, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_core.runners.container.acceptance import ModelFacts

FOLDER_VARIABLE = "MLOPS_AZUREML_MODELS"
"""Names a folder that takes the place of the registry of a workspace."""
TEST_SET_TAG = "test_set"
_ATTEMPTS = 20


class ModelRegistry(Protocol):
    """Where versions of models are kept."""

    def versions(self, name: str) -> Sequence[RegisteredModel]:
        """Return all versions of a model, in any order; none for an unknown name.

        Raises:
            RunnerError: the registry cannot be read.
        """

    def create(self, model: RegisteredModel) -> None:
        """Create a version.

        Raises:
            VersionExistsError: it exists with another content.
            RunnerError: the registry cannot be written.
        """

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Change tags of a version; all others are kept.

        Raises:
            RunnerError: the registry cannot be written.
        """


class FolderModels:
    """A registry in a folder: one file for each version."""

    def __init__(self, folder: Path) -> None:
        """Keep the versions below `folder`."""
        self._folder = folder

    def versions(self, name: str) -> tuple[RegisteredModel, ...]:
        """Return all versions of a model."""
        found = []
        for path in sorted(self._folder.joinpath(name).glob("*.json")):
            data = json.loads(path.read_text(encoding="utf-8"))
            found.append(RegisteredModel(name=name, version=path.stem, uri=data["uri"], tags=data["tags"]))
        return tuple(found)

    def create(self, model: RegisteredModel) -> None:
        """Create a version; an exclusive link, so that no two processes create one."""
        path = self._path(model.name, model.version)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            write_atomically(draft, _text(model))
            os.link(draft, path)
        except FileExistsError:
            raise VersionExistsError(f"model {model.name} has a version {model.version} of another content") from None
        except OSError as error:
            raise RunnerError(f"{path}: {error.strerror}; the model was not registered") from error
        finally:
            draft.unlink(missing_ok=True)

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Change tags of a version."""
        model = next(each for each in self.versions(name) if each.version == version)
        changed = RegisteredModel(name=name, version=version, uri=model.uri, tags={**model.tags, **tags})
        write_atomically(self._path(name, version), _text(changed))

    def _path(self, name: str, version: str) -> Path:
        return self._folder / name / f"{version}.json"


def open_registry(environ: Mapping[str, str]) -> ModelRegistry:
    """Return the registry that the environment of a node names.

    Raises:
        RunnerError: it names none, or the workspace refuses.
    """
    folder = environ.get(FOLDER_VARIABLE)
    if folder:
        return FolderModels(Path(folder))
    from mlops_azureml.service.models import workspace_models

    return workspace_models(environ)


def model_tags(facts: ModelFacts, *, origin: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a new version: its metrics as texts, the mark of the best version, and its origin.

    Args:
        facts: of the evaluation.
        origin: for example build, data set and use case.
    """
    metrics = {name: repr(value) for name, value in sorted(facts.metrics.items()) if math.isfinite(value)}
    return {**metrics, BEST_TAG: "false", **origin, TEST_SET_TAG: facts.test_set}


def register(registry: ModelRegistry, *, name: str, uri: str, tags: Mapping[str, str]) -> RegisteredModel:
    """Register a model and return its version: the one that has this address already, or the next number.

    Raises:
        RunnerError: the registry refuses, or other processes take every number.
    """
    for _ in range(_ATTEMPTS):
        versions = registry.versions(name)
        same = next((each for each in versions if each.uri.rstrip("/") == uri.rstrip("/")), None)
        if same is not None:
            return same
        numbers = [int(each.version) for each in versions if each.version.isdecimal()]
        model = RegisteredModel(name=name, version=str(max(numbers, default=0) + 1), uri=uri, tags=dict(tags))
        try:
            registry.create(model)
        except VersionExistsError:
            continue  # another run has just taken the number
        return model
    raise RunnerError(f"model {name}: other runs took {_ATTEMPTS} versions in a row; nothing was registered, run again")


def mark_best(
    registry: ModelRegistry, *, name: str, version: str, compared_by: str, is_higher_better: bool
) -> RegisteredModel:
    """Give the mark of the best version to a new version if it is strictly better on the same test set.

    The old mark is removed before the new one is set: where the second call fails, no version is marked, never two.

    Args:
        registry: of models.
        name: of the model.
        version: the new version.
        compared_by: the metric.
        is_higher_better: its direction.

    Raises:
        RunnerError: the registry refuses, or does not have the version.
    """
    versions = {each.version: each for each in registry.versions(name)}
    if version not in versions:
        raise RunnerError(f"model {name} has no version {version}; register it first")
    new, marked = versions[version], [each for each in versions.values() if each.is_marked_best]
    best = new
    for other in sorted(marked, key=lambda each: _order(each.version)):
        if other.version != best.version and not _is_better(best, other, compared_by, is_higher_better):
            best = other
    for each in marked:
        if each.version != best.version:
            registry.set_tags(name, each.version, {BEST_TAG: "false"})
    if not best.is_marked_best:
        registry.set_tags(name, best.version, {BEST_TAG: "true"})
    return best


def _is_better(new: RegisteredModel, old: RegisteredModel, metric: str, is_higher_better: bool) -> bool:  # noqa: FBT001
    """Return whether `new` is strictly better; versions that were judged by different test sets do not compare."""
    if new.tags.get(TEST_SET_TAG) != old.tags.get(TEST_SET_TAG):
        return False
    try:
        ours, theirs = float(new.tags[metric]), float(old.tags[metric])
    except (KeyError, ValueError):
        return False
    return ours > theirs if is_higher_better else ours < theirs


def _order(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdecimal() else (1 << 62, version)


def _text(model: RegisteredModel) -> str:
    return json.dumps({"uri": model.uri, "tags": dict(model.tags)}, indent=1, ensure_ascii=False) + "\n"
