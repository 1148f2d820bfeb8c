"""Requests per second of a quantized network behind `mlops serve`, LitServe, BentoML and MLflow, in one run.

A request is a 5 s recording (16 kHz, 16 bits, 160 KB). Every server has two workers. Servers are measured one after
another, several times round, so that other load on the machine meets all of them; the medians are compared. Where other
programs use the cores, the processor time per request is the steadier figure. Peers that are not installed are left out
of the table and named; ``--peers`` may be given several times.

`mlops serve` watches for drift: it is measured once its thresholds are calibrated, and without drift besides; the
difference in processor time is the price of drift. The column "at most" is the rate of two processes that predict the
same file without HTTP, divided by that of the server: no server that holds the same model could be faster by more.

Usage: ``python benchmarks/serving.py --ours .venv/bin --peers .venv-peers/bin``. ``--model FOLDER`` names an exported
quantized model of AED; without it, a small one is trained first.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import math
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
WORKERS = 2
CLIENTS, MANY_CLIENTS = 8, 32
START_S = 120
TARGETS = {"litserve": 1.3, "bentoml": 3.0, "mlflow": 3.0, "bare": 0.75}
PING_MS, READY_S, FRONT_MIB, WORKER_MIB, DRIFT = 50, 2.0, 60, 60, 1.02
OURS, WITHOUT_DRIFT = "mlops serve", "without drift"
CALIBRATION_S = 600
DRIFT_PRICE = "processor time with drift / without"


def write_sound(path: Path) -> bytes:
    """Write 5 s of a rising tone; return the file's content."""
    samples = (int(8000 * math.sin(n * (0.05 + n * 2e-6))) for n in range(5 * 16000))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", each) for each in samples))
    return path.read_bytes()


@dataclass(slots=True, kw_only=True)
class Load:
    """What some connections saw.

    Attributes:
        durations_s: of each answer with the status 200.
        failures: number of other answers.
        rate: answers with the status 200 per second.
    """

    durations_s: list[float] = field(default_factory=list)
    failures: int = 0
    rate: float = 0.0


async def send(port: int, request: bytes, load: Load, *, until: float) -> None:
    """Send a request again and again over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.perf_counter() < until:
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            if head.split(b" ", 2)[1] == b"200":
                load.durations_s.append(time.perf_counter() - begun)
            else:
                load.failures += 1
    except (OSError, EOFError):
        load.failures += 1
    finally:
        writer.close()


async def ping(port: int, load: Load, *, until: float) -> None:
    while time.perf_counter() < until:
        await send(port, b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", load, until=time.perf_counter() + 0.001)
        await asyncio.sleep(0.02)


async def measure(port: int, request: bytes, *, clients: int, seconds: float, is_pinged: bool = False) -> list[Load]:
    """Return the load of the requests and that of ``/ping`` meanwhile."""
    load, pings, begun = Load(), Load(), time.perf_counter()
    tasks = [send(port, request, load, until=begun + seconds) for _ in range(clients)]
    await asyncio.gather(*tasks, *([ping(port, pings, until=begun + seconds)] if is_pinged else []))
    load.rate = len(load.durations_s) / (time.perf_counter() - begun)
    return [load, pings]


def http_request(body: bytes, content_type: str, path: str = "/invocations") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A server to measure."""

    name: str
    command: tuple[str, ...]
    request: bytes
    environ: dict[str, str]


