"""Licences of data and of base models: their names, what is known about them, and the warnings that go with them.

A licence is an SPDX identifier or expression (https://spdx.org/licenses/). Two are equal if they are the same text
without regard to case; nothing is inferred from one. An empty text, a placeholder or prose is an unknown licence, which
never counts as permission (docs/decisions/0025-an-unknown-licence-is-no-permission.md).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNKNOWN = "unknown"
_PLACEHOLDERS = frozenset(
    {"", "unknown", "none", "noassertion", "n/a", "na", "other", "?", "-", "tbd", "todo", "licence", "license"}
)
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]*\+?\Z")
_NON_COMMERCIAL = re.compile(r"(?:^|[-.])(?:nc|non-?commercial)(?:[-.]|$)", re.IGNORECASE)
_OPERATORS = frozenset({"and", "or", "with"})
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedModel:
    """A base model: weights from elsewhere with which the training of a model begins.

    Attributes:
        name: as its publisher calls it, with its version.
        licence: SPDX identifier of the weights' licence; empty if it is unknown.
        source: where the weights come from: an address, or a path. A run on this machine looks for a whole path before
            anything runs, and compares the digest.
        sha256: digest of the file; empty if it is not known before the run.

    Example:
        >>> PretrainedModel(name="YAMNet-256", licence="Apache-2.0").licence
        'Apache-2.0'
    """

    name: str
    licence: str
    source: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse a base model without a name, and a digest that is none."""
        if not self.name.strip():
            raise PipelineError("a base model has no name")
        if self.sha256 and not _SHA256.match(self.sha256):
            raise PipelineError(f"base model '{self.name}': {self.sha256!r} is not a SHA-256 in lower-case hexadecimal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Licences:
    """The licences under which the data and the base models of a run may be used.

    Attributes:
        dataset_name: name of the data set.
        dataset: licence of the data, as declared; empty if it is unknown.
        base_models: the models with which training begins; empty if it begins with random weights, None if it was not
            recorded.

    Example:
        >>> Licences(dataset_name="esc50", dataset="CC-BY-NC-3.0").warnings()
        ("data set 'esc50': CC-BY-NC-3.0 forbids commercial use",)
    """

    dataset_name: str
    dataset: str
    base_models: tuple[PretrainedModel, ...] | None = ()

    def warnings(self) -> tuple[str, ...]:
        """Return a sentence for each licence that is unknown or forbids commercial use."""
        return tuple(f"{what}: {note}" for what, licence in self.named() if (note := licence_warning(licence)))

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield what each licence is for, and the licence."""
        yield f"data set '{self.dataset_name}'", self.dataset
        for model in self.base_models or ():
            yield f"base model '{model.name}'", model.licence

    def __str__(self) -> str:
        """Return all licences in one line."""
        return "; ".join(f"{what}: {shown_licence(licence)}" for what, licence in self.named())

    def to_json(self) -> dict[str, Any]:
        """Return the licences as JSON types only."""
        return asdict(self) | {"base_models": None if self.base_models is None else list(map(asdict, self.base_models))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Licences:
        """Return the licences that `to_json` wrote."""
        models = data["base_models"]
        return cls(
            dataset_name=data["dataset_name"],
            dataset=data["dataset"],
            base_models=None if models is None else tuple(PretrainedModel(**model) for model in models),
        )


def normalised_licence(text: str) -> str:
    """Return the form in which licences are compared: lower case, single spaces."""
    return " ".join(text.split()).casefold()


def is_known_licence(text: str) -> bool:
    """Return whether a text is shaped like an SPDX identifier or expression, and is not a placeholder.

    Example:
        >>> is_known_licence("MIT OR Apache-2.0"), is_known_licence("not stated by its publisher")
        (True, False)
    """
    if normalised_licence(text) in _PLACEHOLDERS:
        return False
    words = text.replace("(", " ").replace(")", " ").split()
    identifiers, operators = words[::2], words[1::2]
    return (
        len(words) % 2 == 1
        and all(word.casefold() in _OPERATORS for word in operators)
        and all(_IDENTIFIER.match(word) and word.casefold() not in _OPERATORS for word in identifiers)
    )


def licence_warning(text: str) -> str:
    """Return a warning about a licence for the users of a model; empty for none.

    Example:
        >>> licence_warning(""), licence_warning("MIT")
        ('its licence is unknown', '')
    """
    if normalised_licence(text) in _PLACEHOLDERS:
        return "its licence is unknown"
    if not is_known_licence(text):
        return f"its licence is unknown: {' '.join(text.split())!r} is not an SPDX identifier"
    if any(_NON_COMMERCIAL.search(word) for word in text.replace("(", " ").replace(")", " ").split()):
        return f"{' '.join(text.split())} forbids commercial use"
    return ""


def shown_licence(text: str) -> str:
    """Return a licence for display; what is unknown is said to be.

    Example:
        >>> shown_licence(""), shown_licence("ask the author")
        ('unknown', 'unknown (ask the author)')
    """
    if is_known_licence(text):
        return " ".join(text.split())
    words = " ".join(text.split())
    return UNKNOWN if words.casefold() in _PLACEHOLDERS else f"{UNKNOWN} ({words})"
