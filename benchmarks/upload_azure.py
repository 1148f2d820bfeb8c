"""Upload of a data set to Azure, against azure-storage-blob with ten threads: 2,000 files of 440 KB, discarded here.

Ours is the command `mlops fetch --to azureml://`, once with known digests of the files, as after a fetch or a run, and
once with hashing all files first; it asks a workspace on loopback for the datastore. The peer is a script that uploads
each file with ``ContainerClient.upload_blob``. Both are measured as whole commands, against the same server. Afterwards
the unchanged data set is checked again, as a command and as the call within it.

Usage: ``python benchmarks/upload_azure.py --ours .venv/bin --peers .venv-peers/bin``
"""

from __future__ import annotations

import argparse
import base64
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
from upload import FILES, PLUGIN, SERVER, generate

if TYPE_CHECKING:
    from collections.abc import Iterator

FASTER = 3.0
RECHECK_S = 0.5
KEY = base64.b64encode(b"key of the discarding server").decode()
WORKSPACE = (
    "import json, sys, pathlib\n"
    "from mlops_azureml.emulator.server import AzureMlEndpoint\n"
    "from mlops_azureml.emulator.state import ExternalStorage\n"
    "storage = ExternalStorage(address=sys.argv[1], account='bench', container='bench', key=sys.argv[3])\n"
    "with AzureMlEndpoint(pathlib.Path(sys.argv[2]), storage=storage) as endpoint:\n"
    "    print(json.dumps(dict(endpoint.environment())), flush=True)\n"
    "    sys.stdin.read()\n"
)
PEER = (
    "import pathlib, sys\n"
    "from concurrent.futures import ThreadPoolExecutor\n"
    "from azure.storage.blob import ContainerClient\n"
    "client = ContainerClient(sys.argv[1], 'bench', credential=sys.argv[2])\n"
    "def send(path):\n"
    "    with path.open('rb') as stream:\n"
    "        client.upload_blob(f'{sys.argv[4]}/{path.name}', stream, overwrite=True)\n"
    "with ThreadPoolExecutor(10) as pool:\n"
    "    list(pool.map(send, sorted(pathlib.Path(sys.argv[3]).iterdir())))\n"
)


@contextlib.contextmanager
def process(command: list[str]) -> Iterator[str]:
    """Start a server that prints a line when it is ready, and ends with its input; yield the line."""
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdin
    assert started.stdout
    try:
        yield started.stdout.readline().strip()
    finally:
        started.stdin.close()
        print(started.stdout.read().strip(), file=sys.stderr)
        started.wait(timeout=30)


