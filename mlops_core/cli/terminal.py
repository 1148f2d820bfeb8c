"""Rich on a terminal: tables and progress bars whose texts cannot move the cursor, set colours or hide anything.

Rich writes its own styles and cursor movements past the streams that escape control characters, so the texts are
escaped here, in every segment that is rendered.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.segment import Segment

from mlops_core.cli.streams import EscapingStream, styled_stream
from mlops_core.control_characters import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.console import ConsoleOptions, RenderableType
    from rich.live import Live
    from rich.progress import Progress


class EscapingConsole(Console):
    """A console of rich that shows control characters in texts; markup and emoji codes in texts mean nothing."""

    def __init__(self, stream: TextIO) -> None:
        """Write to a standard stream."""
        super().__init__(file=styled_stream(stream), highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render to segments; those that are not rich's own control codes are escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escape_controls(segment.text), segment.style)


def start_live(display: Progress | Live) -> None:
    """Show a display; what is printed meanwhile appears above it, escaped before rich looks for styles in it."""
    display.start()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if hasattr(stream, "rich_proxied_file"):
            setattr(sys, name, cast("TextIO", EscapingStream(stream)))
