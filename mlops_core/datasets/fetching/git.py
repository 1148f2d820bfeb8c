"""One commit of a git repository, by its full id, without its history."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 3600


def clone(url: str, revision: str, folder: Path, *, name: str) -> None:
    """Put the files of commit `revision` into the empty folder `folder`.

    Raises:
        DatasetError: git is not installed, the server does not answer, or the commit does not exist.
    """
    if shutil.which("git") is None:
        raise DatasetError(f"data set '{name}' comes from a git repository, and git is not installed; install it")
    _git(folder, name, url, "init", "--quiet")
    _git(folder, name, url, "fetch", "--quiet", "--depth", "1", url, revision)
    _git(folder, name, url, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    head = _git(folder, name, url, "rev-parse", "HEAD").strip()
    if head != revision:
        raise DatasetError(f"data set '{name}': {url} gave commit {head}, expected {revision}")
    shutil.rmtree(folder / ".git")


def _git(folder: Path, name: str, url: str, *arguments: str) -> str:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    try:
        done = subprocess.run(  # noqa: S603  arguments from the catalogue, no shell
            ["git", *arguments],  # noqa: S607  the user's git
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DatasetError(f"data set '{name}': git {arguments[0]} of {url} took more than {TIMEOUT_S} s") from None
    if done.returncode:
        reason = " ".join(done.stderr.split())[-300:]
        raise DatasetError(
            f"data set '{name}' cannot be fetched from {url}: {reason}; "
            "check the network, or set dataset.path to a folder that holds it"
        )
    return done.stdout
