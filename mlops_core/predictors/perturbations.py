"""Changes of sample files that a predictor names, with which a simulation shows how soon drift is found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from mlops_core.predictors.content_types import SUFFIX
from mlops_core.predictors.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """A change of sample files, such as noise, with which ``mlops drift simulate`` shows how soon drift is found.

    Attributes:
        name: such as ``"gain"``; unique within the predictor.
        strengths: one row of the result each; distinct finite numbers, at least one.
        write: called as ``write(source, target, strength)``: reads the sample file ``source`` and writes the changed
            copy to ``target``, which the predictor reads as it does ``source``. Equal arguments give equal copies; a
            file with many samples keeps their number and order. It may raise `DatasetError`.
        unit: of the strengths, such as ``"dB"``; empty for none.
        suffix: of ``target``, with its dot; empty for that of ``source``.

    Example:
        >>> copy = lambda source, target, strength: target.write_bytes(source.read_bytes())
        >>> list(Perturbation(name="gain", strengths=(-6, 3.5), unit="dB", write=copy).labels())
        ['gain -6 dB', 'gain 3.5 dB']
    """

    name: str
    strengths: tuple[float, ...]
    write: Callable[[Path, Path, float], object]
    unit: str = ""
    suffix: str = ""

    def __post_init__(self) -> None:
        """Check name, strengths and suffix.

        Raises:
            ValueError: one of them is not legal.
        """
        if not self.name.strip():
            raise ValueError("a perturbation has no name; expected one such as 'gain'")
        if not self.strengths or len(set(self.strengths)) < len(self.strengths):
            raise ValueError(f"perturbation '{self.name}': strengths {self.strengths}; expected distinct numbers")
        if not all(map(math.isfinite, self.strengths)):
            raise ValueError(f"perturbation '{self.name}': strengths {self.strengths}; expected finite numbers")
        if self.suffix and not SUFFIX.fullmatch(self.suffix):
            raise ValueError(f"'{self.suffix}' is not a suffix of a file; expected one such as '.wav'")

    def labels(self) -> Iterator[str]:
        """Yield the name of each row: name, strength and unit."""
        return (" ".join(filter(None, (self.name, f"{strength:g}", self.unit))) for strength in self.strengths)


@runtime_checkable
class PerturbingPredictor(Predictor, Protocol):
    """A predictor that names changes of sample files, with which ``mlops drift simulate`` works.

    Without it, the simulation changes the vectors that describe the samples.

    Example:
        >>> class Names:
        ...     classes = ("no", "yes")
        ...     perturbations = ()
        ...
        ...     def predict(self, paths):
        ...         return (SampleScores(path=str(path), scores=(0.2, 0.8)) for path in paths)
        >>> isinstance(Names(), PerturbingPredictor)
        True
    """

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """Changes that are likely in operation; empty for none."""
