"""The output of ``mlops predict --events``: a table, JSON or Audacity labels, as events end, and the speed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, cast

from mlops_aed.audio.events import EventOptions
from mlops_core import UsageError

if TYPE_CHECKING:
    from mlops_aed.audio.events import Event
    from mlops_aed.audio.listening import AudioListening
    from mlops_core import OutputEmitter, OutputRequest


class EventPredictor(Protocol):
    """A model that finds events in long recordings and streams."""

    def listen(self, source: Path | IO[bytes], options: EventOptions) -> AudioListening:
        """Start to listen to a file, or to a stream that cannot seek.

        Raises:
            DatasetError: the source cannot be decoded; also while iterating.
        """


def write_events(predictor: EventPredictor, request: OutputRequest, emitter: OutputEmitter) -> None:
    """Listen to each input and write its events.

    Raises:
        UsageError: one picture is asked for several recordings, or its format is unknown.
        DatasetError: a recording cannot be decoded.
    """
    picture = cast("str | None", request.options["picture"])
    if picture and len(request.inputs) > 1:
        raise UsageError("--picture draws one recording; give one file")
    documents = []
    for recording in request.inputs:
        listening = predictor.listen(recording.content, _options(request))
        if request.format == "table":
            suffix = "" if len(request.inputs) == 1 else f"  {recording.name}"
            emitter.line(f"{'onset':>10}  {'offset':>10}  {'confidence':>10}  class{suffix}")
        events = []
        for event in listening:
            if request.format != "json":
                emitter.line(_table_row(event) if request.format == "table" else _audacity_label(event))
            events.append(asdict(event))
        speed = _speed(listening)
        documents.append({"path": recording.name, **speed, "events": events})
        if picture:
            listening.draw(Path(picture))
        emitter.note(
            f"{recording.name}: {speed['duration_s']:.1f} s heard in {speed['computed_s']:.1f} s "
            f"(real-time factor {speed['real_time_factor']:.3f}), latency {speed['latency_s']:.2f} s"
        )
    if request.format == "json":
        emitter.document(documents)


def _options(request: OutputRequest) -> EventOptions:
    return EventOptions(
        threshold=cast("float", request.options["threshold"]),
        shortest_s=cast("float", request.options["shortest"]),
        raw_rate_hz=cast("int | None", request.options["raw"]),
    )


def _table_row(event: Event) -> str:
    return f"{event.onset_s:10.2f}  {event.offset_s:10.2f}  {event.confidence:10.3f}  {event.label}"


def _audacity_label(event: Event) -> str:
    return f"{event.onset_s:.6f}\t{event.offset_s:.6f}\t{event.label} {event.confidence:.2f}"


def _speed(listening: AudioListening) -> dict[str, float]:
    duration_s, computed_s = listening.duration_s, listening.computed_s
    return {
        "duration_s": round(duration_s, 3),
        "computed_s": round(computed_s, 3),
        "real_time_factor": round(computed_s / duration_s, 4) if duration_s else 0.0,
        "latency_s": round(listening.latency_s, 3),
    }
