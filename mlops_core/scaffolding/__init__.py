"""New plugins: a complete distribution, written from the templates in this package.

A template is a file that ends in ``.template``. ``${use_case}``, ``${package}``, ``${distribution}``, ``${dataset}``,
``${version}`` and ``${next_version}`` are replaced in its text, and ``package`` in its path. A template of a kind
replaces the common template with the same path.
"""

from __future__ import annotations

import re
import string
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError, did_you_mean
from mlops_core.names import require_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable
    from pathlib import Path

KINDS = ("audio", "image", "tabular")
_COMMON = "common"
_SUFFIX = ".template"
_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*\Z")
_NAME_LIMIT = 40


def write_plugin(name: str, *, kind: str, into: Path) -> Path:
    """Write the distribution of a new use case and return its folder.

    Args:
        name: name of the use case, such as ``BIRD_CALLS``; lower case and hyphens are accepted.
        kind: one of `KINDS`.
        into: the parent of the distribution's new folder.

    Raises:
        UsageError: name or kind are invalid, the use case is already installed, or the folder is not empty.
    """
    use_case = use_case_name(name)
    if kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'{did_you_mean(kind, KINDS) or ';'} expected one of {', '.join(KINDS)}")
    words = _words(use_case)
    folder = into / words["distribution"]
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; choose another name or another folder with --into")
    for place, text in {**dict(_templates(_COMMON)), **dict(_templates(kind))}.items():
        path = folder / place.replace("package", words["package"], 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(string.Template(text).substitute(words), encoding="utf-8")
    return folder


def use_case_name(name: str) -> str:
    """Return the name of a new use case in its portable form.

    Raises:
        UsageError: the name is invalid, or the use case is already installed.
    """
    from mlops_core.use_cases.discovery import discover_use_cases

    use_case = name.strip().upper().replace("-", "_").replace(" ", "_")
    if not _NAME.match(use_case) or len(use_case) > _NAME_LIMIT:
        raise UsageError(
            f"'{name}' is not a valid name of a use case; expected letters, digits and single underscores, a letter "
            f"first, at most {_NAME_LIMIT} characters, such as BIRD_CALLS"
        )
    require_name(use_case, what="use case")
    for installed in discover_use_cases():
        if installed.name == use_case:
            raise UsageError(f"{installed} is already installed; choose another name")
    return use_case


def _words(use_case: str) -> dict[str, str]:
    from importlib.metadata import version

    release = version("mlops-usecases").split(".")
    return {
        "use_case": use_case,
        "dataset": f"{use_case.lower().replace('_', '-')}-generated",  # unique, because a workspace shares data sets
        "package": f"mlops_{use_case.lower()}",
        "distribution": f"mlops-{use_case.lower().replace('_', '-')}",
        "version": ".".join(release[:2]),
        "next_version": f"{release[0]}.{int(release[1]) + 1}",
    }


def _templates(kind: str) -> Iterator[tuple[str, str]]:
    """Yield path (without the suffix) and text of each template of a kind."""
    top = resources.files(__package__) / "templates" / kind
    waiting: list[tuple[PurePosixPath, Traversable]] = [(PurePosixPath(), top)]
    while waiting:
        place, item = waiting.pop()
        if item.is_dir():
            waiting += [(place / inner.name, inner) for inner in item.iterdir()]
        elif item.name.endswith(_SUFFIX):
            yield str(place).removesuffix(_SUFFIX), item.read_text(encoding="utf-8")