@contextlib.contextmanager
def running(subject: Subject) -> Iterator[tuple[int, subprocess.Popen[bytes], float]]:
    """Start a server; yield its port, its process, and the time until the first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [part.replace("PORT", str(port)) for part in subject.command]
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as notes:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=notes, env=subject.environ, start_new_session=True
        )
        try:
            while not is_answering(port, subject.request):
                if process.poll() is not None or time.perf_counter() - begun > START_S:
                    notes.seek(0)
                    raise SystemExit(f"{subject.name} does not answer: {notes.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.02)
            yield port, process, time.perf_counter() - begun
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)


def is_answering(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
            peer.sendall(request)
            return peer.recv(100).split(b" ", 2)[1:2] == [b"200"]
    except OSError:
        return False


def wait_until_watched(port: int) -> None:
    """Wait until drift is watched: thresholds are calibrated at the first start, and read at the others."""
    deadline = time.perf_counter() + CALIBRATION_S
    while time.perf_counter() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            if b"drift_threshold" in answer.read():
                return
        time.sleep(0.2)
    raise SystemExit("the drift detector is not ready")


def bare_rate(command: Sequence[str], *, environ: dict[str, str]) -> tuple[float, float]:
    """Return the predictions per second of two processes without HTTP, and the processor time of one in ms."""
    seconds = int(command[-1])
    processes = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ, text=True
        )
        for _ in range(WORKERS)
    ]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    numbers = [process.communicate()[0].split() for process in processes]
    count = sum(int(each[0]) for each in numbers)
    return count / seconds, 1000 * sum(float(each[1]) for each in numbers) / max(count, 1)


def memory_mib(pid: int) -> float:
    """Return the proportional set size of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) / 1024


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def processor_s(pid: int) -> float:
    """Return the processor time of a process and its descendants."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(processor_s, children(pid)))


def subjects(options: argparse.Namespace, sound: bytes) -> Iterator[Subject]:
    """Yield `mlops serve`, then each peer that is installed."""
    model = str(options.model.resolve())
    ours = (str(options.ours / "mlops"), "serve", "-u", "AED", "--model", f"{model}/", "--port", "PORT")
    ours = (*ours, "--workers", str(WORKERS), "--max-waiting", str(MANY_CLIENTS))
    for name, more in ((OURS, ("--state-dir", str(options.state))), (WITHOUT_DRIFT, ("--no-drift",))):
        request = http_request(sound, "audio/wav")
        yield Subject(name=name, command=(*ours, *more), request=request, environ=dict(os.environ))
    text = base64.b64encode(sound).decode()
    bodies = {"litserve": ({"audio": text}, "/predict"), "bentoml": ({"audio": text}, "/invocations")}
    bodies["mlflow"] = ({"inputs": [text]}, "/invocations")
    root = HERE.parent
    path = os.pathsep.join(map(str, (root, root / "plugins" / "aed")))
    for name, (body, place) in bodies.items():
        for folder in options.peers:
            python = folder / "python"
            found = subprocess.run([str(python), "-c", f"import {name}"], check=False, capture_output=True)
            if found.returncode == 0:
                yield Subject(
                    name=name,
                    command=(str(python), str(HERE / "serving_peers.py"), name, model, "PORT"),
                    request=http_request(json.dumps(body).encode(), "application/json", place),
                    environ={**os.environ, "PYTHONPATH": path},
                )
                break
        else:
            print(f"{name} is not installed in {', '.join(map(str, options.peers)) or 'any environment'}; left out")


def trained_model(mlops: Path, folder: Path) -> Path:
    """Train the smallest quantized model on generated sounds; return its folder."""
    workspace = [str(mlops), "--workspace", str(folder / "workspace")]
    example = HERE.parent / "plugins" / "aed" / "examples" / "tiny.yaml"
    accepted = [f"--param=q_{level}_level_acc_threshold=0" for level in ("clip", "patch")]
    run = ["run", "-u", "AED", "-c", str(example), "--set", "general.operation_mode=chain_tqe", *accepted]
    subprocess.run([*workspace, *run], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(
        [*workspace, "models", "export", "-u", "AED", str(folder / "model")], check=True, capture_output=True
    )
    return folder / "model"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--ours", type=Path, required=True)
    parser.add_argument("--peers", type=Path, action="append", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.model = options.model or trained_model(options.ours / "mlops", Path(folder))
        sound_file = Path(folder) / "sound.wav"
        options.state = Path(folder) / "state"
        results = Results(options, sound_file, write_sound(sound_file))
        for _ in range(options.rounds):
            results.measure_once()
    return results.report()


class Results:
    """Measurements of several rounds."""

    def __init__(self, options: argparse.Namespace, sound_file: Path, sound: bytes) -> None:
        self._options = options
        self._sound_file = sound_file
        self._subjects = list(subjects(options, sound))
        self._rates: dict[str, list[float]] = {}
        self._processor_ms: dict[str, list[float]] = {}
        self._facts: dict[str, list[float]] = {}
        self._failures = 0

    def measure_once(self) -> None:
        for subject in self._subjects:
            with running(subject) as (port, process, ready_s):
                seconds = self._options.seconds
                if subject.name == OURS:
                    wait_until_watched(port)
                warm = measure(port, subject.request, clients=CLIENTS, seconds=0.5)
                asyncio.run(warm)
                before = processor_s(process.pid)
                load, _ = asyncio.run(measure(port, subject.request, clients=CLIENTS, seconds=seconds))
                spent_s = processor_s(process.pid) - before
                self._processor_ms.setdefault(subject.name, []).append(1000 * spent_s / len(load.durations_s))
                self._rates.setdefault(subject.name, []).append(load.rate)
                self._note(f"{subject.name}: ready, s", ready_s)
                if subject.name == OURS:
                    self._measure_ours(port, process, subject.request)
        python = str(self._options.ours / "python")
        command = (python, str(HERE / "serving_peers.py"), "bare", str(self._options.model.resolve()), "4")
        environ = {**os.environ, "BENCH_SOUND": str(self._sound_file)}
        rate, processor_ms = bare_rate(command, environ=environ)
        self._rates.setdefault("bare", []).append(rate)
        self._processor_ms.setdefault("bare", []).append(processor_ms)

    def _measure_ours(self, port: int, process: subprocess.Popen[bytes], request: bytes) -> None:
        many, pings = asyncio.run(
            measure(port, request, clients=MANY_CLIENTS, seconds=self._options.seconds, is_pinged=True)
        )
        self._failures += many.failures + pings.failures
        ordered = sorted(pings.durations_s)
        self._note("ping p99 with 32 connections, ms", 1000 * ordered[int(0.99 * (len(ordered) - 1))])
        self._note("memory of the front, MiB", memory_mib(process.pid))
        self._note("memory per worker, MiB", statistics.mean(map(memory_mib, children(process.pid))))

    def _note(self, name: str, value: float) -> None:
        self._facts.setdefault(name, []).append(value)

    def report(self) -> int:
        missed = 0
        ours = statistics.median(self._rates[OURS])
        bare = statistics.median(self._rates["bare"])
        spent = {name: statistics.median(times) for name, times in self._processor_ms.items()}
        heads = f"{'ours / it':>10}{'target':>8}{'at most':>9}{'processor ms':>14}{'it / ours':>11}"
        print(f"{'server':<14}{'requests/s (rounds)':<34}{heads}")
        for name, rates in self._rates.items():
            target = TARGETS.get(name)
            ratio = ours / statistics.median(rates)
            missed += target is not None and ratio < target
            rounds = ", ".join(f"{rate:.0f}" for rate in rates)
            shown = f"{spent[name]:>14.2f}{spent[name] / spent[OURS]:>11.2f}"
            most = bare / statistics.median(rates)
            print(f"{name:<14}{rounds:<34}{ratio:>10.2f}{target or '':>8}{most:>9.2f}{shown}")
        self._note(DRIFT_PRICE, spent[OURS] / spent[WITHOUT_DRIFT])
        limits = {
            f"{OURS}: ready, s": READY_S,
            DRIFT_PRICE: DRIFT,
            "ping p99 with 32 connections, ms": PING_MS,
            "memory of the front, MiB": FRONT_MIB,
            "memory per worker, MiB": WORKER_MIB,
        }
        for name, values in self._facts.items():
            value, limit = statistics.median(values), limits.get(name)
            missed += limit is not None and value > limit
            print(f"{name:<36}{value:>10.2f}{f'  at most {limit}' if limit else ''}")
        print(f"{'failures with 32 connections':<36}{self._failures:>10}  at most 0")
        return int(bool(missed or self._failures))


if __name__ == "__main__":
    sys.exit(main())
