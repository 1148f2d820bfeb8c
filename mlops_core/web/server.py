"""The process of the application: options, its socket, uvicorn inside it, signals, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.errors import ExitCode, UsageError
from mlops_core.serving.front.hosts import is_loopback
from mlops_core.serving.server import listening_socket

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.serving.front.connections import FrontServer
    from mlops_core.web.opened import UiWorkspace

DEFAULT_PORT = 8420
_TOKEN_BYTES = 24
_NICE = 5
_REQUIRED = "needs the packages of the extra 'serve'; pip install 'mlops-usecases[serve]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class UiOptions:
    """Options of the application.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        token: that a browser must present; empty to make one.
        needs_token: require one.
        trusted_hosts: further names by which the server may be called.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str = ""
    needs_token: bool = True
    trusted_hosts: tuple[str, ...] = ()


def serve_ui(home: Path, options: UiOptions) -> ExitCode:
    """Show a workspace until the process receives SIGTERM or SIGINT; return the exit code.

    Raises:
        UsageError: the port is in use, a package is missing, or the options do not fit.
        StoreError: the workspace cannot be read, or a newer version of mlops wrote it.
    """
    try:
        import uvicorn  # noqa: F401  and starlette with it
    except ModuleNotFoundError as error:
        raise UsageError(f"mlops ui {_REQUIRED}") from error
    with listening_socket(options.host, options.port) as listener:
        is_local = is_loopback(listener.getsockname()[0])
        if not is_local and not options.needs_token:
            raise UsageError(f"--no-token: {options.host} can be reached from other machines, which need a token")
        from mlops_core.web.opened import UiWorkspace
        from mlops_core.web.plugin_work.questions import PluginWork

        with (
            contextlib.closing(PluginWork(home.absolute())) as plugins,
            contextlib.closing(UiWorkspace(home, plugins)) as workspace,
        ):
            return asyncio.run(_listen(workspace, options, listener, is_local=is_local))


async def _listen(workspace: UiWorkspace, options: UiOptions, listener: socket.socket, *, is_local: bool) -> ExitCode:
    """Accept connections until a signal; the second one ends the server at once."""
    from mlops_core.serving.front.connections import front_server
    from mlops_core.web.access import Credentials, UiAccess
    from mlops_core.web.application import UiApplication

    token = (options.token or secrets.token_urlsafe(_TOKEN_BYTES)) if options.needs_token else ""
    credentials = Credentials(token=token)
    application = UiApplication(workspace, credentials)
    hosts = (*options.trusted_hosts, *(() if is_local else (socket.gethostname(),)))
    server = front_server(UiAccess(application.starlette(), credentials, hosts=hosts, is_local=is_local))
    received: list[int] = []

    def stop(number: int) -> None:
        if received:
            server.force_exit = True
        received.append(number)
        application.events.close()
        workspace.plugins.close()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    with contextlib.suppress(OSError):
        os.nice(_NICE)  # a page waits longer, so that a run does not
    workspace.start()
    announcing = asyncio.create_task(_announce(server, listener, workspace.home, token=token))
    try:
        await server.serve(sockets=[listener])
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)
    return ExitCode.INTERRUPTED if received[:1] == [signal.SIGINT] else ExitCode.OK


async def _announce(server: FrontServer, listener: socket.socket, home: Path, *, token: str) -> None:
    """Print the address once the server answers."""
    while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.002)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    query = f"/?token={token}" if token else "/"
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"mlops ui: http://{shown}:{port}{query}\n")
        sys.stderr.write(f"  workspace {home}; Ctrl-C ends it\n")
        sys.stderr.flush()
