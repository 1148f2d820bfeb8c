"""The base classes of a configuration: what a plugin declares.

How a configuration is read, merged and validated is the subject of `mlops_core.config_files.loading`.
"""

from __future__ import annotations

import pydantic


class Section(pydantic.BaseModel):
    """Base of one configuration section: unknown keys are refused, values cannot be changed.

    Example:
        >>> class Training(Section):
        ...     epochs: int = 10
        >>> Training(epochs=3)
        Training(epochs=3)
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class KeyFaultError(ValueError):
    """Raised by a validator of several keys; names the wrong key, so that the message can give its line.

    Attributes:
        key: dotted, below the section (or the document) whose validator raises.

    Example:
        >>> raise KeyFaultError("epochs", "must be positive when training.mode is 'full'")
        Traceback (most recent call last):
        ...
        mlops_core.config.KeyFaultError: must be positive when training.mode is 'full'
    """

    def __init__(self, key: str, message: str) -> None:
        """Report `key` with `message`, which states the legal values."""
        super().__init__(message)
        self.key = key


class UseCaseConfig(pydantic.BaseModel):
    """Base of a use case's whole configuration; each field is a section.

    Example:
        >>> class Training(Section):
        ...     epochs: int = 10
        >>> class Config(UseCaseConfig):
        ...     training: Training = Training()
        >>> Config.model_validate({"training": {"epochs": 3}}).training.epochs
        3
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def normalise_path(text: str) -> str:
    r"""Return a path with forward slashes, so that ``..\datasets`` means the same everywhere.

    Example:
        >>> normalise_path("..\\datasets\\esc10")
        '../datasets/esc10'
    """
    return text.replace("\\", "/")
