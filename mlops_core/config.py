"""The base classes of a configuration: what a plugin declares.

How a configuration is read, merged and validated is the subject of `mlops_core.config_files.loading`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic


class Section(pydantic.BaseModel):
    """Base of one configuration section: unknown keys are refused, values cannot be changed, numbers are finite.

    A limit that is NaN would never be exceeded. A field that may be infinite says so:
    ``Annotated[float, pydantic.Field(allow_inf_nan=True)]``.

    Example:
        >>> class Training(Section):
        ...     epochs: int = 10
        >>> Training(epochs=3)
        Training(epochs=3)
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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


class ObserverSection(Section):
    """Settings of the observer that has the name of the section, such as ``mlflow``; no step reads them.

    A value in it makes the observer active for the runs of the configuration, if it is installed.

    Example:
        >>> class Tracking(ObserverSection):
        ...     uri: str | None = None
        >>> Tracking().uri is None
        True
    """


class GateSection(Section):
    """The ``gate`` section of every use case; a plugin that needs more keys in it derives from this class.

    Attributes:
        condition: what a model must meet, in place of the plugin's gate, which it may mention as ``default``: for
            example ``default and clip_acc.lower >= 0.9``; None for the plugin's gate.
        dataset_licence: licence of the data in ``dataset.path``, as an SPDX identifier; None if it is unknown. The
            catalogue declares that of its own data sets.

    Example:
        >>> class AccuracyGate(GateSection):
        ...     accuracy: float = 0.75
        >>> AccuracyGate(condition="default and acc.lower >= 0.7").accuracy
        0.75
    """

    condition: str | None = None
    dataset_licence: str | None = None


_USUAL_TRIALS = 8
_FALSE = ("false", "0", "no", "n", "f", "off")
SEARCH_SPACE_FILE = "config_search_space.yml"
"""Where a search without ``auto_mode`` finds its space, unless another file is named."""


class DatasetSourceSection(Section):
    """``dataset.source``: where a data set of the user's own comes from, without an entry in the plugin's catalogue.

    Attributes:
        url: address of an archive or a file.
        sha256: its checksum; None if it is not known.
        command_file: instead of `url`, a script that bash runs in an empty folder; its result is ``./temp``.
        licence: of the data, as an SPDX identifier; None if it is unknown.

    Example:
        >>> DatasetSourceSection(url="https://example.org/data.zip").command_file is None
        True
    """

    url: str | None = None
    sha256: Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    command_file: str | None = None
    licence: str | None = None

    @pydantic.model_validator(mode="after")
    def _check_one(self) -> DatasetSourceSection:
        if (self.url is None) == (self.command_file is None):
            raise KeyFaultError("url", "or command_file: exactly one of the two says where the data set comes from")
        if self.sha256 and not self.url:
            raise KeyFaultError("sha256", "is the checksum of a url; a script checks what it downloads itself")
        return self


class TuningSection(Section):
    """The ``tuning`` section of a use case that can search for hyperparameters; a plugin may derive from this class.

    Attributes:
        trials: how many; the first has the configuration's own values, so 1 is no search. None or absent: 8 where
            another key asks for a search by another value than its default, else 1.
        concurrent: how many run at a time.
        timeout_minutes: after which no trial is started and running ones are ended.
        auto_mode: search the plugin's own space; otherwise that in `search_space`.
        search_space: file with the space, relative to the folder in which the command is called; None for
            ``config_search_space.yml`` where `auto_mode` is false, else for none.
        sampler: ``random``, ``sobol``, ``grid`` or ``bayesian``.
        seed: of the drawn values.
        objective: the metric by which trials are compared; None for the use case's first one.

    Example:
        >>> TuningSection(trials=8).sampler
        'random'
        >>> TuningSection().trials, TuningSection(sampler="sobol").trials
        (1, 8)
    """

    trials: int = pydantic.Field(default=1, ge=1, le=1000)
    concurrent: int = pydantic.Field(default=4, ge=1, le=1000)
    timeout_minutes: float = pydantic.Field(default=180.0, gt=0)
    auto_mode: bool = True
    search_space: str | None = None
    sampler: Literal["random", "sobol", "grid", "bayesian"] = "random"
    seed: int = pydantic.Field(default=0, ge=0)
    objective: str | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _complete(cls, data: object) -> object:
        """Return the section with the number of trials and the file that follow from its other keys."""
        if not isinstance(data, dict):
            return data
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        is_search = any(name in defaults and value not in (defaults[name], None) for name, value in data.items())
        own = str(data.get("auto_mode", True)).lower() in _FALSE
        found = {"trials": _USUAL_TRIALS if is_search else 1, "search_space": SEARCH_SPACE_FILE if own else None}
        return data | {name: value for name, value in found.items() if data.get(name) is None}

    @pydantic.model_validator(mode="after")
    def _check_file(self) -> TuningSection:
        if self.auto_mode and self.search_space:
            raise KeyFaultError("search_space", "is ignored while auto_mode is true; set auto_mode: false")
        return self


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

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    gate: GateSection = GateSection()


def normalise_path(text: str) -> str:
    r"""Return a path with forward slashes, so that ``..\datasets`` means the same everywhere.

    Example:
        >>> normalise_path("..\\datasets\\esc10")
        '../datasets/esc10'
    """
    return text.replace("\\", "/")
