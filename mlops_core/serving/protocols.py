"""What an engine may add to the protocol of a server: further documents, headers, and lines that capture requests.

The default protocol is ``GET /ping`` and ``POST /invocations``. An engine derives `ServingProtocol` and announces an
instance in the entry-point group ``mlops.serving``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import PluginError, UsageError, did_you_mean
from mlops_core.installed.distributions import entry_points
from mlops_core.installed.plugins import import_target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import PurePosixPath

    from mlops_core.predictors import ContentType

GROUP = "mlops.serving"
DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """What a protocol may say about a server.

    Attributes:
        use_case: name of the use case.
        model: the version or folder of the model.
        workers: number of worker processes.
        max_body_bytes: largest body of a request.
        content_types: of requests; empty while the model is being loaded.
    """

    use_case: str
    model: str
    workers: int
    max_body_bytes: int
    content_types: tuple[ContentType, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request that was answered.

    Attributes:
        request_id: id of the request.
        received: when it arrived; UTC.
        headers: of the request, by their names in lower case.
        content_type: media type of its body.
        body: its body.
        answer_type: media type of the answer.
        answer: body of the answer.
        model: use case and version or folder of the model that answered; empty where it is not known.
    """

    request_id: str
    received: datetime
    headers: Mapping[str, str]
    content_type: str
    body: bytes
    answer_type: str
    answer: bytes
    model: str = ""


class ServingProtocol:
    """The default protocol, and the base of those of engines.

    Attributes:
        name: the entry point's name, and the value of ``--protocol``.
        can_capture: `captured`, `capture_file` and `read_captured` are implemented.
    """

    name: str = DEFAULT
    can_capture: bool = False

    def documents(self, facts: ServiceFacts) -> Mapping[str, Mapping[str, Any]]:
        """Return path -> JSON document of each further path that answers GET."""
        del facts
        return {}

    def response_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return further headers of the answer to a request with these headers.

        Raises:
            RefusedRequestError: a header is not legal.
        """
        del headers
        return {}

    def captured(self, exchange: Exchange) -> Mapping[str, Any]:
        """Return the line that captures a request with its answer."""
        del exchange
        raise UsageError(f"protocol '{self.name}' captures no requests; choose another one with --protocol")

    def read_captured(self, line: Mapping[str, Any]) -> Exchange | None:
        """Return the request with its answer that `captured`, or the engine's own service, wrote.

        Args:
            line: a line of a captured file.

        Returns:
            None for a line of another format.

        Raises:
            ValueError: the line is of this format, but damaged.
        """
        del line
        return None

    def capture_file(self, facts: ServiceFacts, moment: datetime) -> PurePosixPath:
        """Return the file for lines of this moment, relative to the folder of ``--capture``."""
        del facts, moment
        raise UsageError(f"protocol '{self.name}' captures no requests; choose another one with --protocol")


def capturing_protocols() -> tuple[ServingProtocol, ...]:
    """Return the installed protocols that capture requests.

    Raises:
        PluginError: one cannot be imported.
    """
    protocols = (load_protocol(name) for name in sorted({entry.name for entry in entry_points(GROUP)}))
    return tuple(protocol for protocol in protocols if protocol.can_capture)


def load_protocol(name: str) -> ServingProtocol:
    """Return the protocol called `name`.

    Raises:
        UsageError: it is not installed.
        PluginError: it cannot be imported, or is not a protocol.
    """
    if name == DEFAULT:
        return ServingProtocol()
    installed = {entry.name: entry for entry in entry_points(GROUP)}
    if name not in installed:
        known = (DEFAULT, *sorted(installed))
        raise UsageError(
            f"no serving protocol '{name}'{did_you_mean(name, known) or ';'} installed: {', '.join(known)}"
        )
    entry = installed[name]
    what = f"serving protocol '{name}' ({entry.distribution})"
    protocol = import_target(entry.value, what=what)
    if not isinstance(protocol, ServingProtocol):
        raise PluginError(
            f"{what}: {entry.value} is a {type(protocol).__name__}; expected "
            "an instance of mlops_core.serving.ServingProtocol"
        )
    return protocol
