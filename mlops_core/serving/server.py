"""The process of a server: options, its socket, uvicorn inside it, signals, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.errors import ExitCode, MlopsError, UsageError
from mlops_core.quantities import format_size
from mlops_core.runners.environment import usable_cores
from mlops_core.serving.front.negotiation import is_answer_type

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.serving.drift.alarms import DriftAlarm
    from mlops_core.serving.front.application import ModelService
    from mlops_core.serving.front.connections import FrontServer
    from mlops_core.serving.models import ServedModel
    from mlops_core.serving.observing import DriftDetector
    from mlops_core.serving.watch.options import WatchOptions
    from mlops_core.serving.watch.watching import DriftWatch

DEFAULT_PORT = 8080
DEFAULT_MAX_BODY_BYTES = 25 << 20
DEFAULT_TIMEOUT_S = 55.0
_BACKLOG = 2048
_SAVE_INTERVAL_S = 15.0
_NOTE_INTERVAL_S = 600.0
"""While drift lasts, alarms follow each other; standard error names one in this time, and each proposal."""
_REQUIRED = "needs the packages of the extra 'serve'; pip install 'mlops-usecases[serve]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Options of a server.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        workers: number of worker processes; None for one per core.
        max_waiting: requests that may wait for a worker; None for four per worker.
        max_body_bytes: largest body of a request.
        timeout_s: time that a request may take.
        default_accept: media type of the answer to a request that accepts any.
        protocol: name of the protocol.
        capture: folder for captured requests; None to capture none.
        logs_requests: write a line of JSON per request to standard output.
        drift: how to watch for drift; None not to watch.
        trusted_hosts: further names by which a server on this machine's own address may be called, and whose pages
            may call it.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    workers: int | None = None
    max_waiting: int | None = None
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    timeout_s: float = DEFAULT_TIMEOUT_S
    default_accept: str = "application/json"
    protocol: str = "default"
    capture: Path | None = None
    logs_requests: bool = True
    drift: WatchOptions | None = None
    trusted_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the media type.

        Raises:
            UsageError: the server has no such answer.
        """
        if not is_answer_type(self.default_accept):
            raise UsageError(f"answers cannot be {self.default_accept!r}; expected a type such as application/json")


def serve(
    model: ServedModel,
    options: ServeOptions,
    *,
    detector: DriftDetector | None = None,
    listener: socket.socket | None = None,
) -> ExitCode:
    """Serve a model until the process receives SIGTERM or SIGINT; return the exit code.

    Args:
        model: from `find_model`.
        options: address and limits.
        detector: observes the answers, in place of the detector of `ServeOptions.drift`; None for that one.
        listener: a socket that listens already, in place of one at the address of the options; it is closed at the end.

    Raises:
        UsageError: the port is in use, a package is missing, or an option does not fit.
        PluginError: the protocol cannot be loaded.
    """
    try:
        import httptools  # noqa: F401
        import uvicorn  # noqa: F401  and starlette with it
    except ModuleNotFoundError as error:
        raise UsageError(f"mlops serve {_REQUIRED}") from error
    _raise_file_limit()
    listener = listener or listening_socket(options.host, options.port)
    with listener:
        return asyncio.run(_ServingProcess(model, options, detector=detector).run(listener))


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        UsageError: the address is in use, not of this machine, or not permitted.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named, asyncio turns Nagle's algorithm off; else an answer in two parts waits 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise UsageError(f"--host {host}: {error.strerror or error}; expected an address of this machine") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(_binding_fault(host, port, error)) from error
    return listener


