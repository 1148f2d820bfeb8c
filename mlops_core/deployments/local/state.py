"""The folder of an endpoint on this machine: its state, the newest order to it, its lock and its logs.

The endpoint's process alone writes ``state.json``; it holds the lock of ``process.lock`` while it lives. Who deploys
writes ``order.json``. Both files appear whole, by rename, and survive a power failure. The state names the order that
it takes into account, so an order is carried out once, whenever the process dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_core.deployments.plan import DeploymentPlan
from mlops_core.deployments.states import EndpointPhase
from mlops_core.errors import StoreError
from mlops_core.workspace.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORMAT = "mlops-endpoint/1"


class Action(StrEnum):
    """What an order asks for."""

    DEPLOY = "deploy"
    CANCEL = "cancel"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOrder:
    """An order to the process of an endpoint.

    Attributes:
        action: what it asks for.
        plan: that is deployed or cancelled; None for a deletion.
        at_once: move all traffic at once, and do not bake.
        reason: why it is cancelled.
        token: identifies the order.
    """

    action: Action
    plan: DeploymentPlan | None = None
    at_once: bool = False
    reason: str = ""
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def to_json(self) -> dict[str, Any]:
        """Return the order as JSON types only."""
        return {
            "action": str(self.action),
            "plan": self.plan.to_json() if self.plan else None,
            "at_once": self.at_once,
            "reason": self.reason,
            "token": self.token,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EndpointOrder:
        """Return what `to_json` wrote."""
        plan = DeploymentPlan.from_json(data["plan"]) if data["plan"] else None
        return cls(**{**data, "action": Action(data["action"]), "plan": plan})


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """What the process of an endpoint knows; with it, another process goes on where this one died.

    Attributes:
        pid: of the process that wrote it.
        port: at which the endpoint answers; 0 until it is known.
        phase: what the endpoint is doing.
        current: the plan that is in service; None for none.
        pending: the plan that is being deployed; None for none.
        at_once: the pending plan gets all traffic at once.
        percent: share of the traffic that the pending plan has.
        reason: why the last change failed or was rolled back.
        note: what a person should know.
        handled: token of the newest order that is taken into account.
        boot: identifies the process that wrote it.
    """

    pid: int = 0
    port: int = 0
    phase: EndpointPhase = EndpointPhase.ABSENT
    current: DeploymentPlan | None = None
    pending: DeploymentPlan | None = None
    at_once: bool = False
    percent: int = 0
    reason: str = ""
    note: str = ""
    handled: str = ""
    boot: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON types only."""
        return {
            "format": _FORMAT,
            "pid": self.pid,
            "port": self.port,
            "phase": str(self.phase),
            "current": self.current.to_json() if self.current else None,
            "pending": self.pending.to_json() if self.pending else None,
            "at_once": self.at_once,
            "percent": self.percent,
            "reason": self.reason,
            "note": self.note,
            "handled": self.handled,
            "boot": self.boot,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EndpointState:
        """Return what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is damaged.
        """
        values = dict(data)
        if values.pop("format") != _FORMAT:
            raise ValueError(f"the format is {data['format']!r}; expected {_FORMAT!r}")
        for name in ("current", "pending"):
            values[name] = DeploymentPlan.from_json(values[name]) if values[name] else None
        return cls(**{**values, "phase": EndpointPhase(values["phase"])})


class EndpointFolder:
    """The files of one endpoint."""

    def __init__(self, path: Path) -> None:
        """Use the folder at `path`, which need not exist."""
        self.path = path
        self._lock = path / "process.lock"

    @property
    def log(self) -> Path:
        """What the endpoint's process prints."""
        return self.path / "endpoint.log"

    def server_log(self, configuration: str) -> Path:
        """Return the file of what the server of a configuration prints."""
        return self.path / f"server-{configuration}.log"

    def make(self) -> None:
        """Create the folder."""
        self.path.mkdir(parents=True, exist_ok=True)

    def read_state(self) -> EndpointState:
        """Return the state; that of an endpoint that does not exist where there is no file.

        Raises:
            StoreError: the file is damaged.
        """
        data = self._read("state.json")
        try:
            return EndpointState() if data is None else EndpointState.from_json(data)
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged("state.json", error) from error

    def write_state(self, state: EndpointState) -> None:
        """Replace the state, to the disk."""
        self._write("state.json", state.to_json())

    def read_order(self) -> EndpointOrder | None:
        """Return the newest order; None for none.

        Raises:
            StoreError: the file is damaged.
        """
        data = self._read("order.json")
        try:
            return None if data is None else EndpointOrder.from_json(data)
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged("order.json", error) from error

    def write_order(self, order: EndpointOrder) -> None:
        """Give an order."""
        self.make()
        self._write("order.json", order.to_json())

    def claim(self) -> int | None:
        """Become the endpoint's process; return the descriptor that holds the lock, None where another one has it."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def has_process(self) -> bool:
        """Return whether the endpoint's process lives."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _write(self, name: str, data: Mapping[str, Any]) -> None:
        path = self.path / name
        try:
            write_atomically(path, json.dumps(data, ensure_ascii=False) + "\n")
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror or error}; make room for it") from error

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            data = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._damaged(name, error) from error
        if not isinstance(data, dict):
            raise self._damaged(name, "it is not an object")
        return data

    def _damaged(self, name: str, reason: object) -> StoreError:
        return StoreError(f"{self.path / name} is damaged: {reason}; end the endpoint's process and remove the folder")
