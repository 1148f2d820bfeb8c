"""The output kind ``objects`` of ``mlops predict``, as data and as code: rows, JSON, labels, pictures with boxes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core import ConfigError, DatasetError, Detection, OptionType, OutputOption, PredictionOutput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_core import OutputEmitter, OutputRequest, Predictor

OBJECTS = PredictionOutput(
    name="objects",
    help="Write the objects in each image, with their boxes in pixels.",
    formats=("csv", "jsonl", "json", "coco", "yolo"),
    write="mlops_object_detection.outputs:write_objects",
    options=(
        OutputOption(
            name="min-score",
            help="Lowest score of an object.",
            type=OptionType.FLOAT,
            default=0.3,
            minimum=0,
            maximum=1,
        ),
        OutputOption(name="labels", help="Folder for the text files of --objects yolo.", metavar="FOLDER"),
        OutputOption(name="picture", help="Also write each image with its boxes to this folder.", metavar="FOLDER"),
    ),
)
_COLUMNS = ("file", "label", "score", "left", "top", "right", "bottom")
_INK = (220, 30, 30)


def write_objects(predictor: Predictor, request: OutputRequest, emitter: OutputEmitter) -> None:
    """Write the objects of each image in the requested format.

    Raises:
        DatasetError: an image cannot be decoded; the others are written before.
        ConfigError: a file cannot be written, or ``--labels`` is missing for YOLO or set for another format.
    """
    if (request.format == "yolo") != (request.options["labels"] is not None):
        raise ConfigError("--labels FOLDER and --objects yolo belong together; add the other, or leave both out")
    faults: list[str] = []
    answers = _answers(predictor, request, faults)
    if request.format == "csv":
        emitter.line(_row(_COLUMNS))
        for _, document in answers:
            for found in document["objects"]:
                numbers = (f"{found['score']:.4f}", *(f"{value:.1f}" for value in found["box"]))
                emitter.line(_row((document["path"], found["label"], *numbers)))
    elif request.format == "jsonl":
        for _, document in answers:
            emitter.line(json.dumps(document, ensure_ascii=False))
    elif request.format == "json":
        emitter.document([document for _, document in answers])
    else:
        _write_labels(answers, predictor.classes, request, emitter)
    for fault in faults[:-1]:
        emitter.note(fault)
    if faults:
        raise DatasetError(faults[-1])


def _write_labels(
    answers: Iterator[tuple[Path, dict[str, Any]]],
    classes: Sequence[str],
    request: OutputRequest,
    emitter: OutputEmitter,
) -> None:
    from mlops_object_detection.label_outputs import coco_document, write_yolo

    if request.format == "coco":
        emitter.document(coco_document(answers, classes))
        return
    for path in write_yolo(answers, classes, Path(str(request.options["labels"]))):
        emitter.line(str(path))


def _answers(predictor: Predictor, request: OutputRequest, faults: list[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each image with its objects; add a line to `faults` for one that cannot be decoded."""
    lowest = float(request.options["min-score"] or 0.0)
    folder = request.options["picture"]
    for item in request.inputs:
        if not isinstance(item.content, Path):
            raise DatasetError(f"{item.name}: expected a file")
        try:
            (answer,) = predictor.predict([item.content])
        except DatasetError as error:
            faults.append(str(error))
            continue
        if not isinstance(answer, Detection):
            raise DatasetError(f"{item.name}: the model finds no objects; expected one of this use case")
        objects = [found for found in answer.objects() if found["score"] >= lowest]
        if folder is not None:
            _draw(item.content, objects, Path(str(folder)))
        yield item.content, {"path": item.name, "objects": objects}


def _draw(path: Path, objects: list[dict[str, Any]], folder: Path) -> None:
    """Write a picture with boxes and labels as PNG, under the name of its file.

    Raises:
        ConfigError: the folder cannot be written, or has a file of that name.
    """
    from PIL import ImageDraw, ImageFont

    from mlops_object_detection.data.images import read_image

    image = read_image(path).convert("RGB")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=12)
    for found in objects:
        left, top, right, bottom = found["box"]
        pen.rectangle((left, top, right, bottom), outline=_INK, width=2)
        pen.text((left + 2, max(0, top - 14)), f"{found['label']} {found['score']:.2f}", fill=_INK, font=font)
    target = folder / f"{path.stem}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            image.save(stream, "PNG")
    except OSError as error:
        raise ConfigError(f"--picture: {target} cannot be written: {error.strerror or error}") from error


def _row(cells: tuple[object, ...]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(cells)
    return stream.getvalue()
