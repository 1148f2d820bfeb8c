"""What `mlops drift simulate` changes: sample files where the plugin declares how, else vectors of the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_core.errors import PluginError, UsageError
from mlops_core.predictors import Perturbation
from mlops_core.serving.drift.replay.perturbing import perturbed_samples
from mlops_core.serving.drift.replay.pools import reference_places
from mlops_core.serving.drift.replay.references import load_predictor, reference_classes
from mlops_core.serving.drift.replay.samples import named_files, reference_files
from mlops_core.serving.drift.replay.simulation import DelayTable, simulate
from mlops_core.serving.drift.scaling import reference_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mlops_core.evaluation.reference_statistics import ReferenceStatistics
    from mlops_core.serving.drift.policy import DriftPolicy
    from mlops_core.serving.drift.replay.perturbing import ChangedSamples
    from mlops_core.serving.drift.replay.samples import SampleFiles
    from mlops_core.serving.models import ServedModel


class RawSimulation:
    """Simulates drift for a model."""

    def __init__(
        self,
        model: ServedModel,
        reference: ReferenceStatistics,
        policy: DriftPolicy,
        *,
        workspace: Path | str | None,
        calibration: Path | None,
        note: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            model: the model.
            reference: its reference.
            policy: the policy.
            workspace: that holds the model's run.
            calibration: folder that keeps the calibration; None to calibrate anew.
            note: called with what limits the result, and with what takes long.
        """
        self._model = model
        self._reference = reference
        self._policy = policy
        self._workspace = workspace
        self._calibration = calibration
        self._note = note

    def of_vectors(self, runs: int) -> DelayTable:
        """Change the vectors of the reference; raises the errors of `simulate`."""
        classes = reference_classes(self._reference)
        return simulate(self._reference, self._policy, runs=runs, classes=classes, folder=self._calibration)

    def of_samples(self, paths: Sequence[Path], *, runs: int, most: int) -> DelayTable:
        """Change sample files; without a declaration of the plugin, or without samples, vectors.

        Args:
            paths: files and folders of samples; empty for the test samples of the run's data set.
            runs: per kind of drift.
            most: number of samples to change.

        Raises:
            UsageError: there are `paths`, and the plugin declares no changes.
            DatasetError: too few samples can be described; and the errors of `simulate`.
            PluginError: what the plugin declares cannot be used.
        """
        predictor: Any = load_predictor(self._model)
        declared = _declared(predictor, self._model)
        if not declared:
            if paths:
                raise UsageError(
                    f"use case {self._model.use_case} declares no changes of samples (mlops_core.PerturbingPredictor); "
                    "leave --samples out to change vectors of the reference"
                )
            return self.of_vectors(runs)
        try:
            files = named_files(paths) if paths else self._files()
        except UsageError as error:
            self._note(f"{error}; vectors of the reference are changed instead of samples: name samples by --samples")
            return self.of_vectors(runs)
        changes = sum(len(each.strengths) for each in declared)
        self._note(f"samples of {len(files.files)} files are described unchanged and with {changes} changes")
        changed = self._described(predictor, files, most=most)
        return simulate(self._reference, self._policy, runs=runs, changed=changed, folder=self._calibration)

    def _described(self, predictor: Any, files: SampleFiles, *, most: int) -> ChangedSamples:
        arrays = reference_arrays(self._reference)

        def is_held_out(vector: tuple[float, ...]) -> bool:
            return bool(reference_places(np.array([vector], np.float64), arrays)[0] >= 0)

        found = perturbed_samples(
            predictor,
            files.files,
            self._reference,
            most=most,
            seed=self._policy.seed,
            is_wanted=None if files.are_all_wanted else is_held_out,
        )
        if found.left_out:
            self._note(f"{found.left_out} files are left out, since they cannot be described: {found.reason}")
        return found

    def _files(self) -> SampleFiles:
        from mlops_core.use_cases.manager import load_use_case

        types = load_use_case(self._model.use_case).content_types()
        return reference_files(self._model, self._reference, types, workspace=self._workspace)


def _declared(predictor: Any, model: ServedModel) -> tuple[Perturbation, ...]:
    """Return the perturbations of a predictor.

    Raises:
        PluginError: they are not perturbations, or two have the same name.
    """
    declared = tuple(getattr(predictor, "perturbations", ()))
    names = [each.name for each in declared if isinstance(each, Perturbation)]
    if len(set(names)) < len(declared):
        raise PluginError(
            f"use case {model.use_case}: the predictor's perturbations are {declared!r}; expected instances of "
            "Perturbation with distinct names"
        )
    return declared
