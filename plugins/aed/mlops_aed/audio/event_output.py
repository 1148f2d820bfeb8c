"""The output of ``mlops predict --events``: a table, JSON or Audacity labels, as events end, and the speed."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, cast

from mlops_aed.audio.events import EventOptions
from mlops_core import DatasetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlops_aed.audio.events import Event
    from mlops_aed.audio.listening import AudioListening
    from mlops_core import OutputEmitter, OutputRequest, PredictionInput


class EventPredictor(Protocol):
    """A model that finds events in long recordings and streams."""

    def listen(self, source: Path | IO[bytes], options: EventOptions) -> AudioListening:
        """Start to listen to a file, or to a stream that cannot seek.

        Raises:
            DatasetError: the source cannot be decoded; also while iterating.
        """


def write_events(predictor: EventPredictor, request: OutputRequest, emitter: OutputEmitter) -> None:
    """Listen to each input and write its events; one that cannot be decoded is named, and the others are heard.

    Raises:
        UsageError: one picture or one stream of Audacity labels is asked for several recordings, a file cannot be
            written, or standard input is described and not read.
        DatasetError: recordings cannot be decoded; all others were heard.
    """
    if request.options["raw"] is not None and not any(recording.name == "-" for recording in request.inputs):
        raise UsageError(
            "--raw describes standard input, which is not among the files; give '-' and pipe the samples in"
        )
    places = _label_files(request)
    picture = _picture(request)
    documents: list[dict[str, object]] = []
    faults: list[str] = []
    for recording in request.inputs:
        try:
            with _writer(emitter, places.get(recording.name)) as write:
                documents.append(_hear(predictor, request, recording, emitter=emitter, write=write, picture=picture))
        except DatasetError as error:
            fault = str(error).replace(Path(recording.name).name, recording.name, 1)
            documents.append({"path": recording.name, "error": fault})
            faults.append(fault)
    if request.format == "json":
        emitter.document(documents)
    if len(request.inputs) == 1 and faults:
        raise DatasetError(faults[0])
    if faults:
        raise DatasetError(f"{len(faults)} of {len(request.inputs)} recordings cannot be heard: {'; '.join(faults)}")


def _hear(
    predictor: EventPredictor,
    request: OutputRequest,
    recording: PredictionInput,
    *,
    emitter: OutputEmitter,
    write: Callable[[str], object],
    picture: Path | None,
) -> dict[str, object]:
    """Write the events of one recording as they end; return them with the speed."""
    listening = predictor.listen(recording.content, _options(request))
    if request.format == "table":
        suffix = "" if len(request.inputs) == 1 else f"  {recording.name}"
        write(f"{'onset':>10}  {'offset':>10}  {'confidence':>10}  class{suffix}")
    events = []
    for event in listening:
        if request.format != "json":
            write(_table_row(event) if request.format == "table" else _audacity_label(event))
        events.append(asdict(event))
    speed = _speed(listening)
    if picture is not None:
        listening.draw(picture)
    emitter.note(
        f"{recording.name}: {speed['duration_s']:.1f} s heard in {speed['computed_s']:.1f} s "
        f"(real-time factor {speed['real_time_factor']:.3f}), latency {speed['latency_s']:.2f} s"
    )
    return {"path": recording.name, **speed, "events": events}


def _label_files(request: OutputRequest) -> dict[str, Path]:
    """Return for each recording the file of its Audacity labels; none if they go to standard output."""
    folder = cast("str | None", request.options["labels"])
    if request.format != "audacity":
        if folder is not None:
            raise UsageError("--labels is the folder of Audacity labels; set --events audacity")
        return {}
    if folder is None:
        if len(request.inputs) > 1:
            raise UsageError(
                "a file of Audacity labels belongs to one recording; "
                f"for {len(request.inputs)} recordings set --labels FOLDER, which receives a file for each"
            )
        return {}
    if not Path(folder).is_dir():
        raise UsageError(f"--labels: {folder} is not a folder; expected an existing one")
    files = {item.name: Path(folder) / f"{_stem(item.name)}.txt" for item in request.inputs}
    _require_different(request, files)
    existing = next((path for path in files.values() if path.exists()), None)
    if existing is not None:
        raise UsageError(f"--labels: {existing} exists and is not overwritten; remove it or choose another folder")
    return files


def _require_different(request: OutputRequest, files: Mapping[str, Path]) -> None:
    """Refuse two recordings whose labels would be one file, also where a file system ignores the case of names."""
    seen: dict[str, str] = {}
    for name in (recording.name for recording in request.inputs):
        key = files[name].name.casefold()
        if key in seen:
            raise UsageError(
                f"--labels: {files[name]} would hold the labels of {seen[key]} and of {name}; "
                "give recordings of different names, or call mlops once for each"
            )
        seen[key] = name


def _stem(name: str) -> str:
    return "standard-input" if name == "-" else Path(name).stem


@contextlib.contextmanager
def _writer(emitter: OutputEmitter, place: Path | None) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes a line to standard output, or to `place`, which is removed after a fault."""
    if place is None:
        yield emitter.line
        return
    try:
        with place.open("w", encoding="utf-8") as stream:
            yield lambda text: stream.write(f"{text}\n")
    except DatasetError:
        place.unlink()
        raise
    emitter.note(f"labels: {place}")


def _picture(request: OutputRequest) -> Path | None:
    """Return the file of the picture, checked before anything is heard; None for none."""
    picture = cast("str | None", request.options["picture"])
    if not picture:
        return None
    if len(request.inputs) > 1:
        raise UsageError("--picture draws one recording; give one file")
    from mlops_aed.audio.pictures import check_picture

    check_picture(Path(picture))
    return Path(picture)


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
