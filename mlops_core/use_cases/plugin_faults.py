"""What goes wrong in the code of a plugin, as one line that names the plugin and the place."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError, MlopsError, PluginError
from mlops_core.settings import unknown_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def plugin_faults(what: str) -> Iterator[None]:
    """Turn anything that a plugin raises into a `PluginError`, and drop what it prints.

    Standard output belongs to the command's result (``--json``); a plugin that prints must not damage it.
    """
    try:
        with contextlib.redirect_stdout(_Discarded()):
            yield
    except MlopsError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{what}: {cause_of(error)}") from error


@contextlib.contextmanager
def unknown_homes(arguments: Mapping[str, object]) -> Iterator[None]:
    """Turn a path below the home folder of an unknown user, given to a hook, into a `DatasetError` that names it."""
    try:
        yield
    except RuntimeError as error:
        values = {name: getattr(value, "model_dump", lambda value=value: value)() for name, value in arguments.items()}
        message = unknown_home(error, *values.values())
        if not message:
            raise
        raise DatasetError(message) from error


class _Discarded(io.TextIOBase):
    def write(self, text: str, /) -> int:
        return len(text)


def cause_of(error: BaseException) -> str:
    """Return what happened, where in the plugin, and what to do where that is known."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((str(Path(__file__).parent), "<frozen"))]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    if isinstance(error, ModuleNotFoundError):
        return f"{error}{where}; install it, or reinstall the plugin with its dependencies"
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}){where}"
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}:{error.lineno})"
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}{where}"


def shortened(value: object, limit: int = 80) -> str:
    """Return a value and its type for a message, at most `limit` characters of the value."""
    text = repr(value)
    return f"{text if len(text) <= limit else text[:limit] + '...'} ({type(value).__name__})"
