"""Code named by data: importing ``"package.module:function"``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mlops_core.errors import PluginError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable


def load_function(reference: str, *, what: str) -> Callable[..., object]:
    """Import ``"package.module:function"``.

    Args:
        reference: as a step or a data set declares it.
        what: who declares it, for the message.

    Raises:
        PluginError: module or function does not exist, or it is not callable.

    Example:
        >>> load_function("mlops_core.evaluation.proportions:proportion", what="the example")(1, 2).value
        0.5
    """
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise PluginError(f"{what}: '{reference}' cannot be imported: {error}; install what is missing") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise PluginError(f"{what}: module {module_name} has no function '{name}'{did_you_mean(name, vars(module))}")
    checked: Callable[..., object] = function
    return checked
