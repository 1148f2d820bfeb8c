"""Proposals to retrain, from the workspace of a server to the bus, on which a rule of kind ``proposal`` takes them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from mlops_core.runners import RunnerError, write_atomically
from mlops_core.serving import recorded_alarms, retrain_command
from mlops_sagemaker.triggers.rules import DRIFT, DRIFT_SOURCE

if TYPE_CHECKING:
    from pathlib import Path

_SENT = "proposals-sent.json"
_AT_ONCE = 10
"""How many events one call takes."""


def proposal_events(workspace: Path, use_case: str) -> dict[str, dict[str, Any]]:
    """Return identity -> event of each proposal that servers of a workspace have recorded, oldest first."""
    events = {}
    for recorded in reversed(recorded_alarms(workspace, use_case)):
        proposal = recorded.alarm.proposal
        if proposal is None:
            continue
        detail = {
            "use_case": recorded.use_case,
            "model": recorded.alarm.model,
            "reason": proposal.reason,
            "command": retrain_command(recorded.use_case),
        }
        text = json.dumps([recorded.folder, json.loads(recorded.alarm.to_json())], sort_keys=True)
        identity = hashlib.sha256(text.encode()).hexdigest()
        events[identity] = {"Source": DRIFT_SOURCE, "DetailType": DRIFT, "Detail": json.dumps(detail)}
    return events


def send_proposals(workspace: Path, use_case: str, *, client: Any) -> int:
    """Send the proposals that were not sent before to the default bus; return their number.

    A call that is cut off between sending and recording sends the same proposals once more.

    Raises:
        RunnerError: the bus refuses an event.
    """
    path = workspace / "watch" / _SENT
    try:
        sent = set(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        sent = set()
    new = {identity: event for identity, event in proposal_events(workspace, use_case).items() if identity not in sent}
    identities = list(new)
    for first in range(0, len(identities), _AT_ONCE):
        batch = identities[first : first + _AT_ONCE]
        response = client.put_events(Entries=[new[identity] for identity in batch])
        for entry in response["Entries"]:
            if entry.get("ErrorCode"):
                raise RunnerError(f"the bus refuses a proposal: {entry['ErrorCode']}: {entry.get('ErrorMessage', '')}")
        sent |= set(batch)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(sorted(sent)) + "\n")
    return len(new)
