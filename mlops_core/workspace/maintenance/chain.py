"""Verifies the chain of the ledger: that no entry was changed, removed, inserted or moved since it was written.

Every hash is computed again, and the newest is compared with the two places where it is kept. Somebody who can write
all files of a workspace can also write a whole new chain: only a head that was kept elsewhere, in an evidence bundle
for example, shows that.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.workspace.database import HEAD_FILE
from mlops_core.workspace.ledger import FIRST_HASH, RESTART, ChainHead, entry_hash, read_head

if TYPE_CHECKING:
    from mlops_core.workspace.store import Store

_COLUMNS = "sequence, at, who, use_case, subject, value, previous, why, digest, hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerChain:
    """What the verification of the chain came to.

    Attributes:
        entries: number of entries up to the head, or up to the fault.
        head: the newest entry that matches its hash.
        fault: the first thing that is wrong, one line; empty if the chain is whole.
        restarts: entries before which others were lost, and which say so: one line each.
    """

    entries: int
    head: ChainHead
    fault: str = ""
    restarts: tuple[str, ...] = ()


def verify_chain(store: Store) -> LedgerChain:
    """Compute the hash of every entry again, in one pass, and compare the head with the places where it is kept.

    Raises:
        sqlite3.Error: a table is missing.
    """
    try:
        kept, fault = read_head(store.home), ""  # before the table, which is never behind it
    except ValueError as error:
        kept, fault = None, f"{error}; remove it if the chain is whole otherwise"
    with store.reading() as db:
        chain, at_kept = _walk(db, kept)
        row = db.execute("SELECT sequence, hash FROM ledger_head").fetchone()
    if row and not isinstance(row[0], int):
        return LedgerChain(entries=chain.entries, head=chain.head, fault="the row of ledger_head is damaged")
    last = ChainHead(sequence=row[0], hash=row[1]) if row else ChainHead()
    fault = chain.fault or _head_fault(chain.head, last) or _kept_fault(chain, kept, at_kept) or fault
    return LedgerChain(entries=chain.entries, head=chain.head, fault=fault, restarts=chain.restarts)


def _walk(db: sqlite3.Connection, kept: ChainHead | None) -> tuple[LedgerChain, str]:
    """Return the chain as far as it is whole, and the hash of the entry at the position of `kept`."""
    count, position, newest, fault, at_kept = 0, 0, FIRST_HASH, "", ""
    restarts: list[str] = []
    wanted = kept.sequence if kept else -1
    try:
        for sequence, *values, found in db.execute(f"SELECT {_COLUMNS} FROM ledger ORDER BY sequence"):  # noqa: S608
            if sequence != position + 1:
                at, _, _, subject, _, previous, why, _ = values
                lost, _, lost_hash = str(previous).partition(":")
                if subject != RESTART or lost != str(sequence - 1) or count:
                    fault = _missing(position + 1, sequence - 1)
                    break
                restarts.append(f"entries 1 to {lost} were lost before {at} ({why})")
                position, newest = sequence - 1, lost_hash
                at_kept = newest if wanted == position else at_kept
            if entry_hash(newest, (sequence, *values)) != found:
                what = f"{values[2]}, {values[3]}"
                fault = f"entry {sequence} ({what}) does not match its hash: it was changed, inserted or moved"
                break
            count, position, newest = count + 1, sequence, found
            at_kept = newest if wanted == position else at_kept
    except (TypeError, ValueError, sqlite3.OperationalError) as error:
        fault = f"entry {position + 1} or one after it cannot be read: {error}"
    head = ChainHead(sequence=position, hash=newest)
    return LedgerChain(entries=count, head=head, fault=fault, restarts=tuple(restarts)), at_kept


def _missing(first: int, last: int) -> str:
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"


def _head_fault(head: ChainHead, last: ChainHead) -> str:
    """Return how the end of the table differs from ``ledger_head``."""
    if last.sequence > head.sequence:
        return f"{_missing(head.sequence + 1, last.sequence)} at the end"
    if last.sequence < head.sequence:
        return f"entry {last.sequence + 1} was inserted: the newest entry that was written is {last.sequence}"
    return "" if last.hash == head.hash else f"entry {head.sequence} is not the one that was written last"


def _kept_fault(chain: LedgerChain, kept: ChainHead | None, at_kept: str) -> str:
    """Return how the table differs from ``ledger-head.json``, which may be behind it."""
    if kept is None or kept.hash == FIRST_HASH:
        return ""
    if kept.sequence > chain.head.sequence:
        return f"{_missing(chain.head.sequence + 1, kept.sequence)} at the end, which {HEAD_FILE} knows"
    is_lost = not at_kept and chain.restarts
    return "" if at_kept == kept.hash or is_lost else f"entry {kept.sequence} is not the one that {HEAD_FILE} knows"
