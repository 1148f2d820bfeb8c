"""The errors that `mlops` raises on purpose, as one tree with exit codes.

Every message is one line: what is wrong, which one, where it came from, what was expected, what to do.
The command line prints it after ``mlops: error:`` and exits with `MlopsError.exit_code`. Anything that is
not an `MlopsError` is a defect of ours and exits with 1.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """Exit codes of every `mlops` command."""

    OK = 0
    DEFECT = 1
    USAGE = 2
    REJECTED = 3
    STEP = 4
    DATASET = 5
    PLUGIN = 6
    INTERRUPTED = 130


class MlopsError(Exception):
    """Base of all errors that a user can act on."""

    exit_code: ClassVar[ExitCode] = ExitCode.DEFECT


class UsageError(MlopsError):
    """The command or the call is wrong: an unknown name, an impossible combination."""

    exit_code = ExitCode.USAGE


class ConfigError(MlopsError):
    """The configuration or a parameter is wrong.

    `problems` holds one line for each fault, all found at once.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, *, problems: Iterable[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join((message, *(f"  {problem}" for problem in self.problems))))


class PipelineError(MlopsError):
    """A pipeline, step, parameter, metric or condition is not well formed: the plugin's fault."""

    exit_code = ExitCode.PLUGIN


class PluginError(MlopsError):
    """A use case cannot be found, imported or trusted."""

    exit_code = ExitCode.PLUGIN


class ContractError(MlopsError):
    """A use case breaks a rule that every plugin promises to keep."""

    exit_code = ExitCode.PLUGIN


class DatasetError(MlopsError):
    """A data set is missing, incomplete, damaged or leaks between its parts."""

    exit_code = ExitCode.DATASET


class StepError(MlopsError):
    """A step failed: it raised, timed out, was killed, or broke its declaration."""

    exit_code = ExitCode.STEP


class RunnerError(MlopsError):
    """A runner could not carry out a run."""

    exit_code = ExitCode.STEP


class DefinitionError(MlopsError):
    """A pipeline definition for a cloud engine, or a call to start one, is not well formed."""

    exit_code = ExitCode.USAGE


class StoreError(MlopsError):
    """The workspace cannot be read or written."""

    exit_code = ExitCode.STEP


class GateRejectedError(MlopsError):
    """The gate rejected the model: the run is complete, and nothing was registered."""

    exit_code = ExitCode.REJECTED


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'X'?"`` for the known name nearest to `name`, else the empty string."""
    import difflib

    by_fold = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.6)
    return f"; did you mean '{by_fold[close[0]]}'?" if close else ""
