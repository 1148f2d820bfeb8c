"""Loads a raw archive of images and labels into a datastore, as two folders that a job can mount.

The archive may be at an address with a shared access signature. Labels of any layout that the use case reads, such as
``N_symbols.npy``, become one file of annotations: the use case's own step writes them, executed on this machine.
"""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mlops_azureml.settings import DATA_VARIABLES
from mlops_core import DATASET, DatasetError, UsageError, run
from mlops_core.runners import LoadedArchive, RunnerError
from mlops_core.runners.remote.object_store import Sending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core import Step
    from mlops_core.runners import RunObserver, RunRequest, Store
    from mlops_core.runners.remote.object_store import Bucket

ANNOTATIONS = "annotations"
ANNOTATIONS_FILE = "synthetic-image-annotations.jsonl"
IMAGES, LABELS = "images", "labels"
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_CHUNK = 1 << 20
_TIMEOUTS_S = (10, 60)


def fetch_archive(source: str, folder: Path) -> Path:
    """Return an archive on this machine; one at an address is downloaded.

    Raises:
        UsageError: there is no such file, or the address is not one of http or https.
        RunnerError: it cannot be downloaded; the message has no signature.
    """
    if "://" not in source:
        path = Path(source).expanduser()
        if not path.is_file():
            raise UsageError(f"{source.partition('?')[0]} is not a file; expected a zip or tar archive, or its address")
        return path
    import requests

    shown = _shown(source)
    target = folder / (PurePosixPath(unquote(urlsplit(source).path)).name or "archive")
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with requests.get(source, stream=True, timeout=_TIMEOUTS_S) as answer, partial.open("wb") as stream:
            if answer.status_code >= 400:
                raise RunnerError(
                    f"{shown}: the server answered {answer.status_code}; check the address, and whether its signature "
                    "has expired"
                )
            shutil.copyfileobj(_Body(answer), stream, _CHUNK)
            announced = answer.headers.get("Content-Length")
    except requests.RequestException as error:
        raise RunnerError(f"{shown} cannot be downloaded: {type(error).__name__}; repeat the command") from error
    if announced is not None and partial.stat().st_size != int(announced):
        raise RunnerError(f"{shown}: the download was cut off; repeat the command")
    partial.replace(target)
    return target


def _shown(source: str) -> str:
    """Return an address without what may be secret: password and signature.

    Raises:
        UsageError: it is not an address of http or https with a host.
    """
    try:
        place = urlsplit(source)
        port = f":{place.port}" if place.port is not None else ""
    except ValueError as error:
        raise UsageError(f"the address of the archive is not valid: {error}; expected https://HOST/PATH") from error
    if place.scheme not in ("http", "https"):
        raise UsageError(f"{place.scheme}://... is not supported; expected an address of http or https, or a file")
    if not place.hostname:
        raise UsageError(f"the address of the archive has no host; expected {place.scheme}://HOST/PATH")
    return f"{place.scheme}://{place.hostname}{port}{place.path}"


class _Body:
    """The body of a response as a file."""

    def __init__(self, answer: object) -> None:
        self._chunks: Iterator[bytes] = answer.iter_content(_CHUNK)  # type: ignore[attr-defined]

    def read(self, size: int = -1) -> bytes:
        """Return the next chunk, whatever the size asked for; empty at the end."""
        del size
        return next(self._chunks, b"")


def load(
    request: RunRequest, archive: Path, to: str, *, store: Store, bucket: Bucket, observer: RunObserver
) -> LoadedArchive:
    """Write images and annotations of an archive below an address.

    Args:
        request: of the use case; its data set is replaced.
        archive: the archive.
        to: address of a folder in the datastore.
        store: workspace on this machine, which must not be open elsewhere for writing.
        bucket: the container of `to`.
        observer: receives the events of the step that reads the labels.

    Raises:
        UsageError: the use case has no step that writes annotations from a data set.
        DatasetError: the archive has no image, two images have one name, or labels are damaged.
    """
    step = converting_step(request)
    record = run(
        request.use_case.name,
        overrides=(f"dataset.path={json.dumps(str(archive.absolute()))}",),
        workspace=store.home,
        only=[step.name],
        observer=observer,
    )
    done = record.step(step.name)
    if record.exit_code or record.dataset is None or done is None:
        raise DatasetError(record.error or f"step '{step.name}' failed")
    folder = Path(record.dataset.path)
    images = _images(folder)
    lines = store.artifacts.path(done.outputs[ANNOTATIONS]) / "annotations.jsonl"
    place = bucket.place(to)
    work = store.work_folder("labels")
    try:
        labels = work / ANNOTATIONS_FILE
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("".join(_base_names(lines, images)), encoding="utf-8")
        bucket.send(_sendings(images, place.key(IMAGES)))
        bucket.write(place.key(f"{LABELS}/{ANNOTATIONS_FILE}"), labels)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    base = str(place).rstrip("/")
    variables = dict(zip(DATA_VARIABLES, (f"{base}/{IMAGES}/", f"{base}/{LABELS}/"), strict=True))
    return LoadedArchive(place=f"{base}/", files=len(images), variables=variables)


def converting_step(request: RunRequest) -> Step:
    """Return the step of a use case that reads labels of any layout and writes annotations.

    Raises:
        UsageError: the use case has none.
    """
    for step in request.pipeline.steps:
        if ANNOTATIONS in step.outputs and DATASET in step.inputs.values():
            return step
    raise UsageError(
        f"use case '{request.use_case.name}' has no step that writes '{ANNOTATIONS}' from a data set; send its data "
        "with mlops fetch --to, without --from"
    )


def _images(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _IMAGE_SUFFIXES or not path.is_file():
            continue
        if path.name in found:
            raise DatasetError(f"{path} and {found[path.name]} have one name, and images are in one folder; rename one")
        found[path.name] = path
    if not found:
        raise DatasetError(f"{folder} has no image; expected files such as .jpg or .png")
    return found


def _base_names(path: Path, images: dict[str, Path]) -> Iterator[str]:
    """Yield the annotations with the names of images only, as they are beside each other in the datastore."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        data = json.loads(line)
        name = PurePosixPath(str(data["image_url"])).name
        if name not in images:
            raise DatasetError(f"annotations of '{name}', which is not an image of the archive")
        yield json.dumps({**data, "image_url": name}, ensure_ascii=False) + "\n"


def _sendings(images: dict[str, Path], prefix: str) -> Iterator[Sending]:
    for name, path in images.items():
        yield Sending(
            path=path,
            key=f"{prefix}/{name}",
            is_unchanged=functools.partial(_is_unchanged, path, path.stat().st_mtime_ns),
            on_sent=lambda _: None,
        )


def _is_unchanged(path: Path, modified_ns: int) -> bool:
    return path.stat().st_mtime_ns == modified_ns
