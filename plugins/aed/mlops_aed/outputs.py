"""The output kind ``events`` of ``mlops predict`` and the content types of a server, as data: no heavy imports."""

from __future__ import annotations

from mlops_core import ContentType, OptionType, OutputOption, PredictionOutput

EVENTS = PredictionOutput(
    name="events",
    help="Find events in long recordings; '-' listens to standard input (WAV).",
    formats=("table", "json", "audacity"),
    write="mlops_aed.audio.event_output:write_events",
    reads_standard_input=True,
    options=(
        OutputOption(
            name="threshold",
            help="Lowest score of an event.",
            type=OptionType.FLOAT,
            default=0.5,
            minimum=0,
            maximum=1,
        ),
        OutputOption(
            name="shortest",
            help="Leave out events shorter than this number of seconds.",
            type=OptionType.FLOAT,
            default=0.0,
            minimum=0,
            metavar="SECONDS",
        ),
        OutputOption(
            name="raw",
            help="Rate in Hz of standard input, if it is 16-bit mono without a header.",
            type=OptionType.INTEGER,
            minimum=1,
            metavar="RATE",
        ),
        OutputOption(
            name="labels",
            help="Write one file of Audacity labels per recording to this folder.",
            metavar="FOLDER",
        ),
        OutputOption(name="picture", help="Draw the recording and its events to this file.", metavar="PNG"),
    ),
)

CONTENT_TYPES = tuple(
    ContentType(media_type=media_type, suffix=suffix)
    for media_type, suffix in (
        ("audio/wav", ".wav"),
        ("audio/x-wav", ".wav"),
        ("audio/wave", ".wav"),
        ("audio/vnd.wave", ".wav"),
        ("audio/flac", ".flac"),
        ("audio/x-flac", ".flac"),
        ("audio/ogg", ".ogg"),
        ("audio/mpeg", ".mp3"),
    )
)
