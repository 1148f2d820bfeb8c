"""Confinement of an execution by the operating system: writable folders, signals, and no process left behind.

On Linux a process may write only below given folders (Landlock, kernel 5.13 and newer), may signal and connect by
abstract sockets to its own descendants only (kernel 6.12 and newer), and whatever it starts stays a descendant of its
supervisor, also after a double fork (child subreaper). Elsewhere these calls do nothing and say so; the runner of this
machine then checks a step's inputs after it has run. `SECURITY.md` lists what remains possible.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_CHILD_SUBREAPER = 36
# System call numbers and flags: Linux, include/uapi/linux/landlock.h; the numbers are equal on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_WRITE_FILE = 1 << 1
_CHANGES_V1 = sum(1 << bit for bit in range(4, 13))  # remove, make: directories, files, sockets, links, devices
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_REFER_VERSION, _TRUNCATE_VERSION, _SCOPE_VERSION = 2, 3, 6
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1 << 0, 1 << 1
# Linux, include/uapi/linux/capability.h: version 3 has two records of three words, each for 32 capabilities.
_CAPABILITY_VERSION = 0x20080522
_OBSERVING = (19, 21, 38)
"""CAP_SYS_PTRACE, CAP_SYS_ADMIN and CAP_PERFMON: each lets root read the memory of a process that hides it."""
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_KILL_PATIENCE_S = 10.0


def confine_writes(folders: Iterable[Path]) -> bool:
    """Restrict this process and its descendants to writing below `folders`, and to themselves. Cannot be undone.

    Where the kernel can (Landlock's version 6), they can also signal, and connect by abstract sockets to, each other
    only. They lose the privilege of looking into other processes, which root has.

    Args:
        folders: the writable folders; those that do not exist are ignored.

    Returns:
        False if the system does not support it; nothing is confined then.

    Raises:
        OSError: the system refused, for example because a folder cannot be opened.
    """
    version = landlock_version()
    if version < 1:
        return False
    rights = _WRITE_FILE | _CHANGES_V1
    rights |= _REFER if version >= _REFER_VERSION else 0
    rights |= _TRUNCATE if version >= _TRUNCATE_VERSION else 0
    attributes = struct.pack("=Q", rights)
    if version >= _SCOPE_VERSION:  # after the rights for the network, none of which is restricted
        attributes = struct.pack("=QQQ", rights, 0, _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS)
    ruleset = _syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        for folder in folders:
            _allow(ruleset, folder, rights)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _drop_capabilities(_OBSERVING)
        _syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def landlock_version() -> int:
    """Return the version of Landlock's interface, 0 without Landlock."""
    if not sys.platform.startswith("linux"):
        return 0
    with contextlib.suppress(OSError):
        return _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    return 0


def hide_memory() -> None:
    """Keep other processes of the same user from reading this one's memory and environment (Linux).

    A debugger or profiler of the same user cannot attach any more, and no core is dumped. Programs that this process
    starts are not affected.
    """
    if sys.platform.startswith("linux"):
        _prctl(_PR_SET_DUMPABLE, 0)


def _drop_capabilities(numbers: Iterable[int]) -> None:
    """Give up capabilities; descendants do not get them back, since they cannot gain privileges either."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    sets = ctypes.create_string_buffer(24)
    if libc.capget(header, sets) != 0:
        return  # a system that has none to drop
    dropped = sum(1 << number for number in numbers)
    masks = (~dropped & 0xFFFFFFFF,) * 3 + (~dropped >> 32 & 0xFFFFFFFF,) * 3
    words = struct.unpack("=6I", sets.raw)
    kept = tuple(word & mask for word, mask in zip(words, masks, strict=True))
    if kept != words and libc.capset(header, struct.pack("=6I", *kept)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"capset: {os.strerror(code)}")


def _allow(ruleset: int, folder: Path, rights: int) -> None:
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        allowed = rights if folder.is_dir() else rights & (_WRITE_FILE | _TRUNCATE)
        _syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", allowed, descriptor), 0)
    finally:
        os.close(descriptor)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (Linux; no effect elsewhere)."""
    if sys.platform.startswith("linux"):
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """Be killed when the parent process ends (Linux; no effect elsewhere)."""
    if sys.platform.startswith("linux"):
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def kill_children() -> int:
    """Kill all descendants of this process, including those that are just being started, and return their number.

    Needs `adopt_orphans` to reach those whose parent has ended.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + _KILL_PATIENCE_S
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        for child in child_pids(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
                killed.add(child)
        time.sleep(0.002)
    return len(killed)


def kill_group(group: int) -> int:
    """Kill the rest of a process group; return 1 if there was any, else 0."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return 0
    return 1


def child_pids(pid: int) -> Iterator[int]:
    """Yield the direct children of a process (Linux; elsewhere none)."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (thread / "children").read_text(encoding="utf-8").split())


def descendant_pids(pid: int) -> Iterator[int]:
    """Yield all descendants of a process (Linux; elsewhere none)."""
    waiting = [*child_pids(pid)]
    while waiting:
        current = waiting.pop()
        yield current
        waiting += child_pids(current)


def tree_memory_bytes(pid: int) -> int:
    """Return the resident memory of a process and all its descendants (Linux; elsewhere 0).

    Pages that several of them share are counted once for each.
    """
    total = 0
    for current in (pid, *descendant_pids(pid)):
        with contextlib.suppress(OSError, IndexError):
            total += int(Path(f"/proc/{current}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE_SIZE
    return total


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def _syscall(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"system call {number}: {os.strerror(code)}")
    return result
