"""Starting runs when data arrives: rules as data, arrivals, and a journal that neither loses nor doubles a start.

What is read here is neutral. A runner plugin turns the same rules into those of its service; `mlops watch` follows a
folder of this machine with them.
"""

from mlops_core.watching.arrivals import Arrival
from mlops_core.watching.journal import Reception, StartJournal, StartRecord, StartStatus
from mlops_core.watching.rules import (
    ApprovalRule,
    ObjectRule,
    PrefixRule,
    ProposalRule,
    ScheduleRule,
    TriggerRule,
    read_rules,
    rules_for,
)

__all__ = [
    "ApprovalRule",
    "Arrival",
    "ObjectRule",
    "PrefixRule",
    "ProposalRule",
    "Reception",
    "ScheduleRule",
    "StartJournal",
    "StartRecord",
    "StartStatus",
    "TriggerRule",
    "read_rules",
    "rules_for",
]
