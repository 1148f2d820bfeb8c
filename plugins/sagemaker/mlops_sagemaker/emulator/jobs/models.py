"""The container of a model: which requests of ``CreateModel`` can be served here, and the files of the model.

The images of others cannot be started without Docker. A container is ours if its environment names a use case that is
installed: ``USECASE_NAME``, which the serving image sets and a compiled definition repeats.
"""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core import discover_use_cases
from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.objects import download_prefix, parse_uri
from mlops_sagemaker.service.uris import S3Uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlops_sagemaker.emulator.objects import ObjectStore

USE_CASE = "USECASE_NAME"
_ARCHIVES = "Gzip"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelContainer:
    """The container that serves a model.

    Attributes:
        image: its image, for error messages.
        environment: its environment variables.
        uri: ``s3://`` URI of the model; empty for none.
        is_archive: the URI is that of a ``tar.gz``, else of the prefix of the model's files.
    """

    image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    uri: str = ""
    is_archive: bool = True


def model_problems(request: Mapping[str, Any], *, environment: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Yield the reasons why the model of a request cannot be served here.

    Args:
        request: arguments of ``CreateModel``; expressions in it are not judged.
        environment: further variables of the container.
    """
    containers = _containers(request)
    if len(containers) != 1:
        yield f"a model of {len(containers)} containers cannot be served here; supported: PrimaryContainer"
        return
    (container,) = containers
    if container.get("Mode", "SingleModel") != "SingleModel":
        yield f"Mode {container['Mode']!r} is not supported here; supported: SingleModel"
    if "ModelPackageName" in container:
        yield "ModelPackageName is not supported here; name the image and the data of the model"
    name = {**(container.get("Environment") or {}), **(environment or {})}.get(USE_CASE)
    known = {each.name for each in discover_use_cases()}
    if name is None:
        yield (
            f"its image {container.get('Image')!r} cannot be started without Docker; only containers of installed use "
            f"cases can, whose Environment has {USE_CASE}"
        )
    elif isinstance(name, str) and name not in known:
        yield f"{USE_CASE} is {name!r}, which is not installed here; installed: {', '.join(sorted(known)) or 'none'}"


def container_of(request: Mapping[str, Any]) -> ModelContainer:
    """Return the container of a model whose request has no problems.

    Raises:
        StepFault: the data of the model is missing, or of a kind that is not supported.
    """
    for problem in model_problems(request):
        raise StepFault(FaultKind.CLIENT, problem)
    (container,) = _containers(request)
    source = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
    return ModelContainer(
        image=str(container.get("Image", "")),
        environment={name: str(value) for name, value in (container.get("Environment") or {}).items()},
        uri=str(container.get("ModelDataUrl") or source.get("S3Uri") or ""),
        is_archive=bool(container.get("ModelDataUrl")) or source.get("CompressionType") == _ARCHIVES,
    )


def fetch_model(objects: ObjectStore, container: ModelContainer, folder: Path, *, scratch: Path) -> None:
    """Write the files of a model into `folder`.

    Raises:
        StepFault: they do not exist, or the archive is damaged or leads out of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not container.uri:
        return
    uri = parse_uri(container.uri)
    if not container.is_archive:
        download_prefix(objects, S3Uri(uri.bucket, uri.key.rstrip("/") + "/"), folder)
        return
    archive = scratch / "model.tar.gz"
    objects.download(uri, archive)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise StepFault(FaultKind.CLIENT, f"{uri}: not an archive of a model: {error}") from error
    finally:
        archive.unlink()


def _containers(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    primary, several = request.get("PrimaryContainer"), request.get("Containers")
    listed = [primary] if isinstance(primary, dict) else several
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
