"""Upload of a data set to S3, against ``aws s3 cp --recursive``: 2,000 files of 440 KB to a discarding local server.

Ours is the command `mlops fetch --to`, once with known digests of the files, as after a fetch or a run, and once with
hashing all files first. Both products are measured as whole commands. Each upload has its own prefix. Afterwards the
unchanged data set is checked again, as a command and as the call within it.

Usage: ``python benchmarks/upload.py --ours .venv/bin --peers .venv-peers/bin``
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Ratio, Timing, medians, report, timed_command

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES, SIZE = 2000, 440_000
FASTER = 4.0
RECHECK_S = 0.5
PLUGIN = Path(__file__).parent / "chain_plugin"
SERVER = Path(__file__).with_name("discarding_server.py")
BUCKET = "bench"


def generate(folder: Path) -> Path:
    """Write files of random bytes, which cannot be compressed."""
    folder.mkdir()
    for index in range(FILES):
        (folder / f"{index:05d}.bin").write_bytes(os.urandom(SIZE))
    return folder


@contextlib.contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Start the server in a separate process; yield the environment variables for its clients."""
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
        """Upload the folder ``data`` in `folder`."""
        self._mlops, self._aws = str(ours / "mlops"), str(peers / "aws")
        self._folder = folder
        self._environ = {**environ, "PYTHONPATH": str(PLUGIN)}
        self._numbers = itertools.count()

    def ours(self, *, workspace: str | None = None, place: str | None = None) -> Timing:
        """Return the time of ``mlops fetch --to``, in a new workspace unless `workspace` is given."""
        number = next(self._numbers)
        data = f'dataset.path="{self._folder / "data"}"'
        command = [self._mlops, "--workspace", str(self._folder / (workspace or f"workspace-{number}"))]
        command += ["fetch", "-u", "CHAIN", "--set", data, "--to", f"s3://{BUCKET}/{place or f'ours-{number}'}/"]
        return timed_command(command, extra=self._environ)

    def aws(self) -> Timing:
        """Return the time of ``aws s3 cp --recursive``."""
        target = f"s3://{BUCKET}/aws-{next(self._numbers)}/"
        command = [self._aws, "s3", "cp", "--recursive", "--only-show-errors", str(self._folder / "data"), target]
        return timed_command(command, extra=self._environ)

    def recheck_call(self) -> Timing:
        """Return the time of the check within the command, without imports and the creation of the client."""
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
            "    call = {'store': store, 'account': account, 'progress': lambda *_: None}\n"
            "    began, spent = time.perf_counter(), time.process_time()\n"
            "    result = provide_dataset(request, sys.argv[3], **call)\n"
            "    print(time.perf_counter() - began, time.process_time() - spent, result.sent)\n"
        )
        data = f'dataset.path="{self._folder / "data"}"'
        python = str(Path(self._mlops).with_name("python"))
        command = [python, "-c", code, data, str(self._folder / "known"), f"s3://{BUCKET}/same/"]
        done = subprocess.run(command, env={**os.environ, **self._environ}, capture_output=True, text=True, check=True)
        wall_s, processor_s, sent = done.stdout.split()
        assert sent == "0"
        return Timing(wall_s=float(wall_s), processor_s=float(processor_s))


def compare(uploads: Uploads, *, repetitions: int) -> list[Ratio]:
    """Return all ratios, and print the rates."""
    uploads.ours(workspace="known", place="same")
    time.sleep(0.1)
    known, cold, aws = medians(
        [functools.partial(uploads.ours, workspace="known"), uploads.ours, uploads.aws], repetitions=repetitions
    )
    peer = "aws s3 cp --recursive"
    print(
        f"files/s: ours {FILES / known.wall_s:.0f}, hashing first {FILES / cold.wall_s:.0f}; "
        f"{peer} {FILES / aws.wall_s:.0f}"
    )
    print(
        f"speed relative to {peer}: {aws.wall_s / known.wall_s:.2f}, hashing first {aws.wall_s / cold.wall_s:.2f}; "
        f"expected {FASTER:g}"
    )
    print(f"processor time: ours {known.processor_s:.2f} s, {peer} {aws.processor_s:.2f} s")
    again = functools.partial(uploads.ours, workspace="known", place="same")
    command, call = medians([again, uploads.recheck_call], repetitions=repetitions)
    print(f"unchanged data checked again: {call.wall_s:.3f} s; as a whole command {command.wall_s:.3f} s")
    return [
        Ratio(name="upload, digests known", ours=known, peer=peer, peer_time=aws, target=1 / FASTER),
        Ratio(name="upload, hashing first", ours=cold, peer=peer, peer_time=aws, target=1 / FASTER),
        Ratio(name="checked again, the call", ours=call, peer="half a second", peer_time=RECHECK_S, target=1.0),
    ]


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--ours", type=Path, required=True, help="folder with the program mlops, with boto3 and obstore installed"
    )
    parser.add_argument("--peers", type=Path, required=True, help="folder with the program aws")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder, serving() as environ:
        generate(Path(folder) / "data")
        uploads = Uploads(arguments.ours.absolute(), arguments.peers.absolute(), Path(folder), environ)
        return report(compare(uploads, repetitions=arguments.repetitions))


if __name__ == "__main__":
    sys.exit(main())
