"""Splits: the samples of each part, and the check that no group appears in more than one part."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSample:
    """A sample as a split sees it; `group` is what must not be on two sides."""

    sample: str
    group: str
    label: str


def check_no_leak(split: Mapping[str, Iterable[SplitSample]]) -> None:
    """Refuse a split in which one group stands on two sides.

    Args:
        split: part (``train``, ``validation``, ``test``) -> its samples.

    Raises:
        DatasetError: a group or a sample is in two parts; the first few are named.
    """
    parts_of: defaultdict[str, set[str]] = defaultdict(set)
    for part, samples in split.items():
        for sample in samples:
            parts_of[sample.group].add(part)
    leaks = sorted((group, sorted(parts)) for group, parts in parts_of.items() if len(parts) > 1)
    if leaks:
        shown = ", ".join(f"'{group}' ({' and '.join(parts)})" for group, parts in leaks[:_SHOWN])
        more = f" and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
        raise DatasetError(f"split leaks: {len(leaks)} group(s) stand on two sides: {shown}{more}; split by group")
