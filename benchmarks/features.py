"""Feature extraction: this plugin against a loop over librosa, and against the parts that no program can avoid.

    python benchmarks/features.py [--audio FOLDER] [--clips 320] [--rounds 5] [--json] [--memory]

All measurements alternate within one run, because the speed of a shared machine varies by a factor of two: compare the
ratios. Each loop runs in separate processes. `mlops` is the actual step: it reads files and writes the feature store,
with two processes also merging it. The parts are decoding (soundfile), soxr HQ and the transform of the remaining
frames, each alone, in a process with the same settings; "strict" measures them as this plugin does them (16 bits read
as integers, transforms into one buffer), "plain" as a loop would (soundfile's floats, a new array per call).
Speeds are by wall time, the median of the rounds; processor times are the minimum of the rounds, which other programs
on the machine disturb less. Each ratio of speeds has the ratio of processor times beside it.
Without --audio, clips of 5 s at 44.1 kHz, 16 bit, are generated. --memory measures the peak memory of the step with 400
to 40,000 clips.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import multiprocessing
import operator
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import soundfile
from mlops_aed.audio.features import log_mel, patches
from mlops_aed.audio.waveform import decode, load_waveform, prepare_waveform, resample
from mlops_aed.config import AedConfig, FeatureExtraction, Preprocessing
from mlops_aed.data.clips import Clip, write_split
from mlops_aed.data.extraction import Extraction, extract
from mlops_aed.data.feature_store import FeatureWriter
from mlops_aed.data.memory import keep_freed_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

PREPARE, EXTRACT = Preprocessing(), FeatureExtraction()
RATE_HZ = 44_100
_FRAMES = 128


def generate(folder: Path, count: int) -> None:
    """Write clips of 5 s; a third of them end in silence."""
    draw = np.random.default_rng(0)
    time_s = np.arange(5 * RATE_HZ) / RATE_HZ
    for n in range(count):
        sound = 0.3 * np.sin(2 * np.pi * draw.uniform(100, 3000) * time_s) + 0.02 * draw.standard_normal(len(time_s))
        if n % 3 == 0:
            sound[int(draw.uniform(1, 4) * RATE_HZ) :] = 0
        soundfile.write(folder / f"{n:04d}.wav", sound, RATE_HZ, subtype="PCM_16")


def librosa_loop(paths: Sequence[Path]) -> int:
    """Extract features like the model zoo, with librosa."""
    import librosa

    count = 0
    for path in paths:
        wave, _ = librosa.load(path, sr=PREPARE.target_rate, duration=PREPARE.max_length)
        kept = librosa.effects.split(wave, top_db=PREPARE.top_db, frame_length=3200, hop_length=3200)
        wave = np.concatenate([wave[start:end] for start, end in kept])
        mel = librosa.feature.melspectrogram(
            y=wave,
            sr=PREPARE.target_rate,
            n_fft=EXTRACT.n_fft,
            hop_length=EXTRACT.hop_length,
            win_length=EXTRACT.window_length,
            center=False,
            power=1.0,
            n_mels=EXTRACT.n_mels,
            fmin=EXTRACT.fmin,
            fmax=EXTRACT.fmax,
            norm=None,
            htk=True,
        )
        count += len(patches(np.log(mel + 1e-4), EXTRACT))
    return count


def scipy_loop(paths: Sequence[Path]) -> int:
    """Extract the same features with soundfile, soxr and scipy's transform, without optimisation."""
    import scipy.fft
    import soxr
    from mlops_aed.audio.features import mel_filters

    window = np.zeros(EXTRACT.n_fft)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    bank = mel_filters(EXTRACT, rate=PREPARE.target_rate)
    count = 0
    for path in paths:
        wave, rate = soundfile.read(path, dtype="float32")
        wave = prepare_waveform(soxr.resample(wave, rate, PREPARE.target_rate, quality="HQ"), PREPARE)
        frames = np.lib.stride_tricks.sliding_window_view(wave, EXTRACT.n_fft)[:: EXTRACT.hop_length]
        mel = bank @ np.abs(scipy.fft.rfft(frames * window)).astype(np.float32).T
        count += len(patches(np.log(mel + np.float32(1e-4)), EXTRACT))
    return count


