"""The tables of jobs, and how those of an older version become them.

They are written for SQLite; `Database.types` says what another database writes in another way.
"""

import json

from auralith.jobs.database import Database
from auralith.jobs.search import search_text

APPLICATION_ID = 0x41554C54
VERSION = 2
TABLES = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    request TEXT NOT NULL,
    source TEXT,
    cost REAL NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    claim TEXT,
    lease REAL,
    crashes INTEGER NOT NULL DEFAULT 0,
    is_cancelled INTEGER NOT NULL DEFAULT 0,
    progress TEXT,
    error TEXT,
    owner TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '',
    search TEXT NOT NULL DEFAULT '',
    ready REAL,
    model_hash TEXT,
    webhook TEXT
) STRICT;
CREATE INDEX jobs_by_status ON jobs (status, number);
CREATE INDEX made_jobs ON jobs (model, finished) WHERE status = 'succeeded';
CREATE TABLE outputs (
    id TEXT PRIMARY KEY,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    file TEXT NOT NULL,
    num_bytes INTEGER NOT NULL,
    facts TEXT NOT NULL,
    is_starred INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX outputs_by_job ON outputs (job);
CREATE INDEX starred_outputs ON outputs (job) WHERE is_starred = 1;
CREATE TABLE assets (
    id TEXT PRIMARY KEY,
    num_bytes INTEGER NOT NULL,
    facts TEXT NOT NULL,
    created REAL NOT NULL,
    owner TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_job ON events (job, number);
CREATE TABLE keys (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created REAL NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT;
"""
DELIVERIES = """
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    error TEXT
) STRICT;
CREATE INDEX deliveries_by_job ON deliveries (job);
CREATE INDEX pending_deliveries ON deliveries (due) WHERE status = 'pending';
"""
FROM_1 = """
ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN model TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN search TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN ready REAL;
ALTER TABLE jobs ADD COLUMN model_hash TEXT;
ALTER TABLE jobs ADD COLUMN webhook TEXT;
CREATE INDEX made_jobs ON jobs (model, finished) WHERE status = 'succeeded';
ALTER TABLE outputs ADD COLUMN is_starred INTEGER NOT NULL DEFAULT 0;
CREATE INDEX starred_outputs ON outputs (job) WHERE is_starred = 1;
ALTER TABLE assets ADD COLUMN owner TEXT NOT NULL DEFAULT '';
"""


def create(db: Database) -> None:
    """Make the tables in an empty database, within a change of it."""
    _run(db, TABLES + DELIVERIES)


def upgrade(db: Database, version: int) -> None:
    """Make the tables of an older version those of this one, within a change of the database."""
    if version < 2:
        _run(db, FROM_1 + DELIVERIES)
        for row in db.execute("SELECT id, request FROM jobs"):
            request = json.loads(row["request"])
            db.execute(
                "UPDATE jobs SET search = ?, model = ? WHERE id = ?",
                (search_text(request), request.get("model") or "", row["id"]),
            )


def _run(db: Database, statements: str) -> None:
    for ours, theirs in db.types:
        statements = statements.replace(ours, theirs)
    for statement in statements.split(";"):
        if statement.strip():
            db.execute(statement)
