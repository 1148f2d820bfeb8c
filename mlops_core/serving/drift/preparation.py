"""The calibration with its plan, kept as ``calibration.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import DatasetError, StoreError
from mlops_core.serving.drift.calibration import Calibration, calibrate, kernel_reference
from mlops_core.serving.drift.heldout import HeldOutRate, held_out_rate
from mlops_core.serving.drift.scaling import ScaledReference, reference_arrays
from mlops_core.workspace.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from mlops_core.serving.drift.policy import DriftPlan, DriftPolicy
    from mlops_core.serving.drift.reference import DriftReference

    Calibrate: TypeAlias = Callable[[DriftReference, DriftPolicy, Path | None], "PreparedReference"]

CALIBRATION_FILE = "calibration.json"
FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedReference:
    """A reference that is ready for a monitor.

    Attributes:
        reference: standardised.
        plan: windows and run lengths.
        calibration: thresholds.
        held_out: rate of false alarms on data that was held out; None where the reference is too small to be halved,
            or it could not be measured.
        held_out_note: why it could not be measured; else empty.
    """

    reference: ScaledReference
    plan: DriftPlan
    calibration: Calibration
    held_out: HeldOutRate | None
    held_out_note: str = ""

    def facts(self) -> dict[str, Any]:
        """Return what a report says, as JSON types."""
        return {
            "samples": len(self.reference.values),
            "features": len(self.reference.features),
            "constant_features": list(self.reference.constant),
            "groups": None if self.reference.groups is None else int(self.reference.groups.max()) + 1,
            **asdict(self.plan),
            **self.calibration.to_data(),
            "held_out": None if self.held_out is None else asdict(self.held_out),
            "held_out_note": self.held_out_note,
        }


def prepared(reference: DriftReference, policy: DriftPolicy, folder: Path | None) -> PreparedReference:
    """Calibrate, or read what was calibrated: see `mlops_core.serving.drift.prepare`."""
    kept = read_preparation(reference, policy, folder)
    if kept is not None:
        return kept
    arrays = reference_arrays(reference)
    plan = policy.plan(len(arrays.values))
    calibration = calibrate(kernel_reference(arrays, seed=policy.seed), plan, seed=policy.seed)
    note = ""
    try:
        rate = held_out_rate(arrays, plan, seed=policy.seed)
    except DatasetError as error:  # a figure for the reader: drift is detected without it
        rate, note = None, f"the rate on held-out data could not be measured: {error}"
    found = PreparedReference(reference=arrays, plan=plan, calibration=calibration, held_out=rate, held_out_note=note)
    if folder is not None:
        _write(folder, found, policy)
    return found


def read_preparation(reference: DriftReference, policy: DriftPolicy, folder: Path | None) -> PreparedReference | None:
    """Return what was calibrated in a folder for this reference and policy; None if there is none.

    Raises:
        DatasetError, ConfigError, StoreError: see `mlops_core.serving.drift.prepare`.
    """
    arrays = reference_arrays(reference)
    plan = policy.plan(len(arrays.values))
    kept = None if folder is None else _read(folder / CALIBRATION_FILE, arrays, policy)
    if kept is None:
        return None
    return PreparedReference(reference=arrays, plan=plan, calibration=kept[0], held_out=kept[1], held_out_note=kept[2])


def _read(
    path: Path, arrays: ScaledReference, policy: DriftPolicy
) -> tuple[Calibration, HeldOutRate | None, str] | None:
    """Return what is kept for this reference and policy; None if there is none, or one for others."""
    try:
        data = json.loads(path.read_bytes())
        if (data["format"], data["reference"], data["policy"]) != (FORMAT, arrays.digest, policy.digest):
            return None
        rate = data["held_out"]
        held_out = None if rate is None else HeldOutRate(**rate)
        return Calibration.from_data(data["calibration"]), held_out, str(data.get("held_out_note", ""))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"drift: cannot read {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError):
        return None  # damaged, or of another version: it is made again


def _write(folder: Path, found: PreparedReference, policy: DriftPolicy) -> None:
    data = {
        "format": FORMAT,
        "reference": found.reference.digest,
        "policy": policy.digest,
        "stated": asdict(policy),
        "calibration": found.calibration.to_data(),
        "held_out": None if found.held_out is None else asdict(found.held_out),
        "held_out_note": found.held_out_note,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / CALIBRATION_FILE, json.dumps(data, indent=2) + "\n")
    except OSError as error:
        raise StoreError(f"drift: cannot write {folder / CALIBRATION_FILE}: {error.strerror}") from error
