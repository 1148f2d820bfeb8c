"""Evidence bundles: writing one, verifying the bytes of a large one, and computing metrics again.

The run is that of the audio use case with its defaults, on its generated data. Each limit is measured in the same
minute: SHA-256 of the bundle's contents, the start of a process that imports what ``mlops verify`` needs, and the time
in which a process loads the plugin and computes the metrics from the same predictions, as the evaluation does.

Usage: ``python benchmarks/trust.py [--workspace FOLDER]`` (with the run of AED that is to be used)
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path

from measuring import Ratio, Timing, medians, report, timed_command

from mlops_core.pipeline import PREDICTIONS_OUTPUT
from mlops_core.trust.bundles.archive import ATTESTATIONS, Member, write_archive
from mlops_core.trust.bundles.bundle import find_subject, write_bundle
from mlops_core.trust.bundles.envelopes import open_envelope, seal
from mlops_core.trust.bundles.keys import SigningKey, read_signing_key, write_key_pair
from mlops_core.trust.bundles.statements import read_statement, write_statement
from mlops_core.workspace.store import Store

USE_CASE = "AED"
OBJECTS, OBJECT_BYTES = 6, 64 << 20
START = """
import mlops_core.cli.trust.verify, mlops_core.trust.bundles.verification, mlops_core.trust.bundles.keys
mlops_core.trust.bundles.keys.require_cryptography()
"""
HASHLIB = "import hashlib, sys; hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256')"
METRICS = """
import sys, tempfile
from pathlib import Path
from mlops_core.evaluation.evaluation_file import write_evaluation
from mlops_core.pipeline import Pipeline
from mlops_core.predictions import digest_test_set, read_predictions
from mlops_core.steps.evaluation import evaluate_predictions
from mlops_core.use_cases.manager import load_use_case
import json
pipeline = Pipeline.from_json(json.loads(Path(sys.argv[3]).read_text())["pipeline"])
predictions = read_predictions(Path(sys.argv[2]))
report = evaluate_predictions(predictions, load_use_case(sys.argv[1]).compute_metrics, metrics=pipeline.metrics)
digest_test_set(predictions)
with tempfile.TemporaryDirectory() as folder:
    write_evaluation(Path(folder), report, pipeline.metrics)
"""


def enlarged(source: Path, target: Path, key: SigningKey) -> int:
    """Write a bundle with further objects of random bytes, signed again; return the size of its contents."""
    with tarfile.open(source) as archive:
        files = {info.name: archive.extractfile(info).read() for info in archive}
    payloads = [open_envelope(line).payload for line in files.pop(ATTESTATIONS).splitlines()]
    for _ in range(OBJECTS):
        content = os.urandom(OBJECT_BYTES)
        files[f"objects/{hashlib.sha256(content).hexdigest()}"] = content
    members = [
        Member(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in sorted(files.items())
    ]
    first = read_statement(payloads[0])
    listed = [{"name": one.name, "size": one.size, "sha256": one.sha256} for one in members]
    payloads[0] = write_statement(first.predicate_type, {**first.predicate, "files": listed}, artifact=first.artifact)
    lines = b"".join(seal(payload, key) + b"\n" for payload in payloads)
    envelopes = Member(name=ATTESTATIONS, size=len(lines), sha256=hashlib.sha256(lines).hexdigest())
    write_archive(target, [(envelopes, lines), *((member, files[member.name]) for member in members)])
    return sum(member.size for member in members)


def less(timing: Timing, start: Timing) -> Timing:
    """Return a time without the start of the process."""
    return Timing(
        wall_s=max(timing.wall_s - start.wall_s, 1e-3), processor_s=max(timing.processor_s - start.processor_s, 1e-3)
    )


def limit(hashing: Timing, start: Timing) -> Timing:
    """Return 1.5 times the time of SHA-256, and the start of the process."""
    return Timing(wall_s=1.5 * hashing.wall_s + start.wall_s, processor_s=1.5 * hashing.processor_s + start.processor_s)


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path)
    given = parser.parse_args().workspace
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as name:
        place = Path(name)
        workspace = given or place / "workspace"
        mlops = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
        if given is None:
            timed_command([*mlops, "--workspace", str(workspace), "run", "--usecase", USE_CASE])
        write_key_pair(place / "key.pem")
        key = read_signing_key(place / "key.pem")
        with Store(workspace) as store:
            run_id = store.runs.newest(use_case=USE_CASE, limit=1)[0].run_id
            record = store.runs.load(run_id)
            write_bundle(store, find_subject(store, run_id), place / "bundle.tar", key=key)
            evaluation = record.step("evaluate").outputs[PREDICTIONS_OUTPUT]
            predictions = store.artifacts.path(evaluation)
        (place / "run.json").write_text(json.dumps(record.to_json()))
        size = enlarged(place / "bundle.tar", place / "large.tar", key)
        verify = [*mlops, "verify", "--key", str(place / "key.pub.pem")]
        commands = {
            "bundle": [
                *(*mlops, "--workspace", str(workspace), "bundle", run_id),
                *("-o", str(place / "b.tar"), "--key", str(place / "key.pem")),
            ],
            "large": [*verify, "--no-recompute", str(place / "large.tar")],
            "whole": [*verify, "--require-recomputed", str(place / "bundle.tar")],
            "start": [sys.executable, "-c", START],
            "hashing": ["sha256sum", str(place / "large.tar")],
            "hashlib": [sys.executable, "-c", HASHLIB, str(place / "large.tar")],  # with the processor's instructions
            "metrics": [sys.executable, "-c", METRICS, USE_CASE, str(predictions), str(place / "run.json")],
        }
        measures = [functools.partial(timed_command, command, cwd=name) for command in commands.values()]
        found = dict(zip(commands, medians(measures, repetitions=5), strict=True))
    shown = f"verify {size >> 20} MiB, no recomputation"
    limits = limit(found["hashing"], found["start"])
    strict = limit(found["hashlib"], found["start"])
    whole = less(found["whole"], found["start"])
    return report(
        [
            Ratio(
                name=f"bundle of {USE_CASE}'s default run", ours=found["bundle"], peer="1 s", peer_time=1.0, target=1.0
            ),
            Ratio(name=shown, ours=found["large"], peer="1.5 sha256sum + start", peer_time=limits, target=1.0),
            Ratio(name="the same", ours=found["large"], peer="1.5 hashlib + start", peer_time=strict, target=1.0),
            Ratio(
                name="verify, less its start", ours=whole, peer="metrics alone", peer_time=found["metrics"], target=2.0
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
