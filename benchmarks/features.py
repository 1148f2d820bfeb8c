"""Features per second: this plugin beside a loop over librosa, and beside the parts that nobody can avoid.

    python benchmarks/features.py [--audio FOLDER] [--clips 320] [--rounds 5] [--json] [--memory]

All are measured in one run, turn by turn, because a shared machine moves by a factor of two from day to day: compare
the ratios. Each loop runs in processes of its own. `mlops` is the real thing: it reads files, writes the feature
store, and in two processes puts it together. The parts are decoding (soundfile), soxr HQ and the transform of the
frames that remain, each alone, in a process with the same settings; "strict" counts them as this plugin does them
(16 bit read as integers, transforms into one buffer), "plain" as a loop would (soundfile's floats, a new array each).
Speeds are by the clock, the median of the rounds; parts are by the processor's time, the least of the rounds, which
others on the machine disturb less.
Without --audio, clips of 5 s at 44.1 kHz, 16 bit, are generated. --memory measures the peak of the step with 400 and
with 40,000 clips.
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
    """Write clips of 5 s, a third of them with a silent end."""
    draw = np.random.default_rng(0)
    time_s = np.arange(5 * RATE_HZ) / RATE_HZ
    for n in range(count):
        sound = 0.3 * np.sin(2 * np.pi * draw.uniform(100, 3000) * time_s) + 0.02 * draw.standard_normal(len(time_s))
        if n % 3 == 0:
            sound[int(draw.uniform(1, 4) * RATE_HZ) :] = 0
        soundfile.write(folder / f"{n:04d}.wav", sound, RATE_HZ, subtype="PCM_16")


def librosa_loop(paths: Sequence[Path]) -> int:
    """Do what the model zoo does, with librosa."""
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
    """Do the same with soundfile, soxr and scipy's transform, without librosa and without tricks."""
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
    """Write the feature store of the clips, as the step does."""
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
    """Return processor milliseconds a clip of each unavoidable part, alone, the least of three passes."""
    keep_freed_memory()
    some = paths[:20]
    waves = [decode(path, seconds=PREPARE.max_length)[0] for path in some]
    counts = [log_mel(prepare_waveform(load_waveform(p, PREPARE), PREPARE), EXTRACT, rate=16_000) for p in some]
    frames = [np.random.default_rng(0).standard_normal((mel.shape[1], EXTRACT.n_fft)) for mel in counts]

    def together() -> None:
        for path, clip in zip(some, frames, strict=True):
            part_resample([decode(path, seconds=PREPARE.max_length)[0]])
            part_transform_strict([clip])

    work: dict[str, Callable[[], None]] = {
        "decode, strict": lambda: part_decode_strict(some),
        "decode, plain": lambda: part_decode_plain(some),
        "soxr HQ": lambda: part_resample(waves),
        "transform, strict": lambda: part_transform_strict(frames),
        "transform, plain": lambda: part_transform_plain(frames),
        "these three strictly, clip by clip": together,
    }
    found = {}
    for name, call in work.items():
        call()
        spent = []
        for _ in range(3):
            start = time.process_time()
            call()
            spent.append(time.process_time() - start)
        found[name] = 1000 * min(spent) / len(some)
    return found


def _serve(channel: Connection, loop: Callable[[Sequence[Path]], object], paths: Sequence[Path]) -> None:
    loop(paths[:3])  # imports, filters, buffers
    channel.send("ready")
    while channel.recv():
        before = processor_s()
        loop(paths)
        channel.send(processor_s() - before)


def processor_s() -> float:
    """Return the processor time of this process and of those that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one pass over all clips took: by the clock, and of the processors, a clip."""

    clips_per_s: float
    processor_ms: float


class Loop:
    """A loop in processes of its own, each with its share of the clips; set up once, measured again and again."""

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
        """Let each process do its share once, at the same time."""
        start = time.perf_counter()
        for channel in self._channels:
            channel.send(True)
        spent = sum(channel.recv() for channel in self._channels)
        return Speed(clips_per_s=self._count / (time.perf_counter() - start), processor_ms=1000 * spent / self._count)

    def close(self) -> None:
        for channel in self._channels:
            channel.send(False)


