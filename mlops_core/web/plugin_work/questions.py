"""Asks a process for what a plugin's code knows, with a time limit, and keeps the answers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from mlops_core.errors import PluginError

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 120.0
_AT_ONCE = 2
_KEPT = 64
_KEPT_BYTES = 64 << 20
_LONGEST_FAULT = 600


class PluginWork:
    """Answers questions about one workspace that need a plugin's code."""

    def __init__(self, home: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        """Ask about the workspace in the folder `home`."""
        self._home = home
        self._timeout_s = timeout_s
        self._places = threading.Semaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_closed = False

    def ask(self, question: str, *, state: str = "", **arguments: object) -> dict[str, Any]:
        """Return the answer to a question of `mlops_core.web.plugin_work.child`.

        Args:
            question: its name.
            state: of what the answer depends on; with one, an equal question is answered once.
            arguments: of the question, as JSON types.

        Raises:
            PluginError: the plugin failed or took too long; the message says what happened.
        """
        order = {"home": str(self._home), "question": question, **arguments}
        name = json.dumps([state, order], sort_keys=True)
        with self._lock:
            kept = self._kept.get(name) if state else None
        answer = kept if kept is not None else self._carried_out(order)
        data: dict[str, Any] = json.loads(answer)
        if "error" in data:
            raise PluginError(str(data["error"])[:_LONGEST_FAULT])
        if state and kept is None:
            self._keep(name, answer)
        return data

    def close(self) -> None:
        """End the processes that are still answering."""
        with self._lock:
            self._is_closed = True
            running = tuple(self._running)
        for process in running:
            _kill(process)

    def _keep(self, name: str, answer: bytes) -> None:
        with self._lock:
            self._kept[name] = answer
            while len(self._kept) > _KEPT or sum(map(len, self._kept.values())) > _KEPT_BYTES:
                self._kept.popitem(last=False)

    def _carried_out(self, order: dict[str, object]) -> bytes:
        command = [sys.executable, "-m", "mlops_core.web.plugin_work.child"]
        with self._places:
            process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            with self._lock:
                self._running.add(process)
                if self._is_closed:
                    _kill(process)
            try:
                answer, errors = process.communicate(json.dumps(order).encode(), timeout=self._timeout_s)
            except subprocess.TimeoutExpired:
                _kill(process)
                process.communicate()
                raise PluginError(f"the plugin did not answer within {self._timeout_s:.0f} s") from None
            finally:
                with self._lock:
                    self._running.discard(process)
        if process.returncode != 0 or not answer:
            last = errors.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
            raise PluginError(f"the plugin's process ended with {process.returncode}: {last[0][:_LONGEST_FAULT]}")
        return answer


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
