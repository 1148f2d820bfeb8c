"""Train the detector on the training part, and detect the objects of the validation part."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from mlops_core import HistoryRow, StepError, write_history
from mlops_object_detection.config import DataAugmentation, Training
from mlops_object_detection.data.splitting import VALIDATION
from mlops_object_detection.model import network
from mlops_object_detection.model.crops import CropMaker, Page, Style
from mlops_object_detection.model.detector import Detector
from mlops_object_detection.model.fitting import EpochRecord, Schedule, fit
from mlops_object_detection.model.plan import Plan
from mlops_object_detection.model.targets import IGNORED
from mlops_object_detection.steps.detections import write_detections
from mlops_object_detection.steps.tile import PAGES_FILE, PLAN_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlops_core import StepContext

HYPERPARAMETERS_FILE = "hyperparameters.json"
_WIDTHS = {"small": 0.75, "medium": 1.0}
_FEWEST_LIMIT, _LIMIT_FACTOR = 100, 3


def train(context: StepContext) -> None:
    """Write the network with its metadata, hyperparameters and history, and the detections of the validation part.

    Raises:
        StepError: the inputs are damaged, or the loss is not finite.
    """
    keras.utils.set_random_seed(context.seed)
    tf.config.experimental.enable_op_determinism()
    settings = context.section("training", Training)
    folder = context.input("tiles")
    facts = _read(folder / PLAN_FILE)
    entries = _read(folder / PAGES_FILE)
    classes = sorted({box[0] for entry in entries for box in entry["boxes"]})
    plan = Plan.from_json(facts["plan"])
    shape = {
        "channels": facts["channels"],
        "classes": len(classes),
        "width": _WIDTHS[settings.model_size],
        "is_deep": plan.is_deep,
        "mean": facts["mean"],
        "deviation": facts["deviation"],
    }
    model = network.build(**shape)
    context.log.info("%d weights; %d training images, %d classes", model.count_params(), len(entries), len(classes))
    pages = [_page(folder, entry, classes) for entry in entries]
    maker = CropMaker(pages, _style(facts, plan, settings, context.section("data_augmentation", DataAugmentation)))
    records = fit(model, maker, _schedule(settings), seed=context.seed, on_epoch=lambda one: _report(context, one))
    metadata = {
        "use_case": context.use_case,
        "classes": classes,
        "plan": plan.to_json(),
        "network": shape,
        "fill": facts["fill"],
        "weights": int(model.count_params()),
        "nms_iou_threshold": settings.nms_iou_threshold,
        "box_score_threshold": settings.box_score_threshold,
        "validation_iou_threshold": settings.validation_iou_threshold,
        "box_detections_per_image": settings.box_detections_per_image
        or max(_FEWEST_LIMIT, _LIMIT_FACTOR * plan.most_boxes),
    }
    output = context.output("model")
    network.save(model, output, metadata)
    rows = (HistoryRow(step=one.epoch, values=_values(one)) for one in records)
    write_history(output, rows, step_name="epoch")
    (output / HYPERPARAMETERS_FILE).write_text(_hyperparameters(context), encoding="utf-8")
    write_detections(context, Detector(model, metadata), metadata, part=VALIDATION, output="val_predictions")


def _report(context: StepContext, record: EpochRecord) -> None:
    context.progress("epoch", record.epoch, context.section("training", Training).number_of_epochs)
    context.log.info(
        "epoch %d: loss %.3f (centres %.3f, boxes %.3f, classes %.3f)",
        record.epoch,
        record.loss,
        record.centre_loss,
        record.box_loss,
        record.class_loss,
    )


def _values(record: EpochRecord) -> dict[str, float]:
    names = ("loss", "centre_loss", "box_loss", "class_loss")
    return {name: getattr(record, name) for name in names}


def _schedule(settings: Training) -> Schedule:
    return Schedule(
        epochs=settings.number_of_epochs,
        steps_per_epoch=settings.steps_per_epoch,
        batch_size=settings.training_batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        optimizer=settings.optimizer,
        ema_momentum=settings.ema_momentum,
    )


def _style(facts: Mapping[str, Any], plan: Plan, settings: Training, augmentation: DataAugmentation) -> Style:
    is_drawing = bool(facts["is_line_art"])
    flips = augmentation.horizontal_flip
    jitter = augmentation.scale_jitter
    return Style(
        side=settings.crop_size or plan.crop,
        jitter=plan.jitter if jitter is None else jitter,
        copy_paste=augmentation.copy_paste,
        is_line_art=is_drawing,
        has_flips=not is_drawing if flips is None else flips,
        tones=augmentation.tones,
        fill=np.array(facts["fill"], np.uint8),
    )


def _page(folder: Path, entry: Mapping[str, Any], classes: Sequence[str]) -> Page:
    try:
        pixels = np.load(folder / entry["file"], allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StepError(f"{folder / entry['file']} cannot be read: {error}; expected an output of 'tile'") from error
    height, width = pixels.shape[:2]
    boxes = np.array([box[1:5] for box in entry["boxes"]], np.float32).reshape(-1, 4)
    labels = [IGNORED if box[5] else classes.index(box[0]) for box in entry["boxes"]]
    return Page(
        pixels=pixels,
        boxes=boxes * np.array([width, height, width, height], np.float32),
        labels=np.array(labels, np.int32),
    )


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StepError(f"{path} cannot be read: {error}; expected an output of the step 'tile'") from error


def _hyperparameters(context: StepContext) -> str:
    """Return all settings of the training as a flat JSON object whose values are texts, as engines log them."""
    flat = {"seed": str(context.seed)}
    for section in (context.section("training", Training), context.section("data_augmentation", DataAugmentation)):
        values = section.model_dump(mode="json")
        flat |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return json.dumps(flat, indent=2, sort_keys=True) + "\n"
