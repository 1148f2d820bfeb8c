"""The predictions of the model that a candidate is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from mlops_core.gates.evidence.errors import EvidenceError
from mlops_core.gates.evidence.samples import digest_of_rows, identities_of, rows_by_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from mlops_core.predictions import Prediction, Predictions


@dataclass(frozen=True, kw_only=True)
class ChampionPredictions:
    """The predictions of the model that a candidate is compared with.

    Attributes:
        version: number of the model version.
        predictions: of its evaluation; None if they are gone.
        problem: why they are gone, as the rest of a sentence.
        test_content: digest of the content of its test samples; empty if it is not known.
    """

    version: int
    predictions: Predictions | None
    problem: str = ""
    test_content: str = ""
    _contributions: dict[Hashable, dict[str, float] | None] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def samples(self) -> Mapping[str, Sequence[Prediction]]:
        """Sample -> its rows; empty where the predictions are gone."""
        return rows_by_sample(self.predictions) if self.predictions else {}

    @cached_property
    def identities(self) -> frozenset[tuple[str, ...]]:
        """Each sample with its group and label."""
        return identities_of(self.samples)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the rows."""
        return digest_of_rows(self.predictions) if self.predictions else b""

    def remembered(self, key: Hashable, find: Callable[[], dict[str, float] | None]) -> dict[str, float] | None:
        """Return what `find` returned for this key, so that a champion is evaluated once for many runs."""
        if key not in self._contributions:
            self._contributions[key] = find()
        return self._contributions[key]

    def require_same_test_set(self, identities: frozenset[tuple[str, ...]], *, test_content: str) -> None:
        """Refuse a comparison with predictions of other test samples.

        Args:
            identities: each of the candidate's test samples with its group and label.
            test_content: digest of the content of these samples; empty if it is not known.

        Raises:
            EvidenceError: the champion's predictions are gone, or were made on another test set.
        """
        what = f"it cannot be compared with best, version {self.version}"
        if self.predictions is None:
            raise EvidenceError(f"{what}: {self.problem}")
        if self.identities != identities:
            raise EvidenceError(f"{what}: different test sets; evaluate that version on this test set, or move best")
        if self.test_content and test_content and self.test_content != test_content:
            raise EvidenceError(
                f"{what}: different test sets, of the same samples with other content; evaluate that version on this "
                "test set, or move best"
            )
