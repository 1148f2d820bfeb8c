"""One commit of a git repository, by its full id, without its history.

The repository is somebody else's, so git runs nothing that it, or its address, names: no command of a remote helper,
hook, filter, file monitor or submodule. The files are the bytes of the commit on every machine: filters,
conversions of line ends and Git LFS are off, whatever the user's own configuration says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from mlops_core.datasets.addresses import REPOSITORY_SCHEMES, public_address, repository_fault
from mlops_core.datasets.fetching.trees import check_no_pointers
from mlops_core.errors import DatasetError
from mlops_core.redaction import redact_urls

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 3600
_SETTINGS = (
    *("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.protectNTFS=true", "core.protectHFS=true"),
    *("core.symlinks=true", "core.autocrlf=false", "fetch.recurseSubmodules=false", "submodule.recurse=false"),
    *("gc.auto=0", "maintenance.auto=false", "http.followRedirects=initial"),
)
_ATTRIBUTES = "* -filter -text -eol -ident -working-tree-encoding -export-subst\n"
"""Overrides every ``.gitattributes`` of the repository and of the user."""
_SUBMODULE = "160000 "
"""Mode of a submodule in git's list of files."""
_LOCAL_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
"""Set where git itself calls a program, for example in a hook; they would redirect every call."""


def clone(url: str, revision: str, folder: Path, *, name: str) -> None:
    """Put the files of commit `revision` into the empty folder `folder`.

    Raises:
        DatasetError: git is not installed, the address is not fetched, the server does not answer, the commit does
            not exist, or it has submodules or files that are kept by Git LFS.
    """
    if fault := repository_fault(url):
        raise DatasetError(f"data set '{name}': git repository {public_address(url)} {fault}")
    if shutil.which("git") is None:
        raise DatasetError(f"data set '{name}' comes from a git repository, and git is not installed; install it")
    _git(folder, name, url, "init", "--quiet", "--template=")
    (folder / ".git" / "info").mkdir(exist_ok=True)
    (folder / ".git" / "info" / "attributes").write_text(_ATTRIBUTES, encoding="ascii")
    _git(folder, name, url, "fetch", "--quiet", "--no-tags", "--depth", "1", "--", url, revision)
    _git(folder, name, url, "checkout", "--quiet", "--detach", "FETCH_HEAD", "--")
    head = _git(folder, name, url, "rev-parse", "HEAD").strip()
    if head != revision:
        raise DatasetError(f"data set '{name}': {public_address(url)} gave commit {head}, expected {revision}")
    listed = _git(folder, name, url, "ls-files", "--stage", "-z").split("\0")
    if any(entry.startswith(_SUBMODULE) for entry in listed):
        raise DatasetError(
            f"data set '{name}': {public_address(url)} has submodules, which are not fetched; "
            "make each a source of its own"
        )
    shutil.rmtree(folder / ".git")
    check_no_pointers(folder, name=name)


def _git(folder: Path, name: str, url: str, *arguments: str) -> str:
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    try:
        done = subprocess.run(  # noqa: S603  arguments from the catalogue, checked, no shell
            ["git", *settings, *arguments],  # noqa: S607  the user's git
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DatasetError(
            f"data set '{name}': git {arguments[0]} of {public_address(url)} took more than {TIMEOUT_S} s"
        ) from None
    if done.returncode:
        reason = redact_urls(" ".join(done.stderr.replace(url, public_address(url)).split()))[-300:]
        raise DatasetError(
            f"data set '{name}' cannot be fetched from {public_address(url)}: {reason}; "
            "check the network, or set dataset.path to a folder that holds it"
        )
    return done.stdout


def _environment() -> dict[str, str]:
    kept = {variable: value for variable, value in os.environ.items() if variable not in _LOCAL_VARIABLES}
    return {
        **kept,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": ":".join(sorted(REPOSITORY_SCHEMES)),
        "GIT_LFS_SKIP_SMUDGE": "1",
    }
