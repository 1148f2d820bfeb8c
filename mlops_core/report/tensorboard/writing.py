"""Writes the logs of a run: an event file, one more for each kind of curve, and ``hparams.yaml``.

::

    tensorboard/
    ├── events.out.tfevents…             metrics, confusion matrices, hyperparameters
    ├── hparams.yaml                     the same hyperparameters, for people and scripts
    ├── training/events.out.tfevents…    curves of the training data
    └── validation/events.out.tfevents…  curves of held-out data; the same names, so that they share a chart

Where several steps or outputs have a history, their names come first: ``train.fold-1/training``. Everything but the
times is the same on every engine; the time of a point is interpolated between begin and end of its step.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import shutil
from typing import TYPE_CHECKING, Any

from mlops_core.errors import MlopsError, StoreError
from mlops_core.evaluation.metrics import MetricReport
from mlops_core.pipeline import StepKind
from mlops_core.report.facts import read_facts, steps_of_kind
from mlops_core.report.histories import history_files, quantity_of
from mlops_core.report.tensorboard.confusion_picture import confusion_picture
from mlops_core.report.tensorboard.events import (
    image_event,
    scalar_event,
    session_end_event,
    session_start_event,
    text_event,
    version_event,
)
from mlops_core.steps.histories import read_history
from mlops_core.workspace.files import write_atomically
from mlops_core.workspace.records import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from mlops_core.report.facts import RunFacts
    from mlops_core.report.tensorboard.events import HyperParameter
    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store

TENSORBOARD_FOLDER = "tensorboard"
HPARAMS_FILE = "hparams.yaml"
_TABLE_CLASSES = 40
_LONGEST_VALUE = 500


def write_tensorboard(store: Store, run_id: str, folder: Path | None = None) -> Path:
    """Write the logs of a run and return their folder; logs that are there are replaced once the new ones are complete.

    Args:
        store: the workspace that holds the run.
        run_id: its id, a unique prefix of it, or ``latest``.
        folder: where the logs of several runs are collected, each in a folder of its id; None for the run's own folder.

    Raises:
        UsageError: the workspace has no such run.
        StoreError: its record is damaged, or the logs cannot be written.
    """
    facts = read_facts(store, run_id)
    target = facts.folder / TENSORBOARD_FOLDER if folder is None else folder / facts.record.run_id
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, events in _event_files(store, facts):
            path = partial / name / f"events.out.tfevents.{int(_start(facts.record))}.mlops"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as stream:
                stream.writelines(itertools.chain((version_event(_start(facts.record)),), events))
        write_atomically(partial / HPARAMS_FILE, _hparams_text(facts.record))
        if target.exists():
            _require_logs(target)
            shutil.rmtree(target)
        partial.rename(target)
    except OSError as error:
        raise StoreError(f"cannot write the logs for TensorBoard, {target}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _require_logs(folder: Path) -> None:
    """Refuse to replace a folder that is not one of logs."""
    if not (folder / HPARAMS_FILE).is_file():
        raise StoreError(f"{folder} exists and holds no {HPARAMS_FILE}, so it is kept; name another folder")


def _event_files(store: Store, facts: RunFacts) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield folder and events of each event file."""
    yield "", _run_events(facts)
    histories = list(_histories(store, facts.record))
    for name, step, path in histories:
        yield from _curves(name if len(histories) > 1 else "", step, path, record=facts.record)


# --- Hyperparameters -------------------------------------------------------------------------------------


def hyperparameters(record: RunRecord) -> dict[str, Any]:
    """Return the configuration as used, with dotted keys, the parameters of the run (``param.NAME``) and the seed."""
    import yaml

    try:
        data = yaml.load(record.config, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both are safe
    except (yaml.YAMLError, RecursionError):
        data = None
    values = dict(_leaves("", data)) if isinstance(data, dict) else {}
    return {**values, **{f"param.{name}": value for name, value in record.parameters.items()}, "seed": record.seed}


def _leaves(prefix: str, value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else str(key), inner)
    elif value is not None:
        yield prefix, value


def _hparams_text(record: RunRecord) -> str:
    import yaml

    return str(yaml.safe_dump(hyperparameters(record), sort_keys=True, allow_unicode=True))


def _session_values(record: RunRecord) -> Mapping[str, HyperParameter]:
    """Return the hyperparameters as TensorBoard can show them: lists as JSON, long texts shortened."""
    return {name: _session_value(value) for name, value in sorted(hyperparameters(record).items())}


def _session_value(value: object) -> HyperParameter:
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


# --- Metrics and confusion matrices ----------------------------------------------------------------------


def _run_events(facts: RunFacts) -> Iterator[bytes]:
    record = facts.record
    start, end = _start(record), _start(record) + max(0.0, record.duration_s)
    yield session_start_event(_session_values(record), name=record.run_id, wall_time=start)
    report = facts.evaluation
    if isinstance(report, MetricReport):
        for name, value in report.values.items():
            if math.isfinite(value.value):
                yield scalar_event(f"metrics/{name}", value.value, step=0, wall_time=end)
        for name, matrix in sorted(report.confusion_matrices.items()):
            if matrix.is_square and matrix.classes:
                picture, side = confusion_picture(matrix)
                yield image_event(f"confusion/{name}", picture, width=side, height=side, wall_time=end)
                if len(matrix.classes) <= _TABLE_CLASSES:
                    yield text_event(
                        f"confusion_counts/{name}", _markdown(matrix.classes, matrix.counts), wall_time=end
                    )
    is_success = record.status in (RunStatus.ACCEPTED, RunStatus.PARTIAL)
    yield session_end_event(is_success=is_success, wall_time=end)


def _markdown(classes: Iterable[str], counts: Iterable[Iterable[float]]) -> str:
    names = [_cell(name) for name in classes]
    lines = [f"| truth \\ prediction | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in zip(names, counts, strict=True)]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Return a text as one cell of a Markdown table, without markup of its own."""
    flat = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()#+-.!|<>~" else sign for sign in flat)


# --- Curves ----------------------------------------------------------------------------------------------


def _histories(store: Store, record: RunRecord) -> Iterator[tuple[str, StepRecord, Path]]:
    """Yield name, step and path of each history that is in the workspace."""
    for step in steps_of_kind(record, StepKind.TRAINING):
        for number, (output, path) in enumerate(history_files(store, record, step), 1):
            yield f"{step.name}.{output}" + ("" if number == 1 else f".{number}"), step, path


def _curves(name: str, step: StepRecord, path: Path, *, record: RunRecord) -> Iterator[tuple[str, list[bytes]]]:
    """Yield folder and events of the curves of the training data, and of those of held-out data."""
    begin = _seconds(step.started) or _start(record)
    try:
        rows = list(read_history(path))
    except MlopsError:  # the report says what is wrong with it
        return
    found: dict[bool, list[bytes]] = {False: [], True: []}
    for position, row in enumerate(rows, 1):
        wall_time = begin + max(0.0, step.duration_s) * position / len(rows)
        for column, value in row.values.items():
            if math.isfinite(value):
                quantity, is_held_out = quantity_of(column)
                found[is_held_out].append(scalar_event(quantity, value, step=int(row.step), wall_time=wall_time))
    for is_held_out, events in found.items():
        if events:
            kind = "validation" if is_held_out else "training"
            yield f"{name}/{kind}" if name else kind, events


def _start(record: RunRecord) -> float:
    return _seconds(record.created) or 0.0


def _seconds(time: str) -> float | None:
    """Return seconds since 1970 of a time in ISO 8601; None for none."""
    try:
        return dt.datetime.fromisoformat(time).timestamp()
    except ValueError:
        return None