class _ServingProcess:
    """One server, from its start to its end."""

    def __init__(self, model: ServedModel, options: ServeOptions, *, detector: DriftDetector | None) -> None:
        from mlops_core.serving.protocols import load_protocol

        self._model = model
        self._options = options
        self._detector = detector
        self._protocol = load_protocol(options.protocol)
        self._workers = options.workers or usable_cores()
        self._failure: tuple[str, ExitCode] | None = None
        self._http: FrontServer | None = None
        if options.capture is not None:
            _check_capture(options.capture, can_capture=self._protocol.can_capture, protocol=options.protocol)

    async def run(self, listener: socket.socket) -> ExitCode:
        """Serve until a signal, or until the workers fail."""
        from mlops_core.serving.front.application import ModelService, RequestLimits
        from mlops_core.serving.front.bodies import BodyFolder, BodyLimits
        from mlops_core.serving.front.records import request_log
        from mlops_core.serving.workers.pool import WorkerPool

        begun = time.monotonic()
        options = self._options
        waiting = 4 * self._workers if options.max_waiting is None else options.max_waiting
        pool = WorkerPool(self._model, size=self._workers, max_waiting=waiting, on_failure=self._fail)
        pool.start()
        log = request_log() if options.logs_requests else None
        with contextlib.closing(BodyFolder(room_bytes=2 * options.max_body_bytes)) as folder:
            service = ModelService(
                self._model,
                pool,
                folder=folder,
                limits=RequestLimits(
                    body=BodyLimits(max_bytes=options.max_body_bytes),
                    timeout_s=options.timeout_s,
                    default_accept=options.default_accept,
                ),
                protocol=self._protocol,
                log=log,
                capture=options.capture,
                detector=self._detector,
            )
            tasks = [asyncio.create_task(self._announce(service, listener, begun=begun))]
            if self._detector is None and options.drift is not None:
                tasks.append(asyncio.create_task(self._watch_drift(service, options.drift)))
            try:
                signal_number = await self._listen(service, listener)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await pool.stop()
                service.close()
                if log is not None:
                    log.close()
        if self._failure is not None:
            message, code = self._failure
            _note(f"mlops: error: {message}")
            return code
        return ExitCode.INTERRUPTED if signal_number == signal.SIGINT else ExitCode.OK

    async def _listen(self, service: ModelService, listener: socket.socket) -> int:
        """Accept connections until a signal; return its number, 0 for none."""
        from mlops_core.serving.front.access import LocalAccess
        from mlops_core.serving.front.connections import front_server
        from mlops_core.serving.front.hosts import is_loopback

        application: Any = service.application()
        if is_loopback(listener.getsockname()[0]):
            application = LocalAccess(application, trusted=self._options.trusted_hosts)
        self._http = front_server(application)
        received: list[int] = []
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number, received)
        if self._failure is not None:
            return 0
        await self._http.serve(sockets=[listener])
        return received[0] if received else 0

    def _stop(self, number: int, received: list[int]) -> None:
        """Finish what has begun; the second signal ends the server at once."""
        assert self._http is not None  # noqa: S101  created before the handlers
        if received:
            self._http.force_exit = True
        else:
            _note("stopping; requests that have begun are finished")
        received.append(number)
        self._http.should_exit = True

    def _fail(self, message: str, code: ExitCode) -> None:
        self._failure = self._failure or (message, code)
        if self._http is not None:
            self._http.should_exit = True

    async def _watch_drift(self, service: ModelService, options: WatchOptions) -> None:
        """Open the detector while the workers load the model, attach it, and save it from time to time."""
        from mlops_core.serving.watch.watching import alarm_lines, open_in_thread

        noted_at = -_NOTE_INTERVAL_S

        def note(alarm: DriftAlarm) -> None:
            nonlocal noted_at
            service.note_alarm(alarm)
            now = time.monotonic()
            if alarm.proposal is None and now - noted_at < _NOTE_INTERVAL_S:
                return  # the log, the metrics and the records have every one
            noted_at = now
            for line in alarm_lines(alarm, self._model.use_case):
                _note(line)

        loop = asyncio.get_running_loop()
        opened: asyncio.Future[DriftWatch | Exception] = loop.create_future()

        def keep(outcome: DriftWatch | Exception) -> None:
            if not opened.done():  # a server that stops has cancelled it
                opened.set_result(outcome)

        def done(outcome: DriftWatch | Exception) -> None:
            loop.call_soon_threadsafe(keep, outcome)

        service.unwatched = "the drift detector is being prepared"
        open_in_thread(self._model, options, on_alarm=note, when_done=done)
        watch = await opened
        if isinstance(watch, Exception):
            self._without_drift(service, watch, is_required=options.is_required)
            return
        try:
            await service.pool.first_ready.wait()
            loaded = service.pool.loaded
            assert loaded is not None  # noqa: S101  a worker is ready
            watch.check_features(loaded.classes, loaded.features)
        except MlopsError as error:
            self._without_drift(service, error, is_required=options.is_required)
            return
        service.detector, service.unwatched = watch, ""
        _note(watch.summary())
        try:
            while True:
                await asyncio.sleep(_SAVE_INTERVAL_S)
                watch.save()
        finally:
            watch.close()

    def _without_drift(self, service: ModelService, error: Exception, *, is_required: bool) -> None:
        """Say why drift is not watched; end the server if the user has asked for it."""
        is_ours = isinstance(error, MlopsError)
        reason = str(error) if is_ours else f"defect in mlops: {type(error).__name__}: {error}"
        code = error.exit_code if isinstance(error, MlopsError) else ExitCode.DEFECT
        service.unwatched = f"drift is not watched: {reason}"
        if is_required:
            self._fail(f"drift cannot be watched: {reason}; serve without with --no-drift", code)
        else:
            _note(service.unwatched)

    async def _announce(self, service: ModelService, listener: socket.socket, *, begun: float) -> None:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        await service.pool.first_ready.wait()
        limit = format_size(self._options.max_body_bytes)
        _note(
            f"serving {self._model} at http://{shown}:{port} after {time.monotonic() - begun:.1f} s; workers: "
            f"{self._workers}, bodies up to {limit}, protocol: {self._protocol.name}"
        )


def _check_capture(folder: Path, *, can_capture: bool, protocol: str) -> None:
    if not can_capture:
        raise UsageError(
            f"--capture: the protocol '{protocol}' captures no requests; choose one of an engine with --protocol"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--capture {folder}: {error.strerror or error}; name a folder that can be written") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--capture {folder} cannot be written; name another folder")


def _binding_fault(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port} is in use on {host}; stop what listens there, or choose another port (0 for a free one)"
    if error.errno == errno.EACCES:
        return f"--port {port} needs more rights on {host}; choose a port above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is not an address of this machine; 0.0.0.0 listens on all of them"
    return f"--host {host} --port {port}: {error.strerror or error}"


def _raise_file_limit() -> None:
    """Allow as many open connections as the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _note(text: str) -> None:
    from mlops_core.control_characters import escape_line

    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{escape_line(text)}\n")
        sys.stderr.flush()
