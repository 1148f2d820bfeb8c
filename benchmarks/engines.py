"""Engines side by side: start-up, chains, fan-outs and re-runs of trivial steps that pass a small array.

Ours runs each step in a separate process and stores every output. Kedro's SequentialRunner keeps outputs in the memory
of one process, its ParallelRunner starts processes. DVC checks a pipeline that has nothing to do. Each product is
installed in its own environment, as its users have it.

Usage: ``python benchmarks/engines.py --ours .venv-bench/bin --peers .venv-peers/bin``
"""

from __future__ import annotations

import argparse
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Ratio, Timing, medians, report, timed_command

if TYPE_CHECKING:
    from collections.abc import Callable

PLUGIN = Path(__file__).parent / "chain_plugin"
KEDRO_PIPELINE = """\
import os
import numpy as np
from kedro.pipeline import node, pipeline

def start():
    return np.arange(1000.0)

def advance(array):
    return array + 1

def register_pipelines():
    count, is_wide = int(os.environ["COUNT"]), os.environ["WIDE"] == "1"
    nodes = [node(start, None, "a0", name="start")]
    nodes += [node(advance, "a0" if is_wide else f"a{i}", f"a{i + 1}", name=f"s{i}") for i in range(count)]
    return {"__default__": pipeline(nodes)}
"""
KEDRO_PROJECT = """\
[tool.kedro]
package_name = "chain"
project_name = "chain"
kedro_init_version = "1.7.0"
source_dir = "src"
"""
DVC_STEP = """\
import sys
import numpy as np

source, target = sys.argv[1:]
np.save(target, (np.load(source) if source != "-" else np.arange(1000.0)) + 1)
"""


def make_kedro_project(folder: Path) -> Path:
    """Write the smallest Kedro project with the same steps."""
    (folder / "src" / "chain").mkdir(parents=True)
    for name in ("base", "local"):
        (folder / "conf" / name).mkdir(parents=True)
    (folder / "pyproject.toml").write_text(KEDRO_PROJECT)
    (folder / "conf" / "base" / "catalog.yml").write_text("{}\n")
    (folder / "conf" / "base" / "parameters.yml").write_text("{}\n")
    for name, text in (("__init__", ""), ("settings", ""), ("pipeline_registry", KEDRO_PIPELINE)):
        (folder / "src" / "chain" / f"{name}.py").write_text(text)
    return folder


def make_dvc_project(folder: Path, peers: Path, *, count: int) -> Path:
    """Write a DVC pipeline with the same chain, and run it once."""
    folder.mkdir()
    (folder / "step.py").write_text(DVC_STEP)
    lines = ["stages:"]
    for index in range(count):
        source = "-" if index == 0 else f"a{index - 1}.npy"
        dependencies = "step.py" if index == 0 else f"step.py, {source}"
        lines += [
            f"  s{index}:",
            f"    cmd: {peers / 'python'} step.py {source} a{index}.npy",
            f"    deps: [{dependencies}]",
            f"    outs: [a{index}.npy]",
        ]
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    for arguments in (["init", "-q"], ["repro", "-q"]):
        subprocess.run([peers / "dvc", *arguments], cwd=folder, check=True)
    return folder


class Ours:
    """Commands of this framework."""

    def __init__(self, ours: Path, folder: Path) -> None:
        """Use the programs in `ours`, and workspaces below `folder`."""
        self._mlops = str(ours / "mlops")
        self._folder = folder

    def command(self, *arguments: str) -> Timing:
        """Return the time of a command."""
        return timed_command([self._mlops, *arguments], cwd=str(self._folder))

    def run(self, *, count: int, is_wide: bool = False, is_cold: bool) -> Timing:
        """Return the time of a run, in a new workspace or in one with all results."""
        workspace = self._folder / f"ours-{count}-{is_wide}"
        if is_cold:
            shutil.rmtree(workspace, ignore_errors=True)
        shape = ["--set", f"shape.length={count}", "--set", f"shape.is_wide={is_wide}"]
        command = [self._mlops, "--workspace", str(workspace), "run", "-u", "CHAIN", *shape]
        return timed_command(command, cwd=str(self._folder), extra={"PYTHONPATH": str(PLUGIN)})


def kedro(peers: Path, project: Path, *, count: int, is_wide: bool = False, runner: str = "SequentialRunner") -> Timing:
    """Return the time of a run in Kedro."""
    command = [str(peers / "kedro"), "run", "--runner", runner]
    return timed_command(command, cwd=str(project), extra={"COUNT": str(count), "WIDE": "1" if is_wide else "0"})


def compare(ours: Path, peers: Path, folder: Path, *, repetitions: int) -> list[Ratio]:
    """Return all ratios."""
    own = Ours(ours, folder)
    project = make_kedro_project(folder / "kedro")
    ratios: list[Ratio] = []

    def add(
        name: str, measure: Callable[[], Timing], peer: str, peer_measure: Callable[[], Timing], target: float
    ) -> None:
        ours_time, peer_time = medians([measure, peer_measure], repetitions=repetitions)
        ratios.append(Ratio(name=name, ours=ours_time, peer=peer, peer_time=peer_time, target=target))

    dvc_help = functools.partial(timed_command, [str(peers / "dvc"), "--help"])
    for name in ("--help", "list"):
        add(f"mlops {name}", functools.partial(own.command, name), "dvc --help", dvc_help, 0.5)
    for count, target in ((5, 0.8), (50, 1.0)):
        add(
            f"chain of {count}, cold",
            functools.partial(own.run, count=count, is_cold=True),
            "kedro run, SequentialRunner, in memory",
            functools.partial(kedro, peers, project, count=count),
            target,
        )
    add(
        "fan-out of 100, cold",
        functools.partial(own.run, count=100, is_wide=True, is_cold=True),
        "kedro run, ParallelRunner",
        functools.partial(kedro, peers, project, count=100, is_wide=True, runner="ParallelRunner"),
        0.2,
    )
    for count, target in ((5, 0.3), (50, 0.25)):
        repository = make_dvc_project(folder / f"dvc-{count}", peers, count=count)
        own.run(count=count, is_cold=True)
        add(
            f"chain of {count}, nothing to do",
            functools.partial(own.run, count=count, is_cold=False),
            "dvc repro, nothing to do",
            functools.partial(timed_command, [str(peers / "dvc"), "repro", "-q"], cwd=str(repository)),
            target,
        )
    ratios.append(step_overhead(own))
    return ratios


def step_overhead(own: Ours) -> Ratio:
    """Return the ratio of the time per step in a chain of 1000 to that in a chain of 50."""
    fifty, thousand = medians(
        [functools.partial(own.run, count=50, is_cold=True), functools.partial(own.run, count=1000, is_cold=True)],
        repetitions=2,
    )
    return Ratio(
        name="one of 1000 steps / one of 50 steps",
        ours=thousand.share(1000),
        peer="ours",
        peer_time=fifty.share(50),
        target=1.0,
    )


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=Path, required=True, help="folder with the program mlops")
    parser.add_argument("--peers", type=Path, required=True, help="folder with the programs kedro and dvc")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder:
        ratios = compare(
            arguments.ours.absolute(),
            arguments.peers.absolute(),
            Path(folder),
            repetitions=arguments.repetitions,
        )
    return report(ratios)


if __name__ == "__main__":
    sys.exit(main())
