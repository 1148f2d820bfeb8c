"""Short names of folders, for what is put into them with a name of limited length.

The name of a socket has at most 107 bytes. `multiprocessing` and libraries like it create sockets in the folder that
TMPDIR names, some levels below; a folder of a workspace can lie deeper than that.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORT_BYTES = 36
"""Leaves 70 bytes for what a library puts below."""
_PREFIX = "mlops-"
_PLACES = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  a link of an unguessable name, which is never overwritten


@contextlib.contextmanager
def short_name(folder: Path) -> Iterator[Path]:
    """Yield a short name of `folder`: its own, or that of a link that is removed at the end.

    Where no link can be made, the name is the folder's own.
    """
    if len(os.fsencode(folder)) <= _SHORT_BYTES:
        yield folder
        return
    link = _link_to(folder)
    try:
        yield link or folder
    finally:
        if link is not None:
            link.unlink(missing_ok=True)


def remove_left_over_links() -> None:
    """Remove our links to folders that are gone, which killed processes have left behind."""
    for place in _places():
        for path in Path(place).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # another process has removed it
                if path.is_symlink() and not path.exists() and path.lstat().st_uid == os.getuid():
                    path.unlink()


def _link_to(folder: Path) -> Path | None:
    remove_left_over_links()
    for place in _places():
        link = Path(place) / f"{_PREFIX}{secrets.token_hex(5)}"
        with contextlib.suppress(OSError):
            link.symlink_to(folder)
            return link
    return None


def _places() -> tuple[str, ...]:
    own = tempfile.gettempdir()
    return tuple(dict.fromkeys((own, *_PLACES) if len(own) <= _SHORT_BYTES - len(_PREFIX) - 11 else _PLACES))
