"""The errors that mlops raises on purpose, as one tree with exit codes.

::

    MlopsError                  base of all errors that a user can act on
    ├── UsageError          2   the command or the call is wrong
    ├── ConfigError         2   the configuration or a parameter is wrong
    ├── DefinitionError     2   a pipeline definition for another engine is not well formed
    ├── GateRejectedError   3   the gate rejected the model
    │   └── GateUndecidedError  the evidence is not enough to accept it
    ├── DeploymentError     3   a deployment was rolled back, or its test failed
    ├── NotVerifiedError    3   an evidence bundle does not hold what it claims
    ├── StepError           4   a step failed
    ├── RunnerError         4   a runner could not carry out a run
    ├── ObserverUnavailableError  4  an observer cannot reach its service now
    ├── StoreError          4   the workspace cannot be read or written
    ├── DatasetError        5   a data set is missing, incomplete, damaged or leaks
    ├── PipelineError       6   a pipeline, step, parameter, metric or gate is not well formed
    ├── PluginError         6   a use case cannot be found, imported or trusted
    └── ContractError       6   a use case breaks a rule of the plugin contract

Every message is one line: what is wrong, which one, where it came from, what was expected, what to do. The command
line prints it after ``mlops: error:`` and exits with `MlopsError.exit_code`, the number above. Anything else that
reaches the command line is a defect of mlops and exits with 1.

Example:
    >>> from mlops_core import MlopsError, run
    >>> try:
    ...     run("NO_SUCH_USE_CASE")
    ... except MlopsError as error:
    ...     print(error.exit_code.name)
    USAGE
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """Exit codes of every ``mlops`` command."""

    OK = 0
    DEFECT = 1
    USAGE = 2
    REJECTED = 3
    STEP = 4
    DATASET = 5
    PLUGIN = 6
    INTERRUPTED = 130


class MlopsError(Exception):
    """Base of all errors that a user can act on.

    Attributes:
        exit_code: exit code of a command that ends with this error.
        problems: one line per fault, where several are reported together.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.DEFECT

    def __init__(self, message: str = "", *, problems: Iterable[str] = ()) -> None:
        self.problems = tuple(problem.replace("\n", r"\n") for problem in problems)
        super().__init__("\n".join((message, *(f"  {problem}" for problem in self.problems))))


class UsageError(MlopsError):
    """The command or the call is wrong: an unknown name, an impossible combination."""

    exit_code = ExitCode.USAGE


class ConfigError(MlopsError):
    """The configuration or a parameter is wrong; all faults are reported together."""

    exit_code = ExitCode.USAGE


class PipelineError(MlopsError):
    """A pipeline, step, parameter, metric or gate is not well formed: a fault of the plugin."""

    exit_code = ExitCode.PLUGIN


class PluginError(MlopsError):
    """A use case cannot be found, imported or trusted."""

    exit_code = ExitCode.PLUGIN


class ContractError(MlopsError):
    """A use case breaks a rule of the plugin contract."""

    exit_code = ExitCode.PLUGIN


class DatasetError(MlopsError):
    """A data set is missing, incomplete, damaged or leaks between its splits."""

    exit_code = ExitCode.DATASET


class StepError(MlopsError):
    """A step failed: it raised, timed out, was killed, or broke its declaration."""

    exit_code = ExitCode.STEP


class RunnerError(MlopsError):
    """A runner could not carry out a run."""

    exit_code = ExitCode.STEP


class ObserverUnavailableError(MlopsError):
    """Raised by an observer: its service cannot be reached now; the event is kept and delivered later."""

    exit_code = ExitCode.STEP


class DefinitionError(MlopsError):
    """A pipeline definition for another engine, or a call to start one, is not well formed."""

    exit_code = ExitCode.USAGE


class StoreError(MlopsError):
    """The workspace cannot be read or written."""

    exit_code = ExitCode.STEP


class GateRejectedError(MlopsError):
    """The gate rejected the model: the run is complete, and nothing was registered."""

    exit_code = ExitCode.REJECTED


class GateUndecidedError(GateRejectedError):
    """The test set is too small to accept or reject the model: the run is complete, and nothing was registered."""


class DeploymentError(MlopsError):
    """A deployment was rolled back, or the endpoint does not answer as its model did when it was registered."""

    exit_code = ExitCode.REJECTED


class NotVerifiedError(MlopsError):
    """An evidence bundle is not signed as it should be, was changed, or contradicts itself."""

    exit_code = ExitCode.REJECTED


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion to append to a message about an unknown name.

    Args:
        name: the unknown name.
        known: all legal names.

    Returns:
        ``"; did you mean 'X'?"`` for the known name that is most similar to `name`, without regard to case; the empty
        string when none is similar.

    Example:
        >>> did_you_mean("epoch", ["epochs", "batch_size"])
        "; did you mean 'epochs'?"
    """
    import difflib

    by_fold = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.6)
    return f"; did you mean '{by_fold[close[0]]}'?" if close else ""
