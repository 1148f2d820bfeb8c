"""A program of the user's in a process that can write to given folders only, as a step can.

Started as ``python -m mlops_core.processes.confined_command FOLDER... -- PROGRAM ARGUMENT...``; the process confines
itself and becomes the program.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlops_core.processes.confinement import confine_writes, end_with_parent


def main(arguments: list[str]) -> None:
    """Confine this process and become the program."""
    end = arguments.index("--")
    folders, command = arguments[:end], arguments[end + 1 :]
    end_with_parent()
    confine_writes([*map(Path, folders), Path("/dev")])
    os.execvp(command[0], command)  # noqa: S606  no shell between


if __name__ == "__main__":
    main(sys.argv[1:])
