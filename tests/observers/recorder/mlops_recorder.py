"""An observer that writes what it receives to ``events.jsonl``, and misbehaves as the file ``behaviour`` says."""

import json
import os
import time
from pathlib import Path

from mlops_core.observers import ObserverUnavailableError, hookimpl


def receive(context, **event):
    folder = Path(context.settings["folder"])
    behaviour = (folder / "behaviour").read_text() if (folder / "behaviour").exists() else ""
    with (folder / "calls").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    if behaviour == "unavailable":
        raise ObserverUnavailableError("the recorder is away; start it")
    if behaviour == "raise":
        raise ValueError("a defect of the recorder")
    if behaviour == "exit":
        os._exit(3)
    if behaviour == "hang":
        time.sleep(600)
    if behaviour == "flood":
        for _ in range(200):
            os.write(1, b"x" * 10_000)
    with (folder / "events.jsonl").open("a") as stream:
        stream.write(json.dumps(event) + "\n")


@hookimpl
def mlops_observe_run(run, context):
    receive(
        context,
        kind="run",
        phase=run.phase,
        run=run.record.run_id,
        status=run.record.status,
        metrics=dict(run.metrics),
        scale=run.parameters.get("features.scale"),
        has_report=(run.folder / "report.html").is_file(),
    )


@hookimpl
def mlops_observe_step(step, context):
    steps = {output: len(rows) for output, rows in step.histories.items()}
    receive(context, kind="step", phase=step.phase, run=step.run_id, name=step.record.name, histories=steps)


@hookimpl
def mlops_observe_model(model, context):
    has_files = model.folder is not None and any(model.folder.iterdir())
    receive(context, kind="model", version=model.version.version, status=model.entry.value, has_files=has_files)


@hookimpl
def mlops_observe_alias(alias, context):
    receive(context, kind="alias", alias=alias.alias, version=alias.version)
