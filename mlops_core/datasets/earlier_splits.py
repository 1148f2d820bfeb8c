"""An earlier split that a run uses again: data assets that hold its parts, and the file that names their versions.

This module owns the format of that file, ``dataset_version``: one text, ``PART: NAME:VERSION`` and a tab for each part,
``train``, ``val`` and ``test`` in this order, of which only the first is required. A scheme may precede a name,
``SCHEME:NAME:VERSION``, for a program that reads it so; it is skipped.

The assets are joined to the data set in a folder at its top, `EARLIER_SPLIT_FOLDER`, which `list_data_files` does not
list; a step finds them with `earlier_part`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.datasets.tree_walk import EARLIER_SPLIT_FOLDER, MARKER
from mlops_core.errors import ConfigError, DatasetError
from mlops_core.settings import expand_home

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = ("train", "val", "test")
_EXPECTED = "expected 'train: NAME:VERSION', a tab, 'val: NAME:VERSION', a tab, and the same of test or not"
_REFERENCE = re.compile(r"(?P<name>[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::(?P<version>[0-9]+|[0-9a-f]{6,64}))?\Z")
_SCHEME = re.compile(r"[a-z]+:")
_LIMIT = 4096
_FOLDER_MODE = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierSplit:
    r"""The data assets that hold the parts of an earlier split, as a configuration names them.

    Attributes:
        train: data asset with the training part, ``NAME`` or ``NAME:VERSION``; a scheme may precede it.
        val: likewise, of the validation part; empty where the earlier split has none.
        versions: path of the file that names the versions of the parts, and perhaps the asset of the test part.
        keys: configuration keys of the three, for messages.

    Example:
        >>> _ = Path("dataset_version").write_text("train: train-set:3\tval: val-set:2\t")
        >>> keys = ("split.train_dataset", "split.val_dataset", "split.dataset_version_path")
        >>> EarlierSplit(train="train-set", val="val-set:2", versions="dataset_version", keys=keys).references()
        {'train': ('train-set:3',), 'val': ('val-set:2', 'val-set:2')}
    """

    train: str
    val: str = ""
    versions: str
    keys: tuple[str, str, str]

    def __post_init__(self) -> None:
        """Refuse what names no data asset."""
        for value, key in zip((self.train, self.val), self.keys, strict=False):
            if value or key == self.keys[0]:
                parsed_reference(value, what=key)

    def references(self) -> dict[str, tuple[str, ...]]:
        """Return part -> ``NAME:VERSION`` in the file and, if it has a version, in the configuration.

        Both must be the same version, which a number and the digits of a digest may name.

        Raises:
            ConfigError: the file cannot be read or is not valid, or contradicts the configuration.
        """
        key, where = self.keys[2], f"{self.keys[2]}: {self.versions}"
        versions = read_dataset_version(self.versions, key=key)
        found: dict[str, tuple[str, ...]] = {part: (stated,) for part, stated in versions.items()}
        for part, value, own_key in zip(PARTS, (self.train, self.val), self.keys, strict=False):
            stated = versions.get(part, "")
            stated_name = stated.partition(":")[0]
            if not value and stated:
                raise ConfigError(
                    f"{where} names {stated} for the part '{part}', and {own_key} is not set; expected "
                    f"{own_key}: {stated_name}, or a file without this part"
                )
            if not value:
                continue
            name, version = parsed_reference(value, what=own_key)
            if not stated:
                raise ConfigError(
                    f"{where} names no version of the part '{part}', and {own_key} is '{value}'; expected "
                    f"'{part}: {name}:VERSION' in it"
                )
            if name != stated_name:
                raise ConfigError(
                    f"{where} names {stated} for the part '{part}', and {own_key} is '{value}'; expected the same "
                    "data asset"
                )
            found[part] += (f"{name}:{version}",) if version else ()
        return found


def parsed_reference(text: str, *, what: str) -> tuple[str, str]:
    """Return name and version of a data asset; the version is empty if the text has none.

    Raises:
        ConfigError: the text names no data asset.

    Example:
        >>> parsed_reference("scheme:train-set:3", what="train_dataset"), parsed_reference("a:7", what="train_dataset")
        (('train-set', '3'), ('a', '7'))
    """
    whole = text.strip()
    match = _REFERENCE.match(whole) or _REFERENCE.match(_SCHEME.sub("", whole, count=1))
    if match is None:
        raise ConfigError(
            f"{what}: '{text}' does not name a data asset; expected NAME or NAME:VERSION, the version a number or the "
            "first digits of a digest (mlops datasets versions)"
        )
    return match["name"], match["version"] or ""


def read_dataset_version(path: str, *, key: str) -> dict[str, str]:
    """Return part -> ``NAME:VERSION``, in the order of `PARTS`, of a ``dataset_version`` file.

    Args:
        path: of the file; ``~`` is the user's home.
        key: configuration key that names it, for messages.

    Raises:
        ConfigError: it cannot be read, or is not valid.
    """
    file = expand_home(path, what=key)
    try:
        with file.open(encoding="utf-8-sig") as stream:
            text = stream.read(_LIMIT + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{key}: {path} cannot be read: {reason}; {_EXPECTED}") from None
    if len(text) > _LIMIT:
        raise ConfigError(f"{key}: {path} has more than {_LIMIT} characters; {_EXPECTED}")
    found: dict[str, str] = {}
    for entry in filter(None, (one.strip() for one in re.split(r"[\t\r\n]", text))):
        part, separator, reference = (one.strip() for one in entry.partition(":"))
        if not separator or part not in PARTS:
            raise ConfigError(f"{key}: {path} has {entry[:80]!r}; {_EXPECTED}")
        if part in found:
            raise ConfigError(f"{key}: {path} names the part '{part}' twice; {_EXPECTED}")
        name, version = parsed_reference(reference, what=f"{key}: {path}: {part}")
        if not version:
            raise ConfigError(f"{key}: {path} names {name} for the part '{part}' without a version; {_EXPECTED}")
        found[part] = f"{name}:{version}"
    if "train" not in found:
        raise ConfigError(f"{key}: {path} names no training part; {_EXPECTED}")
    return {part: found[part] for part in PARTS if part in found}


def dataset_version_text(assets: Mapping[str, str], *, scheme: str = "") -> str:
    r"""Return the content of the file ``dataset_version``.

    Args:
        assets: part -> ``NAME:VERSION``, in the order of `PARTS`.
        scheme: in front of each name, as the program that reads the file expects it.

    Example:
        >>> dataset_version_text({"train": "train-data-set:3"}, scheme="scheme")
        'train: scheme:train-data-set:3\t'
    """
    prefix = f"{scheme}:" if scheme else ""
    return "".join(f"{part}: {prefix}{reference}\t" for part, reference in assets.items())


# --- Joining the parts to a data set ----------------------------------------------------------------------


def earlier_part(dataset: Path, part: str) -> Path | None:
    """Return the folder of the data asset with a part of the earlier split that a run uses again; None without it.

    Args:
        dataset: the input of a step that holds the data set.
        part: ``train``, ``val`` or ``test``.

    Example:
        >>> (Path("data") / ".mlops-earlier-split" / "train").mkdir(parents=True)
        >>> earlier_part(Path("data"), "train").name, earlier_part(Path("data"), "test")
        ('train', None)
    """
    folder = dataset / EARLIER_SPLIT_FOLDER / part
    return folder if folder.is_dir() else None


def join_parts(folder: Path, parts: Mapping[str, Path], *, below: Path) -> Path:
    """Return a folder of links to the entries of a data set, and to the data assets of an earlier split.

    So the assets are part of the digest of the data set, and reach a step wherever the data set does; nothing is
    copied, and the folder of the user is not written to. Equal entries give the same folder, which is made once.

    Args:
        folder: the data set.
        parts: part -> folder of its data asset.
        below: where the folder of links is made.

    Raises:
        DatasetError: the data set has a folder of an earlier split, or the links cannot be made.
    """
    try:
        entries = sorted(entry.name for entry in os.scandir(folder) if entry.name != MARKER)
        if EARLIER_SPLIT_FOLDER in entries:
            raise DatasetError(
                f"{folder / EARLIER_SPLIT_FOLDER} exists: the data set holds an earlier split; expected one without "
                "it, to which the parts of another can be joined"
            )
        links = {name: os.fspath(folder.absolute() / name) for name in entries}
        links |= {f"{EARLIER_SPLIT_FOLDER}/{name}": os.fspath(path.absolute()) for name, path in sorted(parts.items())}
        identity = hashlib.sha256(json.dumps(links, sort_keys=True).encode(errors="surrogatepass")).hexdigest()
        target = below / f"joined-{identity[:32]}"
        if not target.is_dir():
            _make(target, links)
    except OSError as error:
        raise DatasetError(
            f"the earlier split cannot be joined to {folder}: {error}; expected links below {below}"
        ) from error
    return target


def _make(target: Path, links: Mapping[str, str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".joined.", dir=target.parent))
    try:
        partial.chmod(_FOLDER_MODE)
        (partial / EARLIER_SPLIT_FOLDER).mkdir()
        for name, path in links.items():
            (partial / name).symlink_to(path)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():  # made meanwhile by another run
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
