"""The files that a call predicts: those named, and the data files below the folders named, in a stable order."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.datasets.listing import DataFiles, list_data_files
from mlops_core.errors import DatasetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInputs:
    """The files to predict, in order: arguments as they were given, the files of a folder by their paths.

    Attributes:
        files: the paths.
        missing: a line for each argument that is neither a file nor a folder.
        skipped: name of a hidden or tool entry -> number of files that were skipped with it.
    """

    files: Sequence[str]
    missing: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        """Yield the paths."""
        return iter(self.files)

    @property
    def skipped_text(self) -> str:
        """One line that counts and names what was skipped; empty if nothing was."""
        return DataFiles(skipped=self.skipped).skipped_text()


def list_inputs(arguments: Sequence[str], *, output: Path) -> BatchInputs:
    """Return the files that arguments stand for; links that lead to nothing are among them, and cannot be read.

    Args:
        arguments: paths of files and folders.
        output: the file that will be written.

    Raises:
        DatasetError: a folder cannot be read, or there is no file at all.
        UsageError: the output would be in one of the folders.
    """
    files: list[str] = []
    missing: list[str] = []
    skipped: Counter[str] = Counter()
    for argument in arguments:
        if os.path.isdir(argument):  # noqa: PTH112  the argument may not end with a slash, which Path would drop
            _require_outside(output, argument)
            listing = _listing(argument)
            skipped.update(listing.skipped)
            files += (os.path.join(argument, path) for path in sorted((*listing.files, *listing.broken)))  # noqa: PTH118
        elif os.path.isfile(argument):  # noqa: PTH113  as above
            files.append(argument)
        else:
            is_other = os.path.exists(argument)  # noqa: PTH110  as above
            missing.append(f"{argument} is a pipe, socket or device" if is_other else f"no file or folder {argument}")
    if not files:
        ignored = DataFiles(skipped=dict(skipped)).skipped_text()
        what = missing[0] if missing else f"no files in {', '.join(arguments)}{f'; {ignored}' if ignored else ''}"
        raise DatasetError(f"{what}; name files, or folders that hold some")
    return BatchInputs(files=files, missing=tuple(missing), skipped=dict(skipped))


def _listing(folder: str) -> DataFiles:
    try:
        return list_data_files(Path(folder))
    except OSError as error:
        raise DatasetError(
            f"{error.filename or folder} cannot be read: {error.strerror}; nothing was predicted"
        ) from error


def _require_outside(output: Path, folder: str) -> None:
    if output.resolve().is_relative_to(Path(folder).resolve()):
        raise UsageError(
            f"--output {output} is in {folder}, whose files are predicted; write it to another folder, or it would be "
            "an input of the next call"
        )
