"""The environment of a run: what could explain that the same run has other results elsewhere.

Owns which facts are recorded and how they are read. All of it is cheap: no process is started and no package imported.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.installed.distributions import version_of
from mlops_core.settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROCESSOR = "processor"
INSTRUCTION_SETS = "instruction sets"
CORES = "cores"
LIBRARY_SETTINGS = "library settings"
MACHINE_FACTS = ("python", "platform", "C library", PROCESSOR, INSTRUCTION_SETS, CORES, LIBRARY_SETTINGS)
"""The facts of an environment that are not versions of packages."""

_CPU_INFO = Path("/proc/cpuinfo")
_LIMIT_BYTES = 1 << 16
_V2 = frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})
_V3 = _V2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_LEVELS = (("x86-64-v4", _V4), ("x86-64-v3", _V3), ("x86-64-v2", _V2))
"""Levels of the x86-64 psABI, by the names of the flags in Linux."""
_EXTENSIONS = re.compile(r"(?:avx512_(?:vnni|bf16|fp16)|avx_vnni|amx_\w+|asimd\w*|sve\w*|bf16|i8mm)\Z")
"""Instructions for matrix products, which numerical libraries choose where the processor has them."""
_SETTINGS = re.compile(
    r"\w*(?:_NUM_\w*THREADS|_MAX_THREADS|_MAXIMUM_THREADS|_CORETYPE|_CPU_FEATURES|_MAX_CPU_ISA|_ENABLE_\w+_OPTS"
    r"|_CPU_BASELINE|DETERMINISTIC\w*)\Z|GLIBC_TUNABLES\Z"
)
"""Variables by which numerical libraries choose threads and instructions."""


def describe_environment(packages: Iterable[str]) -> dict[str, str]:
    """Return Python, platform, processor, settings of libraries, and the version of each package."""
    machine = {
        "python": platform.python_version(),
        "platform": _platform(),
        "C library": _c_library(),
        **_processor(),
        CORES: str(usable_cores()),
        LIBRARY_SETTINGS: library_settings(environment()) or "none",
    }
    versions = {package: version_of(package) or "not installed" for package in packages}
    return {**{name: value for name, value in machine.items() if value}, **versions}


def package_versions(recorded: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of packages in a recorded environment."""
    return {name: value for name, value in recorded.items() if name not in MACHINE_FACTS}


def library_settings(variables: Mapping[str, str]) -> str:
    """Return the variables that choose threads and instructions of numerical libraries, as ``NAME=VALUE``, sorted."""
    return " ".join(f"{name}={variables[name]}" for name in sorted(variables) if _SETTINGS.match(name))


def _platform() -> str:
    """Return system, release and machine; `platform.platform` starts a process for the name of the processor."""
    name = platform.uname()
    return f"{name.system}-{name.release}-{name.machine}"


def _c_library() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):  # not glibc
        return ""


def usable_cores() -> int:
    """Return the number of cores on which this process may run.

    >>> usable_cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> dict[str, str]:
    """Return name and instruction sets of the first processor, as Linux describes them; empty elsewhere."""
    try:
        with _CPU_INFO.open(encoding="utf-8", errors="replace") as stream:
            return processor_facts(stream.read(_LIMIT_BYTES))
    except OSError:
        return {}


def processor_facts(text: str) -> dict[str, str]:
    """Return name and instruction sets of the first processor in the text of ``/proc/cpuinfo``."""
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    values = {name.strip(): value.strip() for name, _, value in lines}
    flags = set((values.get("flags") or values.get("Features") or "").split())
    numbers = [f"{name} {values[name]}" for name in ("cpu family", "model", "stepping") if name in values]
    name = values.get("model name") or values.get("CPU part", "")
    level = next((level for level, needed in _LEVELS if needed <= flags), "")
    extensions = sorted(flag for flag in flags if _EXTENSIONS.match(flag))
    sets = " ".join(filter(None, (level, *extensions)))
    shown = f"{name} ({', '.join(numbers)})" if name and numbers else name
    return {key: value for key, value in ((PROCESSOR, shown), (INSTRUCTION_SETS, sets)) if value}
