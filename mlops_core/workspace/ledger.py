"""The ledger: approvals and moves of aliases, in the table ``ledger``, which only grows.

The present value of a subject (``version 3``, ``alias production``) is that of its newest entry. Everything about one
subject is found through an index, so that its cost does not depend on how many entries the ledger has.

Entries form a chain (decision 24): each has the SHA-256 over its fields and the hash of the entry before. The newest
hash is also in the table ``ledger_head`` and, after the transaction, in the file ``ledger-head.json``.
`mlops_core.workspace.maintenance.chain` verifies the chain.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import hashlib
import json
import sqlite3
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mlops_core.control_characters import escape_line
from mlops_core.errors import StoreError, UsageError
from mlops_core.workspace.database import HEAD_FILE
from mlops_core.workspace.files import write_atomically
from mlops_core.workspace.model_versions import ApprovalStatus, LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CORE = "mlops"
"""Who it was, in entries that no person made."""
_ALIAS = "alias "
_AFTER_ALIASES = "alias!"  # the character after the space: every alias is between the two
_VERSION = "version "
FIRST_HASH = "0" * 64
"""What the first entry has in place of the hash of the entry before."""
RESTART = "ledger"
"""Subject of the entry with which a ledger goes on whose earlier entries were lost; `previous` is the last head."""
_FORMAT = "mlops-ledger/1"
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LONGEST_REASON = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """The newest entry of the ledger.

    Attributes:
        sequence: its position; 0 for an empty ledger.
        hash: over it and all entries before it, as 64 hexadecimal digits.
    """

    sequence: int = 0
    hash: str = FIRST_HASH

    def __str__(self) -> str:
        """Return both in one word, as in the entry that follows lost ones."""
        return f"{self.sequence}:{self.hash}"


def version_subject(version: int | str) -> str:
    """Return the subject of entries about the approval of a version."""
    return f"{_VERSION}{version}"


def alias_subject(alias: str) -> str:
    """Return the subject of entries about an alias."""
    return f"{_ALIAS}{alias}"


def staging_test_subject(version: int | str) -> str:
    """Return the subject of entries about the newest test of a version in staging."""
    return f"staging test of version {version}"


def alias_of_subject(subject: str) -> str:
    """Return the alias that an entry is about; empty for an entry about something else."""
    return subject.removeprefix(_ALIAS) if subject.startswith(_ALIAS) else ""


def version_of_subject(subject: str) -> int | None:
    """Return the number of the version that an entry is about; None for an entry about something else."""
    number = subject.removeprefix(_VERSION)
    return int(number) if subject.startswith(_VERSION) and number.isdecimal() else None


def current_value(db: sqlite3.Connection, use_case: str, subject: str) -> str:
    """Return the value of the newest entry on a subject; empty for none."""
    row = db.execute(
        "SELECT value FROM ledger WHERE use_case = ? AND subject = ? ORDER BY sequence DESC LIMIT 1",
        (use_case, subject),
    ).fetchone()
    return str(row[0]) if row else ""


def current_aliases(db: sqlite3.Connection, use_case: str) -> dict[str, str]:
    """Return alias -> number of the version that it points to, in alphabetical order.

    Steps from one alias to the next in the index, since one alias may have been moved thousands of times.
    """
    rows = db.execute(
        "WITH RECURSIVE aliases (subject) AS ("
        "SELECT min(subject) FROM ledger WHERE use_case = ?1 AND subject >= ?2 AND subject < ?3 "
        "UNION ALL SELECT (SELECT min(subject) FROM ledger WHERE use_case = ?1 AND subject > aliases.subject "
        "AND subject < ?3) FROM aliases WHERE subject IS NOT NULL) "
        "SELECT subject, (SELECT value FROM ledger WHERE use_case = ?1 AND subject = aliases.subject "
        "ORDER BY sequence DESC LIMIT 1) AS value FROM aliases WHERE subject IS NOT NULL",
        (use_case, _ALIAS, _AFTER_ALIASES),
    ).fetchall()
    return {row["subject"].removeprefix(_ALIAS): row["value"] for row in rows if row["value"]}


def aliases_of(db: sqlite3.Connection, use_case: str, version: int) -> tuple[str, ...]:
    """Return the aliases that point to a version, in alphabetical order."""
    return tuple(alias for alias, target in current_aliases(db, use_case).items() if target == str(version))


def current_state(
    db: sqlite3.Connection, use_case: str | None
) -> tuple[Mapping[tuple[str, str], str], Mapping[tuple[str, str], tuple[str, ...]]]:
    """Return the approval and the aliases of every version of one use case (in any case), or of all.

    Returns:
        (use case, number of the version) -> approval; the same -> its aliases, in alphabetical order.
    """
    condition, values = ("WHERE use_case = ? COLLATE NOCASE ", (use_case,)) if use_case is not None else ("", ())
    rows = db.execute(
        f"SELECT use_case, subject, value, max(sequence) FROM ledger {condition}GROUP BY use_case, subject",  # noqa: S608
        values,
    )
    approvals: dict[tuple[str, str], str] = {}
    aliases: dict[tuple[str, str], list[str]] = defaultdict(list)
    for owner, subject, value, _ in rows:
        if subject.startswith(_VERSION):
            approvals[owner, subject.removeprefix(_VERSION)] = value
        elif subject.startswith(_ALIAS) and value:
            aliases[owner, value].append(subject.removeprefix(_ALIAS))
    return approvals, {version: tuple(sorted(names)) for version, names in aliases.items()}


def earlier_target(db: sqlite3.Connection, use_case: str, alias: str, *, current: str) -> str:
    """Return the newest version, other than `current`, that had the alias and is not rejected; empty for none."""
    rows = db.execute(
        "SELECT value FROM ledger WHERE use_case = ? AND subject = ? ORDER BY sequence DESC",
        (use_case, alias_subject(alias)),
    )
    seen = {"", current}
    for row in rows:
        version = str(row[0])
        if version not in seen and not is_rejected(db, use_case, version):
            return version
        seen.add(version)
    return ""


def is_rejected(db: sqlite3.Connection, use_case: str, version: str) -> bool:
    """Return whether a version is rejected."""
    return current_value(db, use_case, version_subject(version)) == ApprovalStatus.REJECTED


def check_unchanged(db: sqlite3.Connection, use_case: str, subject: str, *, expected: str, why: str) -> None:
    """Refuse a change without a reason, or of a subject that no longer has the value that its writer saw.

    Raises:
        UsageError: one of the two.
    """
    check_reason(why, what=f"{subject} of model '{use_case}'")
    found = current_value(db, use_case, subject)
    if found != expected:
        raise UsageError(
            f"{subject} of model '{use_case}' is {found or 'nothing'} and no longer {expected or 'nothing'}; "
            "it was changed in the meantime: see mlops models history"
        )


def check_reason(why: str, *, what: str) -> None:
    """Refuse a reason that nobody can read later: without a visible character, or longer than 4,000 characters.

    Args:
        why: the reason.
        what: what it is given for, as the beginning of a message.

    Raises:
        UsageError: it is one of the two.
    """
    if not any(character.isprintable() and not character.isspace() for character in why):
        raise UsageError(f"{what}: give a reason (--why), for those who come later")
    if len(why) > _LONGEST_REASON:
        raise UsageError(
            f"{what}: the reason has {len(why):,} characters; expected at most {_LONGEST_REASON:,}: shorten it, or "
            "refer to a document"
        )


# --- The chain --------------------------------------------------------------------------------------------


def append(  # noqa: PLR0913  one argument for each column
    db: sqlite3.Connection,
    *,
    use_case: str,
    subject: str,
    value: str,
    who: str,
    why: str,
    previous: str = "",
    digest: str = "",
    at: str = "",
) -> LedgerEntry:
    """Append an entry to the chain and return it; call it within the transaction of what it is about.

    Args:
        db: the database, with its write lock.
        use_case: name of the use case.
        subject: of the entry.
        value: the new one.
        who: a person's login, or `CORE`; control characters are escaped.
        why: the reason; control characters are escaped.
        previous: the value before.
        digest: of the record of a version that is registered.
        at: when it happened; now when it is not given.
    """
    head = chain_head(db)
    entry = {
        "sequence": head.sequence + 1,
        "at": at or dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        "who": escape_line(who),
        "use_case": use_case,
        "subject": subject,
        "value": str(value),
        "previous": str(previous),
        "why": escape_line(why),
        "digest": digest,
    }
    values = tuple(entry.values())
    found = ChainHead(sequence=head.sequence + 1, hash=entry_hash(head.hash, values))
    db.execute(
        "INSERT INTO ledger (sequence, at, who, use_case, subject, value, previous, why, digest, hash) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, found.hash),
    )
    db.execute("INSERT OR REPLACE INTO ledger_head (id, sequence, hash) VALUES (1, ?, ?)", (found.sequence, found.hash))
    return LedgerEntry(**entry, hash=found.hash)  # type: ignore[arg-type]  # the columns


def entry_hash(previous_hash: str, values: tuple[object, ...]) -> str:
    """Return the hash of an entry: SHA-256 over a JSON array in the form of RFC 8785, in UTF-8.

    Args:
        previous_hash: of the entry before; `FIRST_HASH` for the first.
        values: sequence, at, who, use case, subject, value, value before, reason, digest.

    Raises:
        TypeError: a value is neither a text nor a whole number.
        UnicodeEncodeError: a value is not valid Unicode.
    """
    return hashlib.sha256(_ENCODE([_FORMAT, previous_hash, *values]).encode()).hexdigest()


def chain_head(db: sqlite3.Connection) -> ChainHead:
    """Return the newest entry: that of the table or, where it is newer, that of ``ledger_head``.

    Raises:
        StoreError: one of them is damaged.
    """
    row = db.execute(
        "SELECT * FROM (SELECT sequence, hash FROM ledger ORDER BY sequence DESC LIMIT 1) "
        "UNION ALL SELECT sequence, hash FROM ledger_head ORDER BY sequence DESC LIMIT 1"
    ).fetchone()
    if row and not (isinstance(row[0], int) and isinstance(row[1], str)):
        raise StoreError("the newest hash of the ledger in mlops.db is damaged; mend it with: mlops doctor --repair")
    return ChainHead(sequence=row[0], hash=row[1]) if row else ChainHead()


def restart_chain(db: sqlite3.Connection, *, why: str) -> None:
    """Let a ledger whose entries were lost go on after the newest of them, with an entry that says so."""
    head = chain_head(db)
    if head.sequence:
        append(db, use_case="", subject=RESTART, value="restarted", previous=str(head), who=login(), why=why)


def chain_entries(db: sqlite3.Connection) -> None:
    """Write the entries of the table ``ledger_3``, which had no hashes, to ``ledger``, and the head."""
    records = {
        (row[0], str(row[1]), f"registered by run {row[2]}"): record_digest(row[3])
        for row in db.execute("SELECT use_case, version, run_id, record FROM model_versions")
    }
    for row in db.execute(
        "SELECT at, who, use_case, subject, value, previous, why FROM ledger_3 ORDER BY sequence"
    ).fetchall():
        at, who, use_case, subject, value, previous, why = map(str, row)
        is_registration = value == ApprovalStatus.PENDING and not previous
        number = subject.removeprefix(_VERSION)
        digest = records.get((use_case, number, why), "") if is_registration else ""
        append(
            db,
            use_case=use_case,
            subject=subject,
            value=value,
            who=who,
            why=why,
            previous=previous,
            digest=digest,
            at=at,
        )


def keep_head(home: Path, db: sqlite3.Connection, *, kept: ChainHead) -> ChainHead:
    """Write the head of the chain to ``ledger-head.json`` if it is not the one that was `kept`, and return it.

    Call it after the transaction: the file may be behind the table, and never ahead of it. A head in the file that is
    not in the table is left there, for `mlops_core.workspace.maintenance.chain`. Where the file cannot be written, the
    entry is in the table all the same.
    """
    with contextlib.suppress(sqlite3.Error, OSError, ValueError):
        head = chain_head(db)
        if head == kept:
            return kept
        earlier = read_head(home)
        if earlier is None or _is_before(db, earlier, head):
            write_atomically(home / HEAD_FILE, json.dumps({"format": _FORMAT, **asdict(head)}) + "\n")
        return head
    return kept


def _is_before(db: sqlite3.Connection, earlier: ChainHead, head: ChainHead) -> bool:
    """Return whether a head is an entry before the newest, or one before the entries that were lost."""
    if earlier.sequence >= head.sequence:
        return False
    row = db.execute("SELECT hash FROM ledger WHERE sequence = ?", (earlier.sequence,)).fetchone()
    if row is not None:
        return str(row[0]) == earlier.hash
    first = db.execute("SELECT subject, sequence FROM ledger ORDER BY sequence LIMIT 1").fetchone()
    return bool(first["subject"] == RESTART) and earlier.sequence < first["sequence"]


def read_head(home: Path) -> ChainHead | None:
    """Return the head in ``ledger-head.json``; None without such a file.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        data = json.loads((home / HEAD_FILE).read_text(encoding="utf-8"))
        if data["format"] == _FORMAT:
            return ChainHead(sequence=int(data["sequence"]), hash=str(data["hash"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{HEAD_FILE} cannot be read: {error}") from error
    raise ValueError(f"{HEAD_FILE} has the format {data['format']!r}; expected {_FORMAT!r}")


def record_registration(db: sqlite3.Connection, *, use_case: str, version: int, why: str) -> None:
    """Write to the ledger that a version, whose row exists, waits for approval."""
    row = db.execute(
        "SELECT record FROM model_versions WHERE use_case = ? AND version = ?", (use_case, version)
    ).fetchone()
    append(
        db,
        use_case=use_case,
        subject=version_subject(version),
        value=ApprovalStatus.PENDING,
        who=CORE,
        why=why,
        digest=record_digest(row[0]) if row else "",
    )


def record_digest(record: object) -> str:
    """Return the digest of the column ``record`` of a version."""
    content = record if isinstance(record, bytes) else str(record).encode(errors="surrogatepass")
    return hashlib.sha256(content).hexdigest()


def entries(db: sqlite3.Connection, use_case: str | None) -> Iterator[LedgerEntry]:
    """Yield the ledger of one use case (in any case), or of all, oldest first."""
    condition, values = ("WHERE use_case = ? COLLATE NOCASE ", (use_case,)) if use_case is not None else ("", ())
    for row in db.execute(f"SELECT * FROM ledger {condition}ORDER BY sequence", values):  # noqa: S608
        yield LedgerEntry(**dict(row))


def login() -> str:
    """Return who uses this process; ``unknown`` where the system does not say."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a user database
        return "unknown"
