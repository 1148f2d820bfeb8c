"""Existing models: a file on this machine or an address, with the digest of the content."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from mlops_aed.models.model_files import fault_of
from mlops_core import ConfigError, DatasetError, KeyFaultError, Source, download, normalise_path, open_tar

_MOST_FILES = 100_000
MODEL_SUFFIXES = (".h5", ".keras", ".tflite", ".onnx")
ZOO_WEIGHTS = (
    "https://github.com/STMicroelectronics/stm32ai-modelzoo/raw/f501e52ee1f0ba8854b3ee958a7dc7b9e21a791a/"
    "audio_event_detection/scripts/utils/models/yamnet/yamnet_256_f32.h5"
)
"""YAMNet-256 as published by the model zoo, at one commit."""
ZOO_WEIGHTS_SHA256 = "dfa6066b3f3bece880e9813b05cffb6a8328fe3da832f62401ce553dd380d2b3"


def obtain(where: str, folder: Path, *, sha256: str | None, key: str) -> Path:
    """Return the file or folder at `where`; download it into `folder` if it is an address.

    Args:
        where: a path, with either kind of slash, or an http(s) address.
        folder: folder for the download.
        sha256: expected digest of the content; None for any.
        key: key of the configuration, for messages.

    Raises:
        ConfigError: no such file, or the digest differs.
        DatasetError: the download fails, or its digest differs.
    """
    if where.startswith(("http://", "https://")):
        source = Source(url=where, sha256=sha256 or "", unpack=False)
        return _unpacked(download(source, folder, name=key, progress=_silent), folder, key=key)
    path = Path(normalise_path(where)).expanduser()
    if not path.exists():
        raise ConfigError(f"{key}: no file {path}; expected a path on the machine that trains, or an https address")
    actual = digest(path)
    if sha256 is not None and actual != sha256:
        raise ConfigError(f"{key}: {path} has the SHA-256 {actual}; expected {sha256}")
    return _unpacked(path, folder, key=key)


def require_model(path: Path, where: str, *, key: str) -> None:
    """Check the file that `obtain` returned.

    Raises:
        ConfigError: it is visibly not a model, or only a part of one; `where` is named, not the copy.
    """
    fault = fault_of(path)
    if fault:
        inside = f" ({path.name} in it)" if not where.endswith(path.name) else ""
        raise ConfigError(f"{key}: {where}{inside} {fault}")


def _unpacked(path: Path, folder: Path, *, key: str) -> Path:
    """Return the model in a ``.tar.gz``, copied into `folder`; return any other file unchanged.

    Raises:
        ConfigError: the archive is damaged, or does not hold exactly one model.
    """
    if not path.name.endswith(".tar.gz"):
        return path
    try:
        if fault := fault_of(path):
            raise tarfile.ReadError(f"it {fault}")
        with open_tar(path) as archive:
            models = [item for item in archive if item.isfile() and PurePosixPath(item.name).suffix in MODEL_SUFFIXES]
            chosen = [item for item in models if PurePosixPath(item.name).stem == "best_model"] or models
            stream = archive.extractfile(chosen[0]) if len(chosen) == 1 else None
            if stream is None:
                names = ", ".join(item.name for item in models) or "none"
                raise ConfigError(f"{key}: {path} holds {len(models)} models ({names}); expected one, or a best_model")
            target = folder / PurePosixPath(chosen[0].name).name
            with target.open("wb") as file:
                shutil.copyfileobj(stream, file)
            return target
    except (tarfile.TarError, DatasetError, OSError, EOFError, ValueError, zlib.error) as error:
        raise ConfigError(f"{key}: {path} is not a readable archive: {' '.join(str(error).split())[:200]}") from error


def digest(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text; for a folder, that of the names and digests of its files."""
    if path.is_dir():
        files = sorted(item for item in path.iterdir() if item.is_file())
        lines = [f"{digest(item)} {item.name}" for item in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_recordings(folder: Path) -> str:
    """Return the SHA-256 of the paths and digests of all files below a folder.

    Raises:
        ValueError: it has so many files that it cannot be meant.
    """
    files = list(itertools.islice((item for item in folder.rglob("*") if item.is_file()), _MOST_FILES + 1))
    if len(files) > _MOST_FILES:
        raise ValueError(f"holds more than {_MOST_FILES:,} files; name the folder with the recordings")
    lines = [f"{digest(item)} {item.relative_to(folder).as_posix()}" for item in sorted(files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def with_digest(section: object, *, path_key: str, digest_key: str, is_model: bool = True) -> object:
    """Return a raw configuration section with the digest of the file that it names, if that file is on this machine.

    The content of the file, not only its name, then decides whether a step runs again.

    Args:
        section: as it is in the file.
        path_key: key of the path.
        digest_key: key that gets the digest.
        is_model: the path is that of a model; otherwise one of recordings.

    Raises:
        KeyFaultError: the file is visibly not a model, or only a part of one, or a folder has too many files.
    """
    where = section.get(path_key) if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(where, str) or section.get(digest_key) is not None:
        return section
    path = _here(where)
    if path is None:
        return section
    fault = fault_of(path) if is_model else ""
    if fault:
        raise KeyFaultError(path_key, f"{where} {fault}")
    try:
        found = digest(path) if is_model or not path.is_dir() else digest_of_recordings(path)
    except ValueError as error:
        raise KeyFaultError(path_key, f"{where} {error}") from error
    return {**section, digest_key: found}


def found_from_anywhere(where: str) -> str:
    """Return a path of this machine as an absolute path, because a step runs in another folder than the command."""
    path = _here(where)
    return where if path is None else str(path)


def _here(where: str) -> Path | None:
    """Return the file or folder at `where` as an absolute path; None if it is not on this machine, or an address."""
    if not where or "://" in where:
        return None
    try:
        path = Path(normalise_path(where)).expanduser().absolute()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # unknown home folder, or a name that is too long
        return None


LocalPath = Annotated[str, AfterValidator(found_from_anywhere)]
"""A path or an address in a configuration."""


def _silent(label: str, done: int, total: int) -> None:
    """Ignore progress; a backbone is a small file."""
