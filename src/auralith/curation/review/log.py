"""The log of a review: `review.sqlite` in the curation's folder, with items and the decisions on them.

It only grows. Triggers abort every UPDATE and DELETE, and every INSERT that would replace a row or come out of order, so
that no tool rewrites a signed decision. Write-ahead logging allows many readers beside one writer; a writer takes the
lock before it reads, so the state that it read still holds when it writes. An interrupted transaction leaves nothing.
Changes made in spite of the triggers are detected whenever the log is read: see `chain`.
"""

import json
import logging
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auralith.curation.review import chain
from auralith.curation.review.rules import Decision, reviewer_key
from auralith.errors import InvalidRequest, ResourceError
from auralith.foreign import parse_json

log = logging.getLogger(__name__)
FILE_NAME = "review.sqlite"
_WAIT_SECONDS = 30.0
"""Longest wait of a writer for others."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS items (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id TEXT NOT NULL UNIQUE CHECK (item_id <> ''),
    rec_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    tier TEXT NOT NULL,
    score REAL,
    is_match INTEGER NOT NULL CHECK (is_match IN (0, 1)),
    grouped_by TEXT NOT NULL,
    evidence_key TEXT NOT NULL,
    opened_at TEXT NOT NULL,
    payload TEXT NOT NULL,
    UNIQUE (rec_id, stage, evidence_key)
) STRICT;
CREATE TABLE IF NOT EXISTS decisions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id TEXT NOT NULL REFERENCES items (item_id),
    rec_id TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    reviewer_key TEXT NOT NULL CHECK (reviewer_key <> ''),
    role TEXT NOT NULL CHECK (role IN ('first', 'second', 'third')),
    decision TEXT NOT NULL CHECK (decision IN ('keep', 'remove', 'unsure')),
    reason_code TEXT CHECK ((reason_code IS NULL) = (decision = 'unsure')),
    note TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (item_id, role),
    UNIQUE (item_id, reviewer_key)
) STRICT;
CREATE TABLE IF NOT EXISTS revisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER NOT NULL REFERENCES decisions (seq),
    revision INTEGER NOT NULL CHECK (revision > 0),
    decision TEXT NOT NULL CHECK (decision IN ('keep', 'remove', 'unsure')),
    reason_code TEXT CHECK ((reason_code IS NULL) = (decision = 'unsure')),
    note TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (seq, revision)
) STRICT;
CREATE TRIGGER IF NOT EXISTS revisions_in_turn BEFORE INSERT ON revisions
WHEN NEW.revision <> 1 + (SELECT count(*) FROM revisions WHERE seq = NEW.seq)
    OR EXISTS (SELECT 1 FROM revisions WHERE number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'revisions are made in turn'); END;
CREATE TRIGGER IF NOT EXISTS decisions_in_turn BEFORE INSERT ON decisions
WHEN (SELECT count(*) FROM decisions WHERE item_id = NEW.item_id)
    <> CASE NEW.role WHEN 'first' THEN 0 WHEN 'second' THEN 1 ELSE 2 END
BEGIN SELECT RAISE(ABORT, 'decisions are made in turn'); END;
CREATE TRIGGER IF NOT EXISTS decisions_not_replaced BEFORE INSERT ON decisions
WHEN EXISTS (SELECT 1 FROM decisions WHERE seq = NEW.seq
    OR (item_id = NEW.item_id AND (role = NEW.role OR reviewer_key = NEW.reviewer_key)))
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS items_not_replaced BEFORE INSERT ON items
WHEN EXISTS (SELECT 1 FROM items WHERE number = NEW.number OR item_id = NEW.item_id)
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS meta_not_replaced BEFORE INSERT ON meta
WHEN EXISTS (SELECT 1 FROM meta WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""
_APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""
_TABLES = ("meta", "items", "decisions", "revisions", *chain.TABLES)
_ITEM_COLUMNS = "item_id, rec_id, stage, tier, score, is_match, grouped_by, evidence_key, opened_at"
_ITEM_NAMES = _ITEM_COLUMNS.split(", ")
_REVISED = ("revision", "decision", "reason_code", "note", "at")
_DECISION_COLUMNS = "seq, item_id, rec_id, reviewer, role, decision, reason_code, note, at"


@dataclass(frozen=True, slots=True)
class Item:
    """A suspect recording with the evidence against it."""

    item_id: str
    rec_id: str
    stage: str
    tier: str
    """"match", "indeterminate", "error", or the metadata tier."""
    score: float | None
    is_match: bool
    """The item is an automatic match, which takes two decisions to overturn."""
    grouped_by: str
    """Group that is reviewed together, such as an album; empty for none."""
    evidence_key: str
    opened_at: str


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A recording that was permanently removed on request."""

    rec_id: str
    reason: str
    reviewer: str
    """Person who withdrew it; empty if unknown."""
    at: str
    """Time in UTC, ISO 8601."""


