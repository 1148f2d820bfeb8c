"""`mlops ui` beside `mlflow ui`, each over 10,000 runs: start, first page, memory; and 200 requests while a run writes.

The runs are written without being carried out, ours as records and evaluations, those of MLflow as rows of its SQLite
database: one metric and eight parameters each. The first page of MLflow is its page and the search that the page sends;
its scripts are left out. Memory is the proportional set size of a server's processes after the first page.

Usage: ``python benchmarks/ui.py --ours .venv/bin --peers .venv-peers/bin``
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Ratio, Timing, report

from mlops_core.workspace.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path(__file__).parent / "chain_plugin"
START_TARGET, PAGE_S, PAGE_BYTES, PARALLEL, SLOWER = 0.3, 0.150, 100_000, 200, 1.05
DEADLINE_S = 300
STEPS = 40
SETTINGS = 8
SEARCH = "/ajax-api/2.0/mlflow/runs/search"


def write_runs(home: Path, count: int) -> None:
    """Write records and evaluations of runs, and their rows."""
    metric = {
        "name": "acc",
        "section": "metrics",
        "unit": "fraction",
        "minimum": 0,
        "maximum": 1,
        "direction": "higher",
    }
    steps = [{"name": f"s{number}", "status": "done", "outputs": {}} for number in range(10)]
    with Store(home) as store:
        for number in range(count):
            moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=number)
            run_id = f"{moment:%Y%m%d-%H%M%S}-{number:06x}"
            folder = store.runs.folder(run_id)
            (folder / "logs").mkdir(parents=True)
            settings = "\n".join(f"  key{key}: {number % (key + 2)}" for key in range(SETTINGS))
            record = {
                "run_id": run_id, "use_case": "BENCH", "plugin": "bench 1", "runner": "local", "status": "accepted",
                "created": moment.isoformat(), "duration_s": float(number % 500), "seed": 0, "parameters": {},
                "config": f"training:\n{settings}\n", "pipeline": {"metrics": [metric], "steps": []}, "dataset": None,
                "steps": steps, "verdict": None, "model_version": None, "environment": {}, "error": "", "exit_code": 0,
            }  # fmt: skip
            (folder / "run.json").write_text(json.dumps(record))
            (folder / "evaluation.json").write_text(json.dumps({"metrics": {"acc": {"value": number / count}}}))
            store.runs.list_again(run_id)


def write_mlflow_runs(database: Path, peers: Path, count: int) -> None:
    """Write rows of runs into a database that MLflow has made."""
    code = (
        "import sys, mlflow; mlflow.set_tracking_uri('sqlite:///' + sys.argv[1]);"
        "print(mlflow.create_experiment('bench'))"
    )
    made = subprocess.run([peers / "python", "-c", code, database], capture_output=True, text=True, check=True)
    experiment = int(made.stdout.split()[-1])
    with contextlib.closing(sqlite3.connect(database)) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(runs)")]
        for number in range(count):
            run_id = f"{number:032x}"
            row = {
                "run_uuid": run_id, "name": f"run {number}", "source_type": "LOCAL", "source_name": "", "user_id": "",
                "entry_point_name": "", "status": "FINISHED", "start_time": 1_700_000_000_000 + number * 60_000,
                "end_time": 1_700_000_000_500 + number * 60_000, "source_version": "", "lifecycle_stage": "active",
                "artifact_uri": "file:///none", "experiment_id": experiment, "deleted_time": None,
            }  # fmt: skip
            row = {name: value for name, value in row.items() if name in columns}
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
            values = (run_id, "acc", number / count, 0, 0, False)
            for table in ("metrics", "latest_metrics"):
                db.execute(
                    f"INSERT INTO {table} (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)",
                    values,
                )
            db.executemany(
                "INSERT INTO params (run_uuid, key, value) VALUES (?, ?, ?)",
                [(run_id, f"key{key}", str(number % (key + 2))) for key in range(SETTINGS)],
            )
        db.commit()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str, *, body: str | None = None) -> tuple[int, bytes, str]:
    """Return status, body and ``Server-Timing`` of an answer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)) as connection:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request("POST" if body else "GET", path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("Server-Timing") or ""


@contextlib.contextmanager
def serving(command: list[str | Path], port: int) -> Iterator[tuple[int, Timing]]:
    """Start a server; yield its process and the time until it answered."""
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while True:
            try:
                if get(port, "/")[0] == 200:
                    break
            except OSError:
                pass
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            assert time.monotonic() - begun < DEADLINE_S, f"{command[0]} does not answer"
            time.sleep(0.005)
        wall_s = time.monotonic() - begun
        used = sum(processor_of(pid) for pid in family(process.pid))
        yield process.pid, Timing(wall_s=wall_s, processor_s=used)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def family(pid: int) -> list[int]:
    """Return a process and all of its descendants."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def processor_of(pid: int) -> float:
    """Return the processor time of a process and of its children that have ended, in seconds."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def memory_of(pid: int) -> float:
    """Return the proportional set size of a process and its descendants, in bytes."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) * 1024  # type: ignore[index]
    return float(total)


def ours_command(arguments: argparse.Namespace, home: Path, port: int) -> list[str | Path]:
    return [arguments.ours / "mlops", "--workspace", home, "ui", "--port", str(port), "--no-token"]


def mlflow_command(arguments: argparse.Namespace, database: Path, port: int) -> list[str | Path]:
    return [arguments.peers / "mlflow", "ui", "--port", str(port), "--backend-store-uri", f"sqlite:///{database}"]


def middle(timings: list[Timing]) -> Timing:
    """Return the medians."""
    return Timing(
        wall_s=statistics.median(each.wall_s for each in timings),
        processor_s=statistics.median(each.processor_s for each in timings),
    )


def measure_start(arguments: argparse.Namespace, home: Path, database: Path) -> Ratio:
    """Start both servers alternately."""
    ours: list[Timing] = []
    peer: list[Timing] = []
    for _ in range(arguments.rounds):
        for times, command in ((ours, ours_command), (peer, mlflow_command)):
            port = free_port()
            with serving(command(arguments, home if command is ours_command else database, port), port) as (_, timing):
                times.append(timing)
    name = f"start, {arguments.runs:,} runs"
    return Ratio(name=name, ours=middle(ours), peer="mlflow ui", peer_time=middle(peer), target=START_TARGET)


def measure_pages(arguments: argparse.Namespace, home: Path, database: Path) -> None:
    """Print the time of the first page of both, its size, and the memory of the servers."""
    port = free_port()
    with serving(ours_command(arguments, home, port), port) as (pid, _):
        end = time.monotonic() + DEADLINE_S
        while b"are being read" in get(port, "/")[1]:
            assert time.monotonic() < end, "the runs are not indexed"
            time.sleep(0.2)
        before = sum(map(processor_of, family(pid)))
        walls, servers, sizes = [], [], []
        for _ in range(arguments.pages):
            begun = time.monotonic()
            _, body, timing = get(port, "/")
            walls.append(time.monotonic() - begun)
            servers.append(float(timing.partition("dur=")[2]) / 1000)
            sizes.append(len(body))
        processor_s = (sum(map(processor_of, family(pid))) - before) / arguments.pages
        assets = sum(len(get(port, path)[1]) for path in set(re.findall(r"/static/[^\"]+", body.decode())))
        memory = memory_of(pid)
        server_s, wall_s = statistics.median(servers), statistics.median(walls)
        print(f"first page: {1000 * server_s:.0f} ms of server time (limit {1000 * PAGE_S:.0f}), ", end="")
        print(f"{1000 * wall_s:.0f} ms in all,")
        print(f"  {1000 * processor_s:.0f} ms of processor time; {max(sizes):,} bytes (limit {PAGE_BYTES:,})")
        print(f"  and {assets:,} bytes of style sheet and script; memory {memory / 2**20:.0f} MiB")
        for query in ("?page=150", "?key=training.key3&value=2", "?metric=acc&low=0.5&order=metric%2C+highest"):
            times = [float(get(port, f"/{query}")[2].partition("dur=")[2]) for _ in range(5)]
            print(f"  {query}: {statistics.median(times):.0f} ms of server time")
    port = free_port()
    with serving(mlflow_command(arguments, database, port), port) as (pid, _):
        order = {"experiment_ids": ["1"], "max_results": 50, "order_by": ["attributes.start_time DESC"]}
        walls = []
        for _ in range(arguments.pages):
            begun = time.monotonic()
            get(port, "/")
            status, body, _ = get(port, SEARCH, body=json.dumps(order))
            assert status == 200, body[:300]
            assert len(json.loads(body)["runs"]) == 50
            walls.append(time.monotonic() - begun)
        peer_memory, peer_s = memory_of(pid), statistics.median(walls)
    print(f"mlflow ui: page and search {1000 * peer_s:.0f} ms in all; memory {peer_memory / 2**20:.0f} MiB")
    print(f"ratios: time to the first page {wall_s / peer_s:.2f}, memory {memory / peer_memory:.2f}")


def measure_requests(arguments: argparse.Namespace, home: Path) -> Ratio:
    """Carry out a run alone, and while 200 requests at once are answered; alternately."""
    port = free_port()
    environ = {**os.environ, "PYTHONPATH": str(PLUGIN)}
    alone: list[Timing] = []
    beside: list[Timing] = []
    failures: list[str] = []
    command = [arguments.ours / "mlops", "--workspace", home, "run", "-u", "CHAIN", "--set", f"shape.length={STEPS}"]
    with serving(ours_command(arguments, home, port), port):
        for number in range(2 * arguments.rounds):
            process = subprocess.Popen(
                [*command, "--seed", str(number + 1)], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            begun = time.monotonic()
            threads = [threading.Thread(target=ask, args=(port, failures)) for _ in range(PARALLEL * (number % 2))]
            for thread in threads:
                thread.start()
            _, status, usage = os.wait4(process.pid, 0)
            timing = Timing(wall_s=time.monotonic() - begun, processor_s=usage.ru_utime + usage.ru_stime)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            for thread in threads:
                thread.join()
            (beside if number % 2 else alone).append(timing)
    print(f"{PARALLEL} requests at once, {arguments.rounds} times while a run wrote: {len(failures)} failed")
    assert not failures, failures[:3]
    name = f"run of {STEPS} steps beside {PARALLEL} requests"
    return Ratio(name=name, ours=middle(beside), peer="alone", peer_time=middle(alone), target=SLOWER)


def ask(port: int, failures: list[str]) -> None:
    """Send one request."""
    try:
        status, body, _ = get(port, "/")
        if status != 200 or b"</html>" not in body:
            failures.append(f"status {status}")
    except OSError as error:
        failures.append(str(error))


def main() -> None:
    """Measure, print, and exit with 1 when a target is missed."""
    parser = argparse.ArgumentParser(description="Measure mlops ui beside mlflow ui.")
    parser.add_argument("--ours", type=Path, required=True, help="Folder of the command mlops.")
    parser.add_argument("--peers", type=Path, required=True, help="Folder of the command mlflow.")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", type=int, default=20)
    arguments = parser.parse_args()
    arguments.ours, arguments.peers = arguments.ours.absolute(), arguments.peers.absolute()
    with tempfile.TemporaryDirectory() as folder:
        home, database = Path(folder) / "workspace", Path(folder) / "mlflow.db"
        write_runs(home, arguments.runs)
        write_mlflow_runs(database, arguments.peers, arguments.runs)
        measure_pages(arguments, home, database)
        ratios = [measure_start(arguments, home, database), measure_requests(arguments, home)]
        sys.exit(report(ratios))


if __name__ == "__main__":
    main()
