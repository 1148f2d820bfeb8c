"""A data set to S3, against ``aws s3 cp --recursive``: 2,000 files of 440 KB to a server on loopback that discards.

Ours is `mlops fetch --to`: the whole command, once with the digests of the files known, as after a fetch or a run, and
once reading and hashing all of them first. The copy of the AWS CLI is its whole command too. Each upload goes to a
place of its own. Then the unchanged data is checked again: the command, and the call within it.

Usage: ``python benchmarks/upload.py --ours .venv/bin --peers .venv-peers/bin``
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Ratio, medians, report, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES, SIZE = 2000, 440_000
FASTER = 4.0
RECHECK_S = 0.5
PLUGIN = Path(__file__).parent / "chain_plugin"
SERVER = Path(__file__).with_name("discarding_server.py")
BUCKET = "bench"


def generate(folder: Path) -> Path:
    """Write the files; random, so that nothing can be compressed."""
    folder.mkdir()
    for index in range(FILES):
        (folder / f"{index:05d}.bin").write_bytes(os.urandom(SIZE))
    return folder


@contextlib.contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Start the server in a process of its own; yield the variables by which clients find it."""
    process = subprocess.Popen([sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        port = process.stdout.readline().strip()
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
        }
    finally:
        process.stdin.close()
        print(process.stdout.read().strip(), file=sys.stderr)
        process.wait(timeout=10)


class Uploads:
    """The two commands."""

    def __init__(self, ours: Path, peers: Path, folder: Path, environ: dict[str, str]) -> None:
        """Upload `folder / "data"`."""
        self._mlops, self._aws = str(ours / "mlops"), str(peers / "aws")
        self._folder = folder
        self._environ = {**environ, "PYTHONPATH": str(PLUGIN)}
        self._numbers = itertools.count()
        self.processor_s: dict[str, list[float]] = {"ours": [], "aws": []}

    def _timed(self, who: str, command: list[str]) -> float:
        before = _children_s()
        took = seconds(command, extra=self._environ)
        self.processor_s[who].append(_children_s() - before)
        return took

    def ours(self, *, workspace: str | None = None, place: str | None = None) -> float:
        """Return the time of one ``mlops fetch --to``, in a new workspace where none is named."""
        number = next(self._numbers)
        data = f'dataset.path="{self._folder / "data"}"'
        command = [self._mlops, "--workspace", str(self._folder / (workspace or f"workspace-{number}"))]
        command += ["fetch", "-u", "CHAIN", "--set", data, "--to", f"s3://{BUCKET}/{place or f'ours-{number}'}/"]
        return self._timed("ours", command)

    def aws(self) -> float:
        """Return the time of one ``aws s3 cp --recursive``."""
        target = f"s3://{BUCKET}/aws-{next(self._numbers)}/"
        command = [self._aws, "s3", "cp", "--recursive", "--only-show-errors", str(self._folder / "data"), target]
        return self._timed("aws", command)

    def recheck_call(self) -> float:
        """Return the time of the check within the command, once its modules are imported and its client made."""
        code = (
            "import sys, time\n"
            "from pathlib import Path\n"
            "from mlops_core.api import prepare_run\n"
            "from mlops_core.workspace.store import Store\n"
            "from mlops_sagemaker.service.account import Account\n"
            "from mlops_core.runners.remote.datasets import provide_dataset\n"
            "account = Account(); account.client('s3')\n"
            "import obstore\n"
            "request = prepare_run('CHAIN', overrides=[sys.argv[1]])\n"
            "with Store(Path(sys.argv[2])) as store:\n"
            "    began = time.perf_counter()\n"
            "    got = provide_dataset(request, sys.argv[3], store=store, account=account, progress=lambda *_: None)\n"
            "    print(time.perf_counter() - began, got.sent)\n"
        )
        data = f'dataset.path="{self._folder / "data"}"'
        python = str(Path(self._mlops).with_name("python"))
        command = [python, "-c", code, data, str(self._folder / "known"), f"s3://{BUCKET}/same/"]
        done = subprocess.run(command, env={**os.environ, **self._environ}, capture_output=True, text=True, check=True)
        took, sent = done.stdout.split()
        assert sent == "0"
        return float(took)


def _children_s() -> float:
    """Return the processor time of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(uploads: Uploads, *, repetitions: int) -> list[Ratio]:
    """Measure everything."""
    uploads.ours(workspace="known", place="same")
    time.sleep(0.1)
    uploads.processor_s["ours"].clear()
    known, cold, aws = medians(
        [functools.partial(uploads.ours, workspace="known"), uploads.ours, uploads.aws], repetitions=repetitions
    )
    peer = "aws s3 cp --recursive"
    print(f"files/s: ours {FILES / known:.0f}, hashing first {FILES / cold:.0f}; {peer} {FILES / aws:.0f}")
    print(f"times as fast as {peer}: {aws / known:.2f}, hashing first {aws / cold:.2f}; wanted {FASTER:g}")
    own_s, peer_s = (statistics.median(uploads.processor_s[who]) for who in ("ours", "aws"))
    print(
        f"processor time, which other programs on the machine do not change: ours {own_s:.2f} s, {peer} {peer_s:.2f} s"
    )
    again = functools.partial(uploads.ours, workspace="known", place="same")
    command, call = medians([again, uploads.recheck_call], repetitions=repetitions)
    print(f"unchanged data checked again: {call:.3f} s; as a whole command {command:.3f} s")
    return [
        Ratio(name="upload, digests known", ours_s=known, peer=peer, peer_s=aws, target=1 / FASTER),
        Ratio(name="upload, hashing first", ours_s=cold, peer=peer, peer_s=aws, target=1 / FASTER),
        Ratio(name="checked again, the call", ours_s=call, peer="half a second", peer_s=RECHECK_S, target=1.0),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=Path, required=True, help="folder with our mlops, boto3 and obstore")
    parser.add_argument("--peers", type=Path, required=True, help="folder with the AWS CLI")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder, serving() as environ:
        generate(Path(folder) / "data")
        uploads = Uploads(arguments.ours.absolute(), arguments.peers.absolute(), Path(folder), environ)
        return report(compare(uploads, repetitions=arguments.repetitions))


if __name__ == "__main__":
    sys.exit(main())