def log_path(folder: Path) -> Path:
    """Return the path of a curation's log."""
    return folder / FILE_NAME


@contextmanager
def writing(folder: Path) -> Iterator[sqlite3.Connection]:
    """Give an exclusive transaction, written at the end, or not at all if the block fails. Makes the log if needed.

    Raises:
        InvalidRequest: the folder doesn't exist.
        ResourceError: the log is damaged, not writable, or locked for 30 s.
    """
    if not folder.is_dir():
        raise InvalidRequest(f"there is no curation in {folder}; name its folder")
    is_begun(folder)  # raises if a log was begun and is gone
    with _connection(folder) as connection:
        _prepare(connection, log_path(folder))
        connection.execute("BEGIN IMMEDIATE")
        try:
            chain.check(connection, log_path(folder))
            yield connection
            newest = chain.head(connection)
        except BaseException:
            if connection.in_transaction:  # SQLite ends it itself if the disk is full
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    chain.write_head(folder, newest)


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """Give a consistent view of an existing log.

    Raises:
        InvalidRequest: the folder has no log.
        ResourceError: the log is damaged or can't be read.
    """
    require_begun(folder)
    with _connection(folder) as connection:
        connection.execute("BEGIN")
        chain.check(connection, log_path(folder))
        yield connection
        connection.execute("COMMIT")


def require_begun(folder: Path) -> None:
    """Raise `InvalidRequest` unless the folder has a log, and what `is_begun` raises."""
    if not is_begun(folder):
        raise InvalidRequest(
            f"there is no review in {folder}; begin it with: auralith curate review open"
        )


def is_begun(folder: Path) -> bool:
    """Return whether a log with its tables exists; raise `ResourceError` if it is damaged, or gone after it was begun."""
    path, noted = log_path(folder), chain.read_head(folder)
    begun = False
    if path.is_file():
        with _connection(folder) as connection:
            begun = _has_tables(connection)
    if noted and not begun:
        raise ResourceError(
            f"{path} is gone, though {chain.HEAD_NAME} records {noted.entries} entries; restore a backup"
        )
    return begun


@contextmanager
def _connection(folder: Path) -> Iterator[sqlite3.Connection]:
    path = log_path(folder)
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        yield connection
    except sqlite3.Error as error:
        raise ResourceError(f"the log {path} can't be used ({error}); {_remedy(error)}") from error
    finally:
        if connection is not None:
            connection.close()


def _remedy(error: sqlite3.Error) -> str:
    if "locked" in str(error):
        return "another process holds it; try again"
    return "check that it is the review of a curation and that you may write to it"


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new log, or what a log lacks that is older than chains or revisions.

    If several processes begin at once, one does the work and the others find it done.
    """
    if chain.has_chain(connection) and chain.has_table(connection, "revisions"):
        return
    chain.check(connection, path)
    _use_wal(connection)
    blocks = [
        _APPEND_ONLY.format(table=table, verb=verb)
        for table in _TABLES
        for verb in ("UPDATE", "DELETE")
    ]
    connection.execute("BEGIN IMMEDIATE")
    if chain.has_chain(connection) and not chain.has_table(connection, "revisions"):
        chain.admit_revisions(connection)
    for statement in _statements("\n".join([_SCHEMA, chain.SCHEMA, *blocks])):
        connection.execute(statement)
    if not connection.execute("SELECT 1 FROM meta WHERE name = 'curation'").fetchone():
        connection.execute("INSERT INTO meta VALUES ('curation', ?)", [uuid.uuid4().hex])
    older = chain.begin(connection)
    connection.execute("COMMIT")
    if older:
        log.warning(
            "%s is chained by hashes from now on; its %d older decisions were taken as they stand",
            path,
            older,
        )


def _has_tables(connection: sqlite3.Connection) -> bool:
    """Return whether the tables exist; they are made in one transaction, so one stands for all."""
    return chain.has_table(connection, "meta")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging, waiting for other processes, which SQLite itself doesn't do here."""
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script, for execution in one transaction (`executescript` would commit first)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def curation_id(connection: sqlite3.Connection) -> str:
    """Return the random name of this curation, which its exports carry."""
    return connection.execute("SELECT value FROM meta WHERE name = 'curation'").fetchone()[0]


def read_items(connection: sqlite3.Connection, item_id: str | None = None) -> list[Item]:
    """Return all items in the order of opening, or only one of them."""
    where, values = ("WHERE item_id = ?", [item_id]) if item_id is not None else ("", [])
    rows = connection.execute(f"SELECT {_ITEM_COLUMNS} FROM items {where} ORDER BY number", values)
    return [_item(dict(zip(_ITEM_NAMES, row, strict=True))) for row in rows]