def mlops_step(paths: Sequence[Path], *, workers: int) -> int:
    """Write the feature store of the clips, like the step."""
    clips = [Clip(name=path.name, label="", group="", fold=1, part="train") for path in paths]
    work = Extraction(dataset=paths[0].parent, preprocessing=PREPARE, features=EXTRACT)
    with tempfile.TemporaryDirectory() as scratch:
        with FeatureWriter(Path(scratch), classes=("",), shape=(EXTRACT.n_mels, EXTRACT.patch_length)) as writer:
            for chunk in extract(clips, work, spool=Path(scratch), workers=workers):
                writer.add_chunk(chunk)
        return writer.patches


def part_decode_strict(paths: Sequence[Path]) -> None:
    for path in paths:
        decode(path, seconds=PREPARE.max_length)


def part_decode_plain(paths: Sequence[Path]) -> None:
    for path in paths:
        soundfile.read(path, dtype="float32")


def part_resample(waves: Sequence[NDArray[np.float32]]) -> None:
    for wave in waves:
        resample(wave, RATE_HZ, PREPARE.target_rate)


def part_transform_strict(frames: Sequence[NDArray[np.float64]]) -> None:
    spectrum = np.empty((_FRAMES, EXTRACT.n_fft // 2 + 1), dtype=np.complex128)
    for clip in frames:
        for start in range(0, len(clip), _FRAMES):
            block = clip[start : start + _FRAMES]
            np.fft.rfft(block, out=spectrum[: len(block)])


def part_transform_plain(frames: Sequence[NDArray[np.float64]]) -> None:
    for clip in frames:
        np.fft.rfft(clip)


def parts(paths: Sequence[Path]) -> dict[str, float]:
    """Return the processor time of each unavoidable part in milliseconds per clip, the minimum of three passes."""
    keep_freed_memory()
    sample = paths[:20]
    waves = [decode(path, seconds=PREPARE.max_length)[0] for path in sample]
    counts = [log_mel(prepare_waveform(load_waveform(p, PREPARE), PREPARE), EXTRACT, rate=16_000) for p in sample]
    frames = [np.random.default_rng(0).standard_normal((mel.shape[1], EXTRACT.n_fft)) for mel in counts]

    def together() -> None:
        for path, clip in zip(sample, frames, strict=True):
            part_resample([decode(path, seconds=PREPARE.max_length)[0]])
            part_transform_strict([clip])

    work: dict[str, Callable[[], None]] = {
        "decode, strict": lambda: part_decode_strict(sample),
        "decode, plain": lambda: part_decode_plain(sample),
        "soxr HQ": lambda: part_resample(waves),
        "transform, strict": lambda: part_transform_strict(frames),
        "transform, plain": lambda: part_transform_plain(frames),
        "all three, strict, clip by clip": together,
    }
    spent_ms = {}
    for name, call in work.items():
        call()
        spent = []
        for _ in range(3):
            start = time.process_time()
            call()
            spent.append(time.process_time() - start)
        spent_ms[name] = 1000 * min(spent) / len(sample)
    return spent_ms


def _serve(channel: Connection, loop: Callable[[Sequence[Path]], object], paths: Sequence[Path]) -> None:
    loop(paths[:3])  # imports, filters, buffers
    channel.send("ready")
    while channel.recv():
        before = processor_s()
        loop(paths)
        channel.send(processor_s() - before)


def processor_s() -> float:
    """Return the processor time of this process and of the child processes that have ended, in seconds."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Speed of one pass over all clips: clips per second of wall time, and processor milliseconds per clip."""

    clips_per_s: float
    processor_ms: float


class Loop:
    """A loop in separate processes, each with its share of the clips; started once and measured repeatedly."""

    def __init__(self, loop: Callable[[Sequence[Path]], object], paths: Sequence[Path], processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._count = len(paths)
        self._channels = []
        for index in range(processes):
            ours, theirs = context.Pipe()
            context.Process(target=_serve, args=(theirs, loop, paths[index::processes]), daemon=False).start()
            self._channels.append(ours)
        for channel in self._channels:
            channel.recv()

    def measure(self) -> Speed:
        """Return the speed of one pass; all processes work in parallel."""
        start = time.perf_counter()
        for channel in self._channels:
            channel.send(True)
        spent = sum(channel.recv() for channel in self._channels)
        return Speed(clips_per_s=self._count / (time.perf_counter() - start), processor_ms=1000 * spent / self._count)

    def close(self) -> None:
        for channel in self._channels:
            channel.send(False)


def measure_loops(paths: Sequence[Path], rounds: int) -> dict[str, list[Speed]]:
    """Return the speed of each loop in each round."""
    loops = {
        "librosa, one process": Loop(librosa_loop, paths, 1),
        "soundfile + soxr + scipy, one process": Loop(scipy_loop, paths, 1),
        "mlops, one process": Loop(functools.partial(mlops_step, workers=1), paths, 1),
        "librosa, two processes": Loop(librosa_loop, paths, 2),
        "soundfile + soxr + scipy, two processes": Loop(scipy_loop, paths, 2),
        "mlops, two processes": Loop(functools.partial(mlops_step, workers=2), paths, 1),  # it starts its own two
    }
    speeds: dict[str, list[Speed]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            speeds[name].append(loop.measure())
    for loop in loops.values():
        loop.close()
    return speeds


def median_ratio(over: Sequence[Speed], under: Sequence[Speed]) -> float:
    """Return the median over the rounds of the ratio of speeds."""
    return statistics.median(a.clips_per_s / b.clips_per_s for a, b in zip(over, under, strict=True))


def median_processor_ratio(over: Sequence[Speed], under: Sequence[Speed]) -> float:
    """Return the median over the rounds of the ratio of processor times per clip."""
    return statistics.median(a.processor_ms / b.processor_ms for a, b in zip(over, under, strict=True))


def measure_import() -> float:
    """Return the processor time in seconds in which a new interpreter imports the step."""
    code = "import time; s = time.process_time(); import mlops_aed.steps.preprocess; print(time.process_time() - s)"
    run = [sys.executable, "-c", code]
    return min(float(subprocess.run(run, capture_output=True, check=True).stdout) for _ in range(5))


def measure_peak(count: int) -> dict[str, float]:
    """Return the peak memory of the step in MiB with `count` clips of 1 s, measured in a separate process."""
    run = [sys.executable, __file__, "--peak", str(count)]
    result: dict[str, float] = json.loads(subprocess.run(run, capture_output=True, check=True).stdout)
    return result


class TreePeak:
    """The peak of the memory of this process and its children, sampled every 50 ms in a thread.

    Shared pages are counted once, as far as the system reports it (proportional set size).
    """

    def __init__(self) -> None:
        self.mib = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.05):
            processes = [
                os.getpid(),
                *map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()),
            ]
            self.mib = max(self.mib, sum(map(_proportional_mib, processes)))


def _proportional_mib(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0.0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0) / 1024


def peak(count: int) -> dict[str, float]:
    """Execute the step `preprocess` on `count` clips; return the peaks of this process, of a worker and of the tree."""
    from mlops_aed.plugin import mlops_get_steps

    from mlops_core.steps.context import StepRequest
    from mlops_core.steps.execution import execute

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for sub in ("audio", "split", "features", "scratch"):
            (folder / sub).mkdir()
        soundfile.write(folder / "audio" / "0.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
        for n in range(1, count):
            (folder / "audio" / f"{n}.wav").hardlink_to(folder / "audio" / "0.wav")
        write_split(
            folder / "split",
            (
                Clip(name=f"{n}.wav", label=str(n % 10), group=str(n), fold=1, part="train", digest="0" * 64)
                for n in range(count)
            ),
        )
        step = next(step for step in mlops_get_steps(AedConfig(), None) if step.name == "preprocess")
        request = StepRequest(
            use_case="AED",
            step=step,
            config={"dataset": {}, "preprocessing": {}, "feature_extraction": {}},
            parameters={},
            seed=0,
            inputs={"dataset": folder, "split": folder / "split"},
            outputs={"features": folder / "features"},
            scratch=folder / "scratch",
        )
        start = time.perf_counter()
        with TreePeak() as tree:
            execute(request)
        with (folder / "features" / "patches.csv").open() as stream:
            rows = sum(1 for _ in csv.reader(stream)) - 1
        return {
            "clips": count,
            "patches": rows,
            "seconds": time.perf_counter() - start,
            "tree_mib": tree.mib,
            "driver_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "largest_worker_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        }


def report(paths: Sequence[Path], rounds: int, *, has_memory: bool) -> dict[str, object]:
    """Return all measurements."""
    loops = measure_loops(paths, rounds)
    alone = [_parts_elsewhere(paths) for _ in range(rounds)]
    shares = {name: min(round_[name] for round_ in alone) for name in alone[0]}
    strict = sum(shares[name] for name in ("decode, strict", "soxr HQ", "transform, strict"))
    together = shares["all three, strict, clip by clip"]
    plain = sum(shares[name] for name in ("decode, plain", "soxr HQ", "transform, plain"))
    ours_ms = min(speed.processor_ms for speed in loops["mlops, one process"])
    measured: dict[str, object] = {
        "clips": len(paths),
        "rounds": rounds,
        "loops": {
            name: [statistics.median(s.clips_per_s for s in speeds), min(s.processor_ms for s in speeds)]
            for name, speeds in loops.items()
        },
        "parts_ms": shares,
        "ratios": {
            f"mlops to librosa, {processes}": median_ratio(loops[f"mlops, {processes}"], loops[f"librosa, {processes}"])
            for processes in ("one process", "two processes")
        }
        | {
            f"mlops to librosa, {processes}, processor time": median_processor_ratio(
                loops[f"librosa, {processes}"], loops[f"mlops, {processes}"]
            )
            for processes in ("one process", "two processes")
        }
        | {
            "processor time to all three, strict, clip by clip": ours_ms / together,
            "processor time to the sum of the parts, strict": ours_ms / strict,
            "processor time to the sum of the parts, plain": ours_ms / plain,
        },
        "import_s": round(measure_import(), 3),
    }
    if has_memory:
        measured["memory"] = [measure_peak(count) for count in (400, 4_000, 40_000)]
    return measured


def _parts_elsewhere(paths: Sequence[Path]) -> dict[str, float]:
    run = [sys.executable, __file__, "--parts", "--audio", str(paths[0].parent)]
    result: dict[str, float] = json.loads(subprocess.run(run, capture_output=True, check=True).stdout)
    return result


TARGETS = (
    ("mlops to librosa, one process", operator.ge, 1.8),
    ("mlops to librosa, two processes", operator.ge, 1.8),
    ("processor time to the sum of the parts, plain", operator.le, 1.25),
)
"""Name of the ratio, comparison, target."""
IMPORT_LIMIT_S = 0.3


def missed(measured: dict[str, object]) -> list[str]:
    """Return the names of the missed targets."""
    ratios = measured["ratios"]
    names = [name for name, meets, target in TARGETS if not meets(ratios[name], target)]  # type: ignore[index]
    return [*names, "import of the step"] if measured["import_s"] > IMPORT_LIMIT_S else names  # type: ignore[operator]


def show(measured: dict[str, object]) -> None:
    """Print the tables."""
    targets = {name: f"{'at least' if meets is operator.ge else 'at most'} {value}" for name, meets, value in TARGETS}
    print("| loop | clips/s | processor ms/clip |\n|---|---|---|")
    for name, (speed, spent) in measured["loops"].items():  # type: ignore[attr-defined]
        print(f"| {name} | {speed:.0f} | {spent:.2f} |")
    print("\n| part, alone | processor ms/clip |\n|---|---|")
    for name, value in measured["parts_ms"].items():  # type: ignore[attr-defined]
        print(f"| {name} | {value:.2f} |")
    print("\n| ratio | | target |\n|---|---|---|")
    for name, value in measured["ratios"].items():  # type: ignore[attr-defined]
        print(f"| {name} | {value:.2f} | {targets.get(name, '')} |")
    print(f"\nimport of the step: {measured['import_s']} s of processor time, at most {IMPORT_LIMIT_S}")
    for row in measured.get("memory", []):  # type: ignore[attr-defined]
        print(", ".join(f"{name} {value:.0f}" for name, value in row.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, help="folder of WAV files to use instead of generated clips")
    parser.add_argument("--clips", type=int, default=320, help="number of clips")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parts", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(json.dumps(peak(options.peak)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.audio or Path(name)
        if not options.audio:
            generate(folder, options.clips)
        paths = sorted(folder.glob("*.wav"))
        if options.parts:
            print(json.dumps(parts(paths)))
            return
        measured = report(paths[: options.clips], options.rounds, has_memory=options.memory)
    print(json.dumps(measured, indent=2)) if options.json else show(measured)
    if missed(measured):
        sys.exit(f"missed: {'; '.join(missed(measured))}")


if __name__ == "__main__":
    main()
