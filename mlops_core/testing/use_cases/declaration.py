"""The declaration of a use case under check: configuration, capabilities, expected failures.

`UseCaseContract` and `mlops plugin check` both end in a `ContractDeclaration`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from mlops_core.testing.checks import NotApplicableError, refuse_unknown_failures
from mlops_core.testing.use_cases.registry import all_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from mlops_core.datasets.splits import SplitSample


def find_sample_file(sample: str, *, dataset: Path, folder: Path) -> Path:  # noqa: ARG001  an override receives it
    """Return the file of the data set that a prediction's sample names: by relative path, name or stem.

    Args:
        sample: its name in the predictions.
        dataset: folder of the data set.
        folder: an empty folder, for overrides that have to write the file of a sample first.

    Raises:
        NotApplicableError: no file or several files have that name.
    """
    exact = dataset / sample
    if exact.is_file():
        return exact
    found = [path for path in dataset.rglob("*") if path.is_file() and sample in (path.name, path.stem)]
    if len(found) != 1:
        raise NotApplicableError(
            f"{len(found)} files of the data set are named '{sample}'; override sample_file() in a UseCaseContract"
        )
    return found[0]


def exchange_sample_files(dataset: Path, *, contents: Mapping[str, str]) -> None:
    """Let the samples of a data set exchange their contents: the file of each gets the bytes of another one's.

    Args:
        dataset: a copy of the data set, which is changed.
        contents: sample -> the sample whose content it gets; each is the source of exactly one.

    Raises:
        NotApplicableError: a sample is not a file; override exchange_samples() in a UseCaseContract.
    """
    try:
        files = {name: find_sample_file(name, dataset=dataset, folder=dataset) for name in contents}
    except NotApplicableError as reason:
        raise NotApplicableError(f"{reason}; or override exchange_samples()") from None
    data = {name: path.read_bytes() for name, path in files.items()}
    for name, path in files.items():
        path.write_bytes(data[contents[name]])


def read_no_groups(dataset: Path) -> Mapping[str, str] | None:  # noqa: ARG001  an override receives it
    """Return None: nothing is declared about the groups of the data set."""
    return None


def read_split_file(output: Path) -> Mapping[str, list[SplitSample]]:
    """Return part -> samples of ``split.csv`` in the folder `output`.

    Unlike `mlops_core.read_split`, it accepts unknown parts and repeated samples, which the checks of the split report.

    Raises:
        NotApplicableError: the file is missing, or lacks one of the columns sample, group, label, part.
    """
    from mlops_core.datasets.splits import SPLIT_FILE, SplitSample

    path = output / SPLIT_FILE
    if not path.is_file():
        raise NotApplicableError(f"no {SPLIT_FILE} in {output.name}; override read_split() in a UseCaseContract")
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        reader = csv.DictReader(stream)
        names = reader.fieldnames or ()
        if not {"sample", "group", "label", "part"} <= set(names):
            raise NotApplicableError(
                f"{SPLIT_FILE} has the columns {', '.join(names)}; expected sample, group, label, part"
            )
        parts: dict[str, list[SplitSample]] = {}
        for row in reader:
            member = SplitSample(sample=row["sample"], group=row["group"], label=row["label"])
            parts.setdefault(row["part"], []).append(member)
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractDeclaration:
    """The use case that is checked, its smallest configuration, and what it claims.

    Attributes:
        use_case: its name.
        config: a configuration with which a run takes less than a minute and no network; None for the defaults.
        overrides: texts such as ``"training.steps=20"``.
        parameters: name -> text; used for the runs and for judging the canaries.
        seed: of the runs.
        untrained: overrides that leave the model untrained, for example ``("training.steps=1",)``; without them the
            canary is a model that answers by chance.
        split: the output that holds the split, ``"step.output"``; empty for the one named ``split``, if any.
        sharded_steps: steps that claim to be shardable; empty for those whose declaration has several shards.
        shards: the numbers of shards that are compared.
        runners: names of the runners on which it claims to run; empty for all installed ones.
        predictor_tolerance: by how much a score of the predictor may differ from the evaluation's.
        predictor_samples: number of samples for which the predictor is asked.
        timeout_s: seconds that one step, or one run, may take.
        is_deterministic: the same seed gives the same bytes.
        is_generated: the configured data set can be made without network.
        has_split: a step writes a split.
        has_groups: the data set has groups; where it has none, each sample may be a group of its own.
        has_predictor: the predictor accepts a file for each sample.
        has_bad_files: the predictor can be tried with a damaged file.
        is_resumable: a run may be killed and resumed.
        expected_failures: check -> reason; it must fail.
        sample_file: returns the file of a sample (`find_sample_file`).
        read_split: returns the samples of each part (`read_split_file`).
        exchange_samples: lets samples exchange their contents in a copy of the data set (`exchange_sample_files`).
        read_groups: returns sample -> group as the data set gives it, or None where core can see it for itself: a
            column of a table, part of the samples' names, or equal files.
    """

    use_case: str
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    untrained: tuple[str, ...] = ()
    split: str = ""
    sharded_steps: tuple[str, ...] = ()
    shards: tuple[int, ...] = (1, 2, 3)
    runners: tuple[str, ...] = ()
    predictor_tolerance: float = 1e-4
    predictor_samples: int = 20
    timeout_s: float = 300.0
    is_deterministic: bool = True
    is_generated: bool = True
    has_split: bool = True
    has_groups: bool = True
    has_predictor: bool = True
    has_bad_files: bool = True
    is_resumable: bool = True
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    sample_file: Callable[..., Path] = find_sample_file
    read_split: Callable[[Path], Mapping[str, Iterable[SplitSample]]] = read_split_file
    exchange_samples: Callable[..., None] = exchange_sample_files
    read_groups: Callable[[Path], Mapping[str, str] | None] = read_no_groups

    def __post_init__(self) -> None:
        """Refuse expected failures of unknown checks and without a reason.

        Raises:
            UsageError: the culprit is named.
        """
        refuse_unknown_failures(self.expected_failures, all_checks())

    def has(self, capability: str) -> bool:
        """Tell whether a capability flag is set."""
        return bool(getattr(self, capability))


def capability_flags() -> tuple[str, ...]:
    """Return the names of the flags that an author may set to False."""
    return tuple(item.name for item in fields(ContractDeclaration) if item.type == "bool")


def declared_by(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that a declaration has."""
    return {item.name: attributes[item.name] for item in fields(ContractDeclaration) if item.name in attributes}