def _item(facts: dict[str, Any]) -> Item:
    return Item(**{**facts, "is_match": bool(facts["is_match"])})


def newest_item_id(connection: sqlite3.Connection, rec_id: str, stage: str) -> str:
    """Return the id of the newest item of a recording in a stage."""
    return connection.execute(
        "SELECT item_id FROM items WHERE rec_id = ? AND stage = ? ORDER BY number DESC LIMIT 1",
        [rec_id, stage],
    ).fetchone()[0]


def read_payload(connection: sqlite3.Connection, item_id: str) -> dict[str, Any]:
    """Return the recording and the evidence as they were when the item was opened."""
    row = connection.execute("SELECT payload FROM items WHERE item_id = ?", [item_id]).fetchone()
    return parse_json(row[0])


def read_decisions(connection: sqlite3.Connection, item_id: str | None = None) -> list[Decision]:
    """Return all decisions in order, or those of one item, each as it was last replaced."""
    where, values = ("WHERE item_id = ?", [item_id]) if item_id is not None else ("", [])
    rows = connection.execute(
        f"SELECT {_DECISION_COLUMNS} FROM decisions {where} ORDER BY seq", values
    )
    found = {row[0]: Decision(*row) for row in rows}
    if chain.has_table(connection, "revisions"):
        rows = connection.execute(
            f"SELECT seq, {', '.join(_REVISED)} FROM revisions JOIN (SELECT seq FROM decisions {where})"
            " USING (seq) ORDER BY number",
            values,
        )
        for seq, *newer in rows:
            found[seq] = replace(found[seq], **dict(zip(_REVISED, newer, strict=True)))
    return list(found.values())


def append_item(connection: sqlite3.Connection, item: Item, payload: dict[str, Any]) -> bool:
    """Add an item; return False if the log has it already."""
    if connection.execute("SELECT 1 FROM items WHERE item_id = ?", [item.item_id]).fetchone():
        return False
    text = json.dumps(payload, ensure_ascii=False, sort_keys=True, default=str)
    values = (*_values(item), text)
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO items ({_ITEM_COLUMNS}, payload) VALUES ({marks})", values)
    return True


def _values(item: Item) -> Sequence[Any]:
    return [getattr(item, name) for name in _ITEM_NAMES]


def append_decision(connection: sqlite3.Connection, decision: Decision) -> int:
    """Add a decision that the rules allow, and return the `seq` that the log gives it."""
    cursor = connection.execute(
        "INSERT INTO decisions (item_id, rec_id, reviewer, reviewer_key, role, decision, reason_code, note, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            decision.item_id,
            decision.rec_id,
            decision.reviewer,
            reviewer_key(decision.reviewer),
            decision.role,
            decision.decision,
            decision.reason_code,
            decision.note,
            decision.at,
        ],
    )
    assert cursor.lastrowid is not None
    chain.append(connection, "decision", cursor.lastrowid)
    return cursor.lastrowid


def append_revision(connection: sqlite3.Connection, decision: Decision) -> None:
    """Replace the decision of the same `seq`; the log keeps what it was."""
    names = ("seq", *_REVISED)
    cursor = connection.execute(
        f"INSERT INTO revisions ({', '.join(names)}) VALUES (?, ?, ?, ?, ?, ?)",
        [getattr(decision, name) for name in names],
    )
    assert cursor.lastrowid is not None
    chain.append(connection, "revision", cursor.lastrowid)


def append_withdrawal(connection: sqlite3.Connection, withdrawal: Withdrawal) -> bool:
    """Add a withdrawal; return False if the recording is withdrawn already."""
    known = "SELECT 1 FROM withdrawals WHERE rec_id = ?"
    if connection.execute(known, [withdrawal.rec_id]).fetchone():
        return False
    cursor = connection.execute(
        "INSERT INTO withdrawals (rec_id, reason, reviewer, at) VALUES (?, ?, ?, ?)",
        [withdrawal.rec_id, withdrawal.reason, withdrawal.reviewer, withdrawal.at],
    )
    assert cursor.lastrowid is not None
    chain.append(connection, "withdrawal", cursor.lastrowid)
    return True


def read_withdrawals(connection: sqlite3.Connection) -> list[Withdrawal]:
    """Return all withdrawals in order; none from a log that is older than withdrawals."""
    if not chain.has_chain(connection):
        return []
    sql = "SELECT rec_id, reason, reviewer, at FROM withdrawals ORDER BY number"
    return [Withdrawal(*row) for row in connection.execute(sql)]
