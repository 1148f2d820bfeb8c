"""Registers, promotes, approves and aliases versions until it is killed; prints what is done after it is done.

Run as a script: the workspace and a number that no other process of the test has.
"""

import itertools
import sys
from pathlib import Path

from mlops_core.predictions import Prediction, write_predictions
from mlops_core.runners.evidence import version_comparison
from mlops_core.workspace.model_versions import ApprovalStatus, ModelVersion
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

SAMPLES = 40


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def add(store, name, write):
    folder = store.work_folder(name) / "content"
    folder.mkdir()
    write(folder)
    digest = store.artifacts.add(folder)
    store.remove_work_folder(folder.parent)
    return digest


def write_answers(folder, *, right):
    write_predictions(
        folder,
        ("no", "yes"),
        [
            Prediction(sample=f"s{n}", group=f"s{n}", label="yes", scores=(0.0, 1.0) if n < right else (1.0, 0.0))
            for n in range(SAMPLES)
        ],
    )


def candidate(store, name, right):
    predictions = add(store, "predictions", lambda folder: write_answers(folder, right=right))
    model = add(store, "model", lambda folder: (folder / "model.txt").write_text(name))
    step = StepRecord(name="evaluate", outputs={"predictions": predictions})
    facts = {"plugin": "toy 1", "config": "", "created": "2026-01-01"}
    run = {"runner": "local", "status": RunStatus.ACCEPTED, "seed": 0, "parameters": {}, "pipeline": {}}
    store.runs.save(RunRecord(run_id=name, use_case="TOY", steps=(step,), **facts, **run))
    compared = {"metrics": {"acc": right / SAMPLES}, "compared_by": "acc", "test_set": "t"}
    return ModelVersion(use_case="TOY", version=0, run_id=name, artifact=model, **facts, **compared)


def main(home, process):
    say("begins")
    with Store(Path(home)) as store:
        registry = Registry(store)
        compare = version_comparison(store, lambda: None)
        say("ready")
        for count in itertools.count():
            version = registry.register(candidate(store, f"run-{process}-{count}", right=(count * 7 + 1) % SAMPLES))
            say(f"registered {version.version}")
            say(registry.promote_best(version, compare=compare))
            registry.set_status(version, ApprovalStatus.APPROVED, why="checked")
            say(f"approved {version.version}")
            say(registry.promote_best(version, compare=compare))
            before = registry.alias_target("TOY", "production")
            registry.move_alias("TOY", "production", version=version.version, expected=before, why="ship")
            say(f"shipped {version.version}")


if __name__ == "__main__":
    main(*sys.argv[1:])
