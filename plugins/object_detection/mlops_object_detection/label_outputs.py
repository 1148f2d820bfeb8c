"""Detections as labels that annotation tools and data sets use: a COCO document, or a YOLO text file per image.

Both are raw layouts that this use case reads. Numbers of classes count the model's classes, from 0 in YOLO files and
from 1 in COCO documents. Boxes are those of the picture as it is displayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_core import ConfigError
from mlops_object_detection.data.images import image_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

Answer: TypeAlias = "tuple[Path, Mapping[str, Any]]"
"""An image, and ``path`` and ``objects`` of it; an object has ``label``, ``score`` and ``box``."""
CLASSES_FILE = "classes.txt"


def coco_document(answers: Iterable[Answer], classes: Sequence[str]) -> dict[str, Any]:
    """Return the objects of all images as one COCO document; each annotation also has its score.

    Args:
        answers: of all images.
        classes: of the model.
    """
    numbers = {name: number for number, name in enumerate(classes, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for path, document in answers:
        width, height = image_size(path)
        images.append({"id": len(images) + 1, "file_name": document["path"], "width": width, "height": height})
        for found in document["objects"]:
            left, top, right, bottom = found["box"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": numbers[found["label"]],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                    "score": found["score"],
                }
            )
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_yolo(answers: Iterable[Answer], classes: Sequence[str], folder: Path) -> Iterator[Path]:
    """Write and yield a text file per image, empty for one without objects, after a file with the names of the classes.

    Args:
        answers: of all images.
        classes: of the model.
        folder: is made if it does not exist.

    Raises:
        ConfigError: a file cannot be written, or exists with other contents; it is kept.
    """
    _write_new(folder / CLASSES_FILE, "".join(f"{name}\n" for name in classes))
    for path, document in answers:
        width, height = image_size(path)
        lines = (_yolo_line(found, classes.index(found["label"]), width, height) for found in document["objects"])
        target = folder / f"{path.stem}.txt"
        _write_new(target, "".join(lines), may_exist=False)
        yield target


def _yolo_line(found: Mapping[str, Any], number: int, width: int, height: int) -> str:
    left, top, right, bottom = found["box"]
    numbers = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    return " ".join((str(number), *(f"{value:.9f}" for value in numbers))) + "\n"


def _write_new(path: Path, text: str, *, may_exist: bool = True) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if may_exist and path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        with path.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigError(f"--labels: {path} exists already; choose an empty folder, or remove the file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--labels: {path} cannot be written: {error}") from error
