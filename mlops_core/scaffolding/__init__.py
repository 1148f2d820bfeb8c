"""Writing a new plugin: a whole distribution from the templates in this package.

A template is a file that ends in ``.template``; ``${use_case}``, ``${package}``, ``${distribution}``, ``${dataset}``
and ``${version}`` are replaced in it, and ``package`` in its path. Those of a kind replace common ones of that path.
"""

from __future__ import annotations

import re
import string
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mlops_core.errors import UsageError, did_you_mean

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
        name: of the use case, such as ``BIRD_CALLS``; lower case and hyphens are understood.
        kind: one of `KINDS`.
        into: the folder in which the distribution's folder is made.

    Raises:
        UsageError: the name or the kind is wrong, the use case is installed already, or the folder is not empty.
    """
    use_case = use_case_name(name)
    if kind not in KINDS:
        raise UsageError(f"no kind '{kind}'{did_you_mean(kind, KINDS) or ';'} kinds: {', '.join(KINDS)}")
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
        UsageError: it is none, or the use case is installed already.
    """
    from mlops_core.use_cases.discovery import discover_use_cases

    use_case = name.strip().upper().replace("-", "_").replace(" ", "_")
    if not _NAME.match(use_case) or len(use_case) > _NAME_LIMIT:
        raise UsageError(
            f"'{name}' cannot name a use case; expected letters, digits and single underscores, a letter first, "
            f"at most {_NAME_LIMIT} characters, for example BIRD_CALLS"
        )
    for installed in discover_use_cases():
        if installed.name == use_case:
            raise UsageError(f"{installed} is installed already; choose another name")
    return use_case


def _words(use_case: str) -> dict[str, str]:
    from importlib.metadata import version

    release = version("mlops-usecases").split(".")
    return {
        "use_case": use_case,
        "dataset": f"{use_case.lower().replace('_', '-')}-generated",  # use cases of one workspace share its data sets
        "package": f"mlops_{use_case.lower()}",
        "distribution": f"mlops-{use_case.lower().replace('_', '-')}",
        "version": ".".join(release[:2]),
        "next_version": f"{release[0]}.{int(release[1]) + 1}",
    }


def _templates(kind: str) -> Iterator[tuple[str, str]]:
    """Yield path -> text of each template of a kind, without the suffix."""
    top = resources.files(__package__) / "templates" / kind
    waiting: list[tuple[PurePosixPath, Traversable]] = [(PurePosixPath(), top)]
    while waiting:
        place, item = waiting.pop()
        if item.is_dir():
            waiting += [(place / inner.name, inner) for inner in item.iterdir()]
        elif item.name.endswith(_SUFFIX):
            yield str(place).removesuffix(_SUFFIX), item.read_text(encoding="utf-8")
