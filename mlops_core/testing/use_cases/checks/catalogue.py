"""Checks of the catalogue: each data set declares its title, its licence, and how its completeness is checked."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from mlops_core.testing.checks import NotApplicableError, check
from mlops_core.testing.use_cases.checks.hooks import BUILT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.datasets.catalogue import Dataset, Source
    from mlops_core.testing.use_cases.session import ContractSession

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_NO_LICENCE = {"", "unknown", "none", "n/a", "na", "?", "tbd", "todo", "licence", "license"}
_SHA256, _MD5 = re.compile(r"[0-9a-f]{64}\Z"), re.compile(r"[0-9a-f]{32}\Z")


def _catalogue(session: ContractSession) -> tuple[Dataset, ...]:
    datasets = session.use_case.datasets(session.config.model)
    if not datasets:
        raise NotApplicableError("the catalogue is empty: only dataset.path is supported")
    return datasets


def _downloads(session: ContractSession) -> Iterator[tuple[Dataset, Source]]:
    from mlops_core.datasets.catalogue import Source

    for dataset in _catalogue(session):
        for source in dataset.sources:
            if isinstance(source, Source):
                yield dataset, source


@check(after=BUILT)
def catalogue_names_are_unique(session: ContractSession) -> Iterator[str]:
    """The names of data sets are portable and differ by more than case.

    Fix: rename; a data set's name is a folder's name on every machine.
    """
    names = [dataset.name for dataset in _catalogue(session)]
    yield from (f"'{name}' is not a portable name" for name in names if not _NAME.match(name))
    yield from (
        f"'{name}' appears {count} times" for name, count in Counter(map(str.casefold, names)).items() if count > 1
    )


@check(after=BUILT)
def configured_dataset_is_in_catalogue(session: ContractSession) -> Iterator[str]:
    """The data set of the default configuration is in the catalogue.

    Fix: correct dataset.name in user_config.yaml, or add the entry.
    """
    config = session.use_case.load_config().model
    name, path = session.use_case.dataset_source(config)
    names = [dataset.name for dataset in _catalogue(session)]
    if path is None and name not in names:
        yield f"'{name}' is not among {', '.join(names)}"


@check(after=BUILT)
def datasets_have_title_and_licence(session: ContractSession) -> Iterator[str]:
    """Each data set has a title and the licence of its data.

    Fix: look up the licence where the data set is published and set its SPDX name, for example CC-BY-4.0.
    """
    for dataset in _catalogue(session):
        if not dataset.title.strip():
            yield f"'{dataset.name}' has no title"
        if dataset.licence.strip().lower() in _NO_LICENCE:
            yield f"'{dataset.name}' has the licence {dataset.licence!r}"


@check(after=BUILT)
def downloads_declare_their_size(session: ContractSession) -> Iterator[str]:
    """Each data set that is downloaded declares the size of the download.

    Fix: set size_bytes, and size of each source; users see it before the download begins.
    """
    for dataset in _catalogue(session):
        if not dataset.is_generated and dataset.sources and dataset.size_bytes <= 0:
            yield f"'{dataset.name}' has size_bytes={dataset.size_bytes}"
    for dataset, source in _downloads(session):
        if source.size is not None and source.size <= 0:
            yield f"'{dataset.name}': {source.url} has size={source.size}"


@check(after=BUILT)
def downloads_declare_a_checksum(session: ContractSession) -> Iterator[str]:
    """Each file that is downloaded has a checksum.

    Fix: set sha256 of each source (or md5, where the publisher gives only this one); sha256sum computes it.
    """
    for dataset, source in _downloads(session):
        if not source.sha256 and not source.md5:
            yield f"'{dataset.name}': {source.url} has none"
        if source.sha256 and not _SHA256.match(source.sha256):
            yield f"'{dataset.name}': {source.sha256!r} is not a SHA-256 in lower-case hexadecimal"
        if source.md5 and not _MD5.match(source.md5):
            yield f"'{dataset.name}': {source.md5!r} is not an MD5 in lower-case hexadecimal"


@check(after=BUILT)
def downloads_come_over_https(session: ContractSession) -> Iterator[str]:
    """Each download uses https, and its data set names the page where it is published.

    Fix: use the https address of the publisher and set homepage.
    """
    for dataset, source in _downloads(session):
        if not source.url.startswith("https://"):
            yield f"'{dataset.name}': {source.url} is not https"
        if not dataset.homepage.startswith("https://"):
            yield f"'{dataset.name}' has the homepage {dataset.homepage!r}"


@check(after=BUILT)
def datasets_declare_required_files(session: ContractSession) -> Iterator[str]:
    """Each data set declares the files that it must have to be complete.

    Fix: set required to one path or pattern for each kind of file, for example ("meta.csv", "images/*.png").
    """
    yield from (f"'{dataset.name}' requires nothing" for dataset in _catalogue(session) if not dataset.required)


@check(after=BUILT)
def generators_can_be_imported(session: ContractSession) -> Iterator[str]:
    """The code of each generated data set can be imported.

    Fix: correct GeneratedSource(run="package.module:function").
    """
    from mlops_core.datasets.catalogue import GeneratedSource

    references = {
        source.run: -1
        for dataset in _catalogue(session)
        for source in dataset.sources
        if isinstance(source, GeneratedSource)
    }
    answer = session.call("plugin:inspect_code", {"references": references})
    if answer.error:
        yield answer.error
    yield from (f"{reference}: {fault}" for reference, fault in (answer.result or {}).items())