class Uploads:
    """The two commands."""

    def __init__(self, ours: Path, peers: Path, folder: Path, *, port: str, environ: dict[str, str]) -> None:
        """Upload the folder ``data`` in `folder`."""
        self._mlops, self._python, self._peer = str(ours / "mlops"), str(ours / "python"), str(peers / "python")
        self._folder = folder
        self._port = port
        self._environ = {**environ, "PYTHONPATH": str(PLUGIN)}
        self._numbers = itertools.count()

    def ours(self, *, workspace: str | None = None, place: str | None = None) -> Timing:
        """Return the time of ``mlops fetch --to``, in a new workspace unless `workspace` is given."""
        number = next(self._numbers)
        data = f'dataset.path="{self._folder / "data"}"'
        target = f"azureml://datastores/workspaceblobstore/paths/{place or f'ours-{number}'}/"
        command = [self._mlops, "--workspace", str(self._folder / (workspace or f"workspace-{number}"))]
        command += ["fetch", "-u", "CHAIN", "--set", data, "--to", target]
        return timed_command(command, extra=self._environ)

    def peer(self) -> Timing:
        """Return the time of azure-storage-blob with ten threads."""
        address = f"http://127.0.0.1:{self._port}/bench"
        place = f"peer-{next(self._numbers)}"
        command = [self._peer, "-c", PEER, address, KEY, str(self._folder / "data"), place]
        return timed_command(command, extra={})

    def recheck_call(self) -> Timing:
        """Return the time of the check within the command, without imports, sign-in and looking up the datastore."""
        code = (
            "import sys, time\n"
            "from pathlib import Path\n"
            "from mlops_core.api import prepare_run\n"
            "from mlops_core.workspace.store import Store\n"
            "from mlops_core.runners.remote.datasets import provide_dataset\n"
            "from mlops_azureml.options import AzureMlOptions\n"
            "from mlops_azureml.plugin import AZUREML\n"
            "request = prepare_run('CHAIN', overrides=[sys.argv[1]])\n"
            "bucket = AZUREML.open_bucket(sys.argv[3], AzureMlOptions())\n"
            "with Store(Path(sys.argv[2])) as store:\n"
            "    began, spent = time.perf_counter(), time.process_time()\n"
            "    result = provide_dataset(request, sys.argv[3], store=store, bucket=bucket, progress=lambda *_: None)\n"
            "    print(time.perf_counter() - began, time.process_time() - spent, result.sent)\n"
        )
        data = f'dataset.path="{self._folder / "data"}"'
        target = "azureml://datastores/workspaceblobstore/paths/same/"
        command = [self._python, "-c", code, data, str(self._folder / "known"), target]
        environ = {**os.environ, **self._environ}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        wall_s, processor_s, sent = done.stdout.split()
        assert sent == "0"
        return Timing(wall_s=float(wall_s), processor_s=float(processor_s))


def compare(uploads: Uploads, *, repetitions: int) -> list[Ratio]:
    """Return all ratios, and print the rates."""
    uploads.ours(workspace="known", place="same")
    time.sleep(0.1)
    known, cold, other = medians(
        [functools.partial(uploads.ours, workspace="known"), uploads.ours, uploads.peer], repetitions=repetitions
    )
    peer = "azure-storage-blob, 10 threads"
    print(
        f"files/s: ours {FILES / known.wall_s:.0f}, hashing first {FILES / cold.wall_s:.0f}; "
        f"{peer} {FILES / other.wall_s:.0f}"
    )
    print(
        f"speed relative to {peer}: {other.wall_s / known.wall_s:.2f}, hashing first {other.wall_s / cold.wall_s:.2f}; "
        f"expected {FASTER:g}"
    )
    print(f"processor time: ours {known.processor_s:.2f} s, {peer} {other.processor_s:.2f} s")
    again = functools.partial(uploads.ours, workspace="known", place="same")
    command, call = medians([again, uploads.recheck_call], repetitions=repetitions)
    print(f"unchanged data checked again: {call.wall_s:.3f} s; as a whole command {command.wall_s:.3f} s")
    return [
        Ratio(name="upload, digests known", ours=known, peer=peer, peer_time=other, target=1 / FASTER),
        Ratio(name="upload, hashing first", ours=cold, peer=peer, peer_time=other, target=1 / FASTER),
        Ratio(name="checked again, the call", ours=call, peer="half a second", peer_time=RECHECK_S, target=1.0),
    ]


def main() -> int:
    """Measure, and print the table."""
    import json

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=Path, required=True, help="folder with mlops and python, with mlops-azureml")
    parser.add_argument("--peers", type=Path, required=True, help="folder with a python that has azure-storage-blob")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    ours = arguments.ours.absolute()
    with (
        tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder,
        process([sys.executable, str(SERVER)]) as port,
        process([str(ours / "python"), "-c", WORKSPACE, f"127.0.0.1:{port}", f"{folder}/endpoint", KEY]) as environ,
    ):
        generate(Path(folder) / "data")
        uploads = Uploads(ours, arguments.peers.absolute(), Path(folder), port=port, environ=json.loads(environ))
        return report(compare(uploads, repetitions=arguments.repetitions))


if __name__ == "__main__":
    sys.exit(main())
