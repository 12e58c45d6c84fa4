BEGIN TRANSACTION;
CREATE TABLE assets (
    id TEXT PRIMARY KEY,
    num_bytes INTEGER NOT NULL,
    facts TEXT NOT NULL,
    created REAL NOT NULL
) STRICT;
INSERT INTO "assets" VALUES('asset',2,'{"seconds": 2.0}',1700000004.0);
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;
INSERT INTO "events" VALUES(1,'00000000000000000000000000000001','state','{"status": "queued"}');
INSERT INTO "events" VALUES(2,'00000000000000000000000000000001','state','{"status": "running"}');
INSERT INTO "events" VALUES(4,'00000000000000000000000000000001','output','{"id": "00000000000000000000000000000001-0", "seconds": 1.0}');
INSERT INTO "events" VALUES(5,'00000000000000000000000000000001','end','{"status": "succeeded"}');
INSERT INTO "events" VALUES(6,'00000000000000000000000000000003','state','{"status": "queued"}');
INSERT INTO "events" VALUES(7,'00000000000000000000000000000004','state','{"status": "queued"}');
INSERT INTO "events" VALUES(8,'00000000000000000000000000000003','state','{"status": "running"}');
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
    error TEXT
) STRICT;
INSERT INTO "jobs" VALUES(1,'00000000000000000000000000000001','succeeded','{"prompt": "\u00dcberblick: a DRUM, 100%", "seconds": 1.0, "seed": 3, "model": "tiny"}',NULL,8.0,1700000000.0,1700000000.0,1700000004.0,NULL,NULL,0,0,NULL,NULL);
INSERT INTO "jobs" VALUES(2,'00000000000000000000000000000003','running','{"prompt": "rain", "seconds": 1.0, "seed": 3, "model": "other"}','asset',4.0,1700000004.0,1700000004.0,NULL,'00000000000000000000000000000005',1700000034.0,0,0,NULL,NULL);
INSERT INTO "jobs" VALUES(3,'00000000000000000000000000000004','queued','{"prompt": "wind", "seconds": 1.0, "seed": 3, "model": "tiny"}',NULL,4.0,1700000004.0,NULL,NULL,NULL,NULL,0,0,NULL,NULL);
CREATE TABLE keys (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created REAL NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT;
INSERT INTO "keys" VALUES('me','k','h','00000000000000000000000000000001',1700000000.0);
CREATE TABLE outputs (
    id TEXT PRIMARY KEY,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    file TEXT NOT NULL,
    num_bytes INTEGER NOT NULL,
    facts TEXT NOT NULL
) STRICT;
INSERT INTO "outputs" VALUES('00000000000000000000000000000001-0','00000000000000000000000000000001','00000000000000000000000000000001-0.wav',5,'{"seconds": 1.0}');
CREATE INDEX jobs_by_status ON jobs (status, number);
CREATE INDEX outputs_by_job ON outputs (job);
CREATE INDEX events_by_job ON events (job, number);
COMMIT;
PRAGMA application_id=1096109140;
PRAGMA user_version=1;
