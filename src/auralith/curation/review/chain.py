"""The hash chain of the review log: each decision, revision and withdrawal includes the hash of the one before it.

    entry n: SHA-256 of the canonical JSON of [hash of entry n-1, kind, facts]

The facts are the whole row, for a decision with its item, for a revision with who made it on what. So a decision that was
changed, removed, added or moved is detected when the log is read. A missing end can only be detected from outside: number and hash of the newest entry are
kept in `review.head.json` beside the log, in the manifest and in the card. If these are behind the log, it has grown
since; a log that is behind them was cut.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from auralith.errors import ResourceError
from auralith.files import canonical_json, whole_file
from auralith.foreign import SHAPE_ERRORS, parse_json

HEAD_NAME = "review.head.json"
CHAIN = """
CREATE TABLE IF NOT EXISTS {name} (
    position INTEGER PRIMARY KEY CHECK (position > 0),
    kind TEXT NOT NULL CHECK (kind IN ('begun', 'decision', 'revision', 'withdrawal')),
    row INTEGER NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    UNIQUE (kind, row)
) STRICT;
"""
SCHEMA = f"""{CHAIN.format(name="chain")}
CREATE TABLE IF NOT EXISTS withdrawals (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    rec_id TEXT NOT NULL UNIQUE CHECK (rec_id <> ''),
    reason TEXT NOT NULL CHECK (reason <> ''),
    reviewer TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS chain_not_replaced BEFORE INSERT ON chain
WHEN EXISTS (SELECT 1 FROM chain WHERE position >= NEW.position)
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS withdrawals_not_replaced BEFORE INSERT ON withdrawals
WHEN EXISTS (SELECT 1 FROM withdrawals WHERE number = NEW.number OR rec_id = NEW.rec_id)
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""
TABLES = ("chain", "withdrawals")
_ROWS = {
    "decision": "SELECT seq, decisions.*, items.* FROM decisions JOIN items USING (item_id)",
    "revision": "SELECT number, revisions.*, item_id, reviewer_key FROM revisions JOIN decisions USING (seq)",
    "withdrawal": "SELECT number, withdrawals.* FROM withdrawals",
}
_KEYS = {
    "decision": "seq",
    "revision": "revisions.number",
    "withdrawal": "withdrawals.number",
}
Facts = list[Any]
"""All columns of a row, in the order of the tables."""


@dataclass(frozen=True)
class Head:
    """The newest entry of a log."""

    entries: int
    """0 for an empty log."""
    hash: str

    def text(self) -> str:
        """Return the head as JSON, in the form of the manifest."""
        return json.dumps(asdict(self))


class ChainEntry(NamedTuple):
    """One entry of the chain."""

    position: int
    kind: str
    row: int
    """Key of the decision, revision or withdrawal; for "begun", the number of decisions older than the chain."""
    previous: str
    hash: str


def has_chain(connection: sqlite3.Connection) -> bool:
    """Return whether the log is chained; older logs are not, until something is written to them."""
    return has_table(connection, "chain")


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether a log has a table, which those of older versions may lack."""
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(sql, [name]).fetchone() is not None


def admit_revisions(connection: sqlite3.Connection) -> None:
    """Make the chain of an older log, whose kinds of entries were fixed, one that takes revisions."""
    connection.execute(CHAIN.format(name="wider_chain"))
    connection.execute("INSERT INTO wider_chain SELECT * FROM chain")
    connection.execute("DROP TABLE chain")
    connection.execute("ALTER TABLE wider_chain RENAME TO chain")


def begin(connection: sqlite3.Connection) -> int:
    """Write the first entry, and one for each decision of an older log; return the number of those decisions."""
    if connection.execute("SELECT 1 FROM chain").fetchone():
        return 0
    seqs = [row[0] for row in connection.execute("SELECT seq FROM decisions ORDER BY seq")]
    _add(connection, "begun", len(seqs), [len(seqs)])
    for seq in seqs:
        append(connection, "decision", seq)
    return len(seqs)


def append(connection: sqlite3.Connection, kind: str, row: int) -> None:
    """Chain a row that was just written."""
    found = connection.execute(f"{_ROWS[kind]} WHERE {_KEYS[kind]} = ?", [row]).fetchone()
    _add(connection, kind, row, list(found[1:]))


def _add(connection: sqlite3.Connection, kind: str, row: int, facts: Facts) -> None:
    last = head(connection)
    values = [last.entries + 1, kind, row, last.hash, _hash(last.hash, kind, facts)]
    connection.execute("INSERT INTO chain VALUES (?, ?, ?, ?, ?)", values)


def head(connection: sqlite3.Connection) -> Head:
    """Return the newest entry."""
    sql = "SELECT position, hash FROM chain ORDER BY position DESC LIMIT 1"
    newest = connection.execute(sql).fetchone()
    return Head(newest[0], newest[1]) if newest else Head(0, "")


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Compare every row of the log `path` with the chain, and the chain with the head beside the log.

    Raises:
        ResourceError: a decision, revision or withdrawal was changed, removed, added or moved, or the log was cut.
    """
    noted = read_head(path.parent)
    if not has_chain(connection):
        if noted:
            raise broken(path, f"its chain is gone, though it had {noted.entries} entries")
        return
    entries = [
        ChainEntry(*row) for row in connection.execute("SELECT * FROM chain ORDER BY position")
    ]
    for problem in _problems(connection, entries):
        raise broken(path, problem)
    if noted and not contains(connection, noted):
        raise broken(path, f"it lacks the {noted.entries} entries that {HEAD_NAME} records")


def contains(connection: sqlite3.Connection, noted: Head) -> bool:
    """Return whether a log has an entry that was once its newest."""
    if not noted.entries:
        return True
    row = connection.execute(
        "SELECT hash FROM chain WHERE position = ?", [noted.entries]
    ).fetchone()
    return row is not None and row[0] == noted.hash


def _problems(connection: sqlite3.Connection, entries: list[ChainEntry]) -> Iterator[str]:
    facts = {kind: _facts(connection, kind) for kind in _ROWS}
    previous = ""
    for number, entry in enumerate(entries, 1):
        if entry.position != number or entry.previous != previous:
            yield f"an entry before number {entry.position} was removed or moved"
        if entry.kind == "begun":
            row = [entry.row] if number == 1 else None
        else:
            row = facts[entry.kind].pop(entry.row, None)
        if row is None:
            yield f"{entry.kind} {entry.row} was removed"
        elif _hash(previous, entry.kind, row) != entry.hash:
            yield f"{entry.kind} {entry.row} was changed"
        previous = entry.hash
    for kind, rest in facts.items():
        for row_number in rest:
            yield f"{kind} {row_number} was added without the chain"


def _facts(connection: sqlite3.Connection, kind: str) -> dict[int, Facts]:
    """Return the rows of a kind by number, each with all hashed columns; none in a log without the kind."""
    if not has_table(connection, f"{kind}s"):
        return {}
    return {row[0]: list(row[1:]) for row in connection.execute(_ROWS[kind])}


def _hash(previous: str, kind: str, facts: Facts) -> str:
    return hashlib.sha256(canonical_json([previous, kind, facts]).encode()).hexdigest()


def broken(path: Path, problem: str) -> ResourceError:
    """Return the error of a log that differs from what was written."""
    return ResourceError(f"the review log {path} was tampered with: {problem}; restore a backup")


def write_head(folder: Path, newest: Head) -> None:
    """Note the newest entry beside the log."""
    with whole_file(folder / HEAD_NAME) as file:
        file.write(newest.text().encode() + b"\n")


def read_head(folder: Path) -> Head | None:
    """Return the newest entry that was noted beside the log; None if none was.

    Raises:
        ResourceError: the file can't be read.
    """
    path = folder / HEAD_NAME
    if not path.is_file():
        return None
    try:
        return parse_head(path.read_bytes())
    except (OSError, *SHAPE_ERRORS) as error:
        raise ResourceError(f"{path} can't be read ({error}); restore a backup") from error


def parse_head(text: bytes) -> Head:
    """Return the head that a JSON text holds; raise ValueError, KeyError or TypeError if it holds none."""
    found = parse_json(text)
    return Head(int(found["entries"]), str(found["hash"]))
