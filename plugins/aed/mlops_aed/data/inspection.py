"""Inspection of a data set of clips: durations, levels, classes, and faults.

Clips are measured on all cores, each once; only a few numbers and the fingerprint of each are kept.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mlops_aed.audio.channels import to_mono
from mlops_aed.audio.fingerprints import find_matches, fingerprint
from mlops_aed.audio.opening import open_audio
from mlops_aed.audio.wav_headers import is_shorter_than_header
from mlops_aed.audio.waveform import decode, resample
from mlops_aed.data.clip_files import list_files, unused_findings
from mlops_aed.data.clips import clip_path, of_clip
from mlops_aed.data.extraction import available_cores
from mlops_aed.data.labels import read_labels
from mlops_aed.data.splitting import assign_parts
from mlops_core import DatasetError, DatasetFinding, Distribution, FactTable, Inspection, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlops_aed.config import AedConfig
    from mlops_aed.data.clips import Clip

_RATE_HZ = 16_000
_FULL_SCALE = 0.999
_CLIPPED_SHARE = 1e-3
_SILENT_PEAK = 1e-4
_SILENT_SHARE = 0.9
_QUIET_DB = 60.0
_FRAME_S = 0.1
_CHUNK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFacts:
    """Measurements of one clip.

    Attributes:
        duration_s: its length, by the header of its file.
        is_cut_off: whether the file is shorter than its header says.
        rate_hz: as stored.
        channels: as stored.
        encoding: for example ``WAV PCM_16``.
        peak_db: level of the largest sample, relative to full scale.
        level_db: mean power, relative to full scale.
        clipped: share of the samples at full scale.
        silent: share of the time more than 60 dB below the loudest.
        digest: SHA-256 of the file.
        words: the fingerprint.
        error: reason why it cannot be used; the other values are then 0 or empty.
    """

    duration_s: float = 0.0
    is_cut_off: bool = False
    rate_hz: int = 0
    channels: int = 0
    encoding: str = ""
    peak_db: float = -200.0
    level_db: float = -200.0
    clipped: float = 0.0
    silent: float = 0.0
    digest: str = ""
    words: NDArray[np.uint32]
    error: str = ""


def inspect_dataset(dataset: Path, config: AedConfig) -> Inspection:
    """Return the facts about a data set, and its faults."""
    try:
        clips = read_labels(dataset, config.dataset, logging.getLogger(__name__))
    except DatasetError as error:
        return Inspection(findings=(DatasetFinding(level=Severity.ERROR, check="labels", message=str(error)),))
    work = partial(_measured, dataset=dataset, seconds=config.preprocessing.max_length)
    names = [clip.name for clip in clips]
    with multiprocessing.get_context("fork" if os.name == "posix" else "spawn").Pool(available_cores()) as pool:
        facts = pool.map(work, names, chunksize=_CHUNK)
    return Inspection(
        facts=_facts(clips, facts),
        tables=_tables(clips, facts),
        distributions=_distributions(clips, facts),
        findings=(
            *_faults(clips, facts),
            *_lengths(facts, config),
            *_exact_duplicates(clips, facts),
            *_same_sounds(clips, facts),
            *_refused_split(clips, config),
            *unused_findings(clips, list_files(dataset)),
        ),
    )


def _refused_split(clips: Sequence[Clip], config: AedConfig) -> tuple[DatasetFinding, ...]:
    """Return why the step ``split`` would refuse the clips."""
    try:
        assign_parts(clips, config.dataset, seed=0)
    except DatasetError as error:
        return (DatasetFinding(level=Severity.ERROR, check="split", message=f"{error}; a run refuses the data set"),)
    return ()


def _measured(name: str, *, dataset: Path, seconds: float) -> ClipFacts:
    path = clip_path(dataset, name)
    try:
        return measure(path, seconds=seconds)
    except DatasetError as error:
        return ClipFacts(error=of_clip(error, name), words=np.zeros(0, dtype=np.uint32))


def measure(path: Path, *, seconds: float) -> ClipFacts:
    """Return the measurements of one file; at most its first `seconds` are read.

    Raises:
        DatasetError: it cannot be decoded.
    """
    samples, rate = decode(path, seconds=seconds)
    with open_audio(path) as file:
        frames, channels = file.frames or len(samples), file.channels  # a header may give no size
        encoding = f"{file.format} {file.subtype}"
    mono = to_mono(samples)
    peak = float(np.abs(samples).max())
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return ClipFacts(
        duration_s=frames / rate,
        is_cut_off=len(samples) < min(frames, int(seconds * rate)) or is_shorter_than_header(path),
        rate_hz=rate,
        channels=channels,
        encoding=encoding,
        peak_db=_decibel(peak * peak),
        level_db=_decibel(float(np.mean(np.square(mono, dtype=np.float64)))),
        clipped=float(np.mean(np.abs(samples) >= _FULL_SCALE)),
        silent=_silent_share(mono, rate),
        digest=digest,
        words=fingerprint(resample(mono, rate, _RATE_HZ), rate=_RATE_HZ),
    )


def _decibel(power: float) -> float:
    return float(10 * np.log10(max(power, 1e-20)))


def _silent_share(mono: NDArray[np.float32], rate: int) -> float:
    if float(np.abs(mono).max()) < _SILENT_PEAK:
        return 1.0
    length = max(1, int(_FRAME_S * rate))
    frames = mono[: max(length, len(mono) // length * length)]
    frames = np.pad(frames, (0, -len(frames) % length)).reshape(-1, length)
    power = np.einsum("ij,ij->i", frames, frames)
    return float(np.mean(power < power.max() * 10 ** (-_QUIET_DB / 10)))


def _facts(clips: Sequence[Clip], facts: Sequence[ClipFacts]) -> tuple[tuple[str, str], ...]:
    usable = [fact for fact in facts if not fact.error]
    total = sum(fact.duration_s for fact in usable)
    entries = [
        ("clips", str(len(clips))),
        ("classes", str(len({label for clip in clips for label in clip.labels}))),
        ("recordings", str(len({clip.group for clip in clips}))),
        ("hours", f"{total / 3600:.2f}"),
    ]
    if usable:
        lengths = np.array([fact.duration_s for fact in usable])
        entries.append(
            ("seconds per clip", f"{lengths.min():.2f} to {lengths.max():.2f}, median {np.median(lengths):.2f}")
        )
        entries.append(("clips with clipping", str(sum(fact.clipped > _CLIPPED_SHARE for fact in usable))))
        entries.append(("silence", f"{np.mean([fact.silent for fact in usable]):.1%} of the time"))
    return tuple(entries)


def _tables(clips: Sequence[Clip], facts: Sequence[ClipFacts]) -> tuple[FactTable, ...]:
    places = [_place(clip) for clip in clips]
    columns = sorted(set(places))
    counts = Counter((label, place) for clip, place in zip(clips, places, strict=True) for label in clip.labels)
    labels = sorted({label for label, _ in counts})
    lengths: defaultdict[str, float] = defaultdict(float)
    for clip, fact in zip(clips, facts, strict=True):
        for label in clip.labels:
            lengths[label] += fact.duration_s
    rows: tuple[tuple[str | int | float, ...], ...] = tuple(
        (label, *(counts[label, place] for place in columns), f"{lengths[label] / 60:.1f}") for label in labels
    )
    kinds = Counter((fact.encoding, fact.rate_hz, fact.channels) for fact in facts if not fact.error)
    return (
        FactTable(title="clips by class", columns=("class", *columns, "minutes"), rows=rows),
        FactTable(
            title="clips by encoding",
            columns=("encoding", "rate in Hz", "channels", "clips"),
            rows=tuple((*kind, count) for kind, count in kinds.most_common()),
        ),
    )


def _place(clip: Clip) -> str:
    return clip.part or (f"fold {clip.fold}" if clip.fold else "all")


def _distributions(clips: Sequence[Clip], facts: Sequence[ClipFacts]) -> tuple[Distribution, ...]:
    usable = [fact for fact in facts if not fact.error]
    labels = Counter(label for clip in clips for label in clip.labels)
    charts = [
        Distribution(
            name="classes",
            title="Clips of each class",
            labels=tuple(sorted(labels)),
            counts=tuple(labels[label] for label in sorted(labels)),
        )
    ]
    numbers = (
        ("duration", "Clips by duration", "s", [fact.duration_s for fact in usable]),
        ("level", "Clips by mean level", "dB of full scale", [max(fact.level_db, -100.0) for fact in usable]),
        ("peak", "Clips by peak level", "dB of full scale", [max(fact.peak_db, -100.0) for fact in usable]),
        ("silence", "Clips by share of silence", "%", [100 * fact.silent for fact in usable]),
    )
    for name, title, unit, values in numbers:
        if values:
            counts, edges = np.histogram(values, bins=12)
            rounded = tuple(round(float(edge), 3) for edge in edges)
            charts.append(
                Distribution(name=name, title=title, unit=unit, edges=rounded, counts=tuple(map(int, counts)))
            )
    return tuple(charts)


def _faults(clips: Sequence[Clip], facts: Sequence[ClipFacts]) -> list[DatasetFinding]:
    pairs = list(zip(clips, facts, strict=True))
    rates = Counter(fact.rate_hz for _, fact in pairs if not fact.error)
    checks: tuple[tuple[Severity, str, str, Iterable[str]], ...] = (
        (Severity.ERROR, "unreadable", "cannot be used", (fact.error for _, fact in pairs if fact.error)),
        (
            Severity.WARNING,
            "silence",
            f"are silent for {_SILENT_SHARE:.0%} of the time or more",
            (f"{clip.name}: {fact.silent:.0%}" for clip, fact in pairs if fact.silent >= _SILENT_SHARE),
        ),
        (
            Severity.WARNING,
            "cut off",
            "end before the length that their header gives",
            (clip.name for clip, fact in pairs if fact.is_cut_off),
        ),
        (
            Severity.WARNING,
            "clipping",
            f"are at full scale for more than {_CLIPPED_SHARE:.1%} of the samples",
            (f"{clip.name}: {fact.clipped:.2%}" for clip, fact in pairs if fact.clipped > _CLIPPED_SHARE),
        ),
    )
    findings = []
    for level, check, text, matching in checks:
        samples = tuple(matching)
        if samples:
            message = f"{len(samples)} of {len(clips)} clips {text}"
            findings.append(DatasetFinding(level=level, check=check, message=message, samples=samples))
    if len(rates) > 1:
        listed = ", ".join(f"{rate} Hz ({count})" for rate, count in rates.most_common())
        findings.append(
            DatasetFinding(level=Severity.NOTE, check="rates", message=f"clips have different rates: {listed}")
        )
    return findings


def _lengths(facts: Sequence[ClipFacts], config: AedConfig) -> list[DatasetFinding]:
    """Return a note about the parts of long clips that are not used."""
    longest = config.preprocessing.max_length
    lost = [fact.duration_s - longest for fact in facts if fact.duration_s > longest]
    if not lost:
        return []
    message = (
        f"{len(lost)} of {len(facts)} clips are longer than preprocessing.max_length ({longest:g} s); "
        f"{sum(lost) / 3600:.2f} hours beyond it are not used"
    )
    return [DatasetFinding(level=Severity.NOTE, check="long", message=message)]


def _exact_duplicates(clips: Sequence[Clip], facts: Sequence[ClipFacts]) -> list[DatasetFinding]:
    by_digest: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip, fact in zip(clips, facts, strict=True):
        if fact.digest:
            by_digest[fact.digest].append(clip)
    duplicates: defaultdict[tuple[Severity, str], list[str]] = defaultdict(list)
    for same in by_digest.values():
        if len(same) > 1:
            duplicates[_severity(same)].append(
                ", ".join(f"{clip.name} ({clip.label}, {_place(clip)})" for clip in same)
            )
    return _duplicate_findings(duplicates, check="exact duplicates", what="files have the same bytes")


def _same_sounds(clips: Sequence[Clip], facts: Sequence[ClipFacts]) -> list[DatasetFinding]:
    duplicates: defaultdict[tuple[Severity, str], list[str]] = defaultdict(list)
    for match in find_matches([fact.words for fact in facts], rate=_RATE_HZ):
        pair = clips[match.first], clips[match.second]
        if facts[match.first].digest == facts[match.second].digest or pair[0].group == pair[1].group:
            continue
        level, how = _severity(pair)
        names = " and ".join(f"{clip.name} ({clip.label}, {_place(clip)})" for clip in pair)
        text = f"{names}: {match.overlap_s:.1f} s, {match.error:.0%} of the bits differ"
        duplicates[Severity.WARNING if level is Severity.ERROR else level, how].append(text)
    return _duplicate_findings(duplicates, check="same sound", what="pairs of different recordings sound the same")


def _severity(same: Sequence[Clip]) -> tuple[Severity, str]:
    """Return the severity of equal clips: an error if they make a split or a label wrong."""
    if len({clip.label for clip in same}) > 1:
        return Severity.ERROR, "with different labels"
    if len({_place(clip) for clip in same}) > 1:
        return Severity.ERROR, "across folds or parts"
    return Severity.WARNING, "within one fold or part"


def _duplicate_findings(
    duplicates: dict[tuple[Severity, str], list[str]], *, check: str, what: str
) -> list[DatasetFinding]:
    return [
        DatasetFinding(level=level, check=check, message=f"{len(samples)} {what}, {how}", samples=tuple(samples))
        for (level, how), samples in sorted(duplicates.items())
    ]
