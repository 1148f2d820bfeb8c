"""What ``mlops predict --events`` prints: a table, JSON or Audacity's labels, as events end, and how fast it was."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from mlops_core.cli.output import print_json
from mlops_core.errors import UsageError
from mlops_core.predictors import EventPredictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.predictors import Event, EventOptions, Listening, Predictor

FORMATS = ("table", "json", "audacity")
STANDARD_INPUT = "-"


def print_events(
    predictor: Predictor, files: Sequence[str], *, options: EventOptions, form: str, picture: str | None
) -> None:
    """Listen to each file and print its events; ``-`` is standard input.

    Raises:
        UsageError: the model cannot listen, or one picture is asked for several recordings.
        DatasetError: a recording cannot be decoded.
    """
    if not isinstance(predictor, EventPredictor):
        raise UsageError("the models of this use case answer for whole files only; leave --events out")
    if picture and len(files) > 1:
        raise UsageError("--picture draws one recording; give one file")
    documents = []
    for file in files:
        source: Path | IO[bytes] = sys.stdin.buffer if file == STANDARD_INPUT else Path(file)
        heard = predictor.listen(source, options)
        if form == "table":
            click.echo(
                f"{'onset':>10}  {'offset':>10}  {'confidence':>10}  class" + ("" if len(files) == 1 else f"  {file}")
            )
        events = [_printed(event, form) for event in heard]
        documents.append({"path": file, **_speed(heard), "events": [asdict(event) for event in events]})
        if picture:
            heard.draw(Path(picture))
        _print_speed(file, heard)
    if form == "json":
        print_json(documents)


def _printed(event: Event, form: str) -> Event:
    """Print a line at once, so that a stream can be followed; JSON waits for its end."""
    if form == "table":
        click.echo(f"{event.onset_s:10.2f}  {event.offset_s:10.2f}  {event.confidence:10.3f}  {event.label}")
    elif form == "audacity":
        click.echo(f"{event.onset_s:.6f}\t{event.offset_s:.6f}\t{event.label} {event.confidence:.2f}")
    return event


def _speed(heard: Listening) -> dict[str, float]:
    return {
        "duration_s": round(heard.duration_s, 3),
        "computed_s": round(heard.computed_s, 3),
        "real_time_factor": round(heard.computed_s / heard.duration_s, 4) if heard.duration_s else 0.0,
        "latency_s": round(heard.latency_s, 3),
    }


def _print_speed(file: str, heard: Listening) -> None:
    speed = _speed(heard)
    click.echo(
        f"{file}: {speed['duration_s']:.1f} s heard in {speed['computed_s']:.1f} s "
        f"(real-time factor {speed['real_time_factor']:.3f}), latency {speed['latency_s']:.2f} s",
        err=True,
    )