def measure_loops(paths: Sequence[Path], rounds: int) -> dict[str, list[Speed]]:
    """Return the speed in each round, for each loop."""
    loops = {
        "librosa, one process": Loop(librosa_loop, paths, 1),
        "soundfile + soxr + scipy, one process": Loop(scipy_loop, paths, 1),
        "mlops, one process": Loop(functools.partial(mlops_step, workers=1), paths, 1),
        "librosa, two processes": Loop(librosa_loop, paths, 2),
        "soundfile + soxr + scipy, two processes": Loop(scipy_loop, paths, 2),
        "mlops, two processes": Loop(functools.partial(mlops_step, workers=2), paths, 1),  # it starts its own two
    }
    found: dict[str, list[Speed]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            found[name].append(loop.measure())
    for loop in loops.values():
        loop.close()
    return found


def median_ratio(over: Sequence[Speed], under: Sequence[Speed]) -> float:
    """Return the median of the ratios of clips a second, round by round."""
    return statistics.median(a.clips_per_s / b.clips_per_s for a, b in zip(over, under, strict=True))


def measure_import() -> float:
    """Return the seconds of processor time that a fresh interpreter needs to import the step."""
    code = "import time; s = time.process_time(); import mlops_aed.steps.preprocess; print(time.process_time() - s)"
    run = [sys.executable, "-c", code]
    return min(float(subprocess.run(run, capture_output=True, check=True).stdout) for _ in range(5))


def measure_peak(count: int) -> dict[str, float]:
    """Return the peak memory in MiB of the step with `count` clips of a second, measured in a process of its own."""
    run = [sys.executable, __file__, "--peak", str(count)]
    found: dict[str, float] = json.loads(subprocess.run(run, capture_output=True, check=True).stdout)
    return found


class TreePeak:
    """The largest sum of the memory of this process and its children, sampled every 50 ms in a thread of its own.

    Pages that processes share are counted once, as far as the system tells (proportional set size).
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
    """Execute the step `preprocess` on `count` clips; return the peaks of this process, a worker and all together."""
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
            (Clip(name=f"{n}.wav", label=str(n % 10), group=str(n), fold=1, part="train") for n in range(count)),
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
    """Measure everything."""
    loops = measure_loops(paths, rounds)
    alone = [_parts_elsewhere(paths) for _ in range(rounds)]
    shares = {name: min(found[name] for found in alone) for name in alone[0]}
    strict = sum(shares[name] for name in ("decode, strict", "soxr HQ", "transform, strict"))
    together = shares["these three strictly, clip by clip"]
    plain = sum(shares[name] for name in ("decode, plain", "soxr HQ", "transform, plain"))
    ours_ms = min(speed.processor_ms for speed in loops["mlops, one process"])
    found: dict[str, object] = {
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
            "time to the three strictly, clip by clip": ours_ms / together,
            "time to the sum of the parts, strict": ours_ms / strict,
            "time to the sum of the parts, plain": ours_ms / plain,
        },
        "import_s": round(measure_import(), 3),
    }
    if has_memory:
        found["memory"] = [measure_peak(count) for count in (400, 4_000, 40_000)]
    return found


def _parts_elsewhere(paths: Sequence[Path]) -> dict[str, float]:
    run = [sys.executable, __file__, "--parts", "--audio", str(paths[0].parent)]
    found: dict[str, float] = json.loads(subprocess.run(run, capture_output=True, check=True).stdout)
    return found


TARGETS = (
    ("mlops to librosa, one process", operator.ge, 1.8),
    ("mlops to librosa, two processes", operator.ge, 1.8),
    ("time to the sum of the parts, plain", operator.le, 1.25),
)
"""Ratio, how it must compare, with what."""
IMPORT_LIMIT_S = 0.3


def missed(found: dict[str, object]) -> list[str]:
    """Return which targets are missed."""
    ratios = found["ratios"]
    names = [name for name, meets, target in TARGETS if not meets(ratios[name], target)]  # type: ignore[index]
    return [*names, "import of the step"] if found["import_s"] > IMPORT_LIMIT_S else names  # type: ignore[operator]


def show(found: dict[str, object]) -> None:
    """Print the tables."""
    targets = {name: f"{'at least' if meets is operator.ge else 'at most'} {value}" for name, meets, value in TARGETS}
    print("| loop | clips/s | processor ms a clip |\n|---|---|---|")
    for name, (speed, spent) in found["loops"].items():  # type: ignore[attr-defined]
        print(f"| {name} | {speed:.0f} | {spent:.2f} |")
    print("\n| part, alone | processor ms a clip |\n|---|---|")
    for name, value in found["parts_ms"].items():  # type: ignore[attr-defined]
        print(f"| {name} | {value:.2f} |")
    print("\n| ratio | | target |\n|---|---|---|")
    for name, value in found["ratios"].items():  # type: ignore[attr-defined]
        print(f"| {name} | {value:.2f} | {targets.get(name, '')} |")
    print(f"\nimport of the step: {found['import_s']} s of processor time, at most {IMPORT_LIMIT_S}")
    for row in found.get("memory", []):  # type: ignore[attr-defined]
        print(", ".join(f"{name} {value:.0f}" for name, value in row.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, help="a folder of wav files instead of generated clips")
    parser.add_argument("--clips", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory", action="store_true")
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
        found = report(paths[: options.clips], options.rounds, has_memory=options.memory)
    print(json.dumps(found, indent=2)) if options.json else show(found)
    if missed(found):
        sys.exit(f"missed: {'; '.join(missed(found))}")


if __name__ == "__main__":
    main()
