"""The witness: a listener on loopback to which every step of PROBE reports, and from which it receives instructions.

It sees what no runner can fake: which process of which step existed from when to when, what it received and what it
wrote. Because steps wait for its answer, the checks need no pauses and do not depend on timing.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MEET_S = 20.0
_LINGER_S = 1.0
_POLL_S = 0.01


@dataclass(slots=True, kw_only=True)
class Visit:
    """One process of a step, from its report to its end.

    Attributes:
        scenario: of the run.
        step: name of the step.
        facts: pid, shard, seed, parameters, sections and the files of its inputs, as the step sees them.
        answer: its instruction.
        began: when it reported, on the monotonic clock.
        done: when it had written its outputs; None while it has not.
        ended: when its connection was closed, by itself or because its process ended; None while it is open.
        outputs: output -> relative path -> SHA-256, as the step wrote them.
        has_met: another process was waiting at the same time (answer ``meet``).
    """

    scenario: str
    step: str
    facts: Mapping[str, Any]
    answer: str = ""
    began: float = field(default_factory=time.monotonic)
    done: float | None = None
    ended: float | None = None
    outputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    has_met: bool = False

    @property
    def pid(self) -> int:
        """Process id."""
        return int(self.facts["pid"])


class Witness:
    """A context manager; answers ``go`` unless something else was planned."""

    def __init__(self) -> None:
        """Listen on a free port of loopback."""
        self._lock = threading.Lock()
        self._visits: list[Visit] = []
        self._plans: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._released: set[str] = set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.witness = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def plan(self, scenario: str, answers: Mapping[str, Sequence[str]]) -> None:
        """Answer the next processes of each step of a scenario in this order, later ones with ``go``.

        Args:
            scenario: name of the scenario.
            answers: step -> ``go``, ``raise``, ``exit``, ``nothing``, ``allocate``, ``meet`` (wait until two processes
                of the scenario wait at the same time), ``linger`` (wait a moment for another process), or ``hold``
                (no answer before `release`).
        """
        with self._lock:
            for step, planned in answers.items():
                self._plans[scenario, step] = list(planned)

    def release(self, scenario: str) -> None:
        """Release processes that are held."""
        with self._lock:
            self._released.add(scenario)

    def visits(self, scenario: str, step: str = "") -> tuple[Visit, ...]:
        """Return the processes of a scenario, or of one of its steps, in the order in which they reported."""
        with self._lock:
            return tuple(v for v in self._visits if v.scenario == scenario and step in ("", v.step))

    def all_visits(self) -> tuple[Visit, ...]:
        """Return the processes of all scenarios."""
        with self._lock:
            return tuple(self._visits)

    def wait_for(self, condition: Callable[[], bool], *, timeout_s: float) -> bool:
        """Wait until a condition holds; tell whether it does."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def serve(self, stream: Any) -> None:
        """Serve one process from its report to the end of its connection."""
        report = json.loads(stream.readline())
        visit = Visit(scenario=report.pop("scenario"), step=report.pop("step"), facts=report)
        with self._lock:
            planned = self._plans[visit.scenario, visit.step]
            visit.answer = planned.pop(0) if planned else "go"
            self._visits.append(visit)
        try:
            self._answer(visit, stream)
            for line in stream:
                visit.done, visit.outputs = time.monotonic(), json.loads(line)["outputs"]
        except (OSError, ValueError):
            pass  # the process was killed
        finally:
            visit.ended = time.monotonic()

    def _answer(self, visit: Visit, stream: Any) -> None:
        if visit.answer == "linger":
            self.wait_for(lambda: self._is_accompanied(visit), timeout_s=_LINGER_S)
        elif visit.answer == "meet":
            visit.has_met = self.wait_for(lambda: self._is_met(visit), timeout_s=_MEET_S)
        elif visit.answer == "hold":
            stream.connection.setblocking(False)
            self.wait_for(lambda: visit.scenario in self._released or _is_closed(stream.connection), timeout_s=600)
            stream.connection.setblocking(True)
        stream.write(b"go\n" if visit.answer in ("meet", "hold", "linger") else f"{visit.answer}\n".encode())
        stream.flush()

    def _is_accompanied(self, visit: Visit) -> bool:
        """Tell whether another process of the scenario is at work."""
        return any(other is not visit and other.done is None for other in self.visits(visit.scenario))

    def _is_met(self, visit: Visit) -> bool:
        """Tell whether another process that has to meet this one has reported and not ended before this one came."""
        return any(
            other is not visit and other.answer == "meet" and (other.done is None or other.done > visit.began)
            for other in self.visits(visit.scenario)
        )


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    witness: Witness


class _Stream:
    """The connection of one process as binary lines."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._file = connection.makefile("rwb")

    def readline(self) -> bytes:
        return self._file.readline()

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def __iter__(self) -> Any:
        return iter(self._file)


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)  # noqa: S101  for mypy
        server.witness.serve(_Stream(self.request))
