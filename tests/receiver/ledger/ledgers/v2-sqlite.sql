-- The ledger as version 2 made it; never to be changed.

CREATE TABLE deliveries (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    source TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    address TEXT,
    encoding TEXT,
    body_sha256 TEXT NOT NULL,
    event TEXT,
    fields TEXT NOT NULL,
    slot TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    repeats INTEGER DEFAULT '0' NOT NULL,
    last_repeat_at BIGINT,
    UNIQUE (id)
);

CREATE INDEX deliveries_by_slot ON deliveries (slot, seq);

CREATE TABLE meta (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE pauses (
    scope TEXT NOT NULL,
    until BIGINT,
    failures INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (scope)
);

CREATE TABLE rejections (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    source TEXT NOT NULL,
    address TEXT,
    reason TEXT NOT NULL,
    status INTEGER NOT NULL
);

CREATE TABLE dispatches (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    repository TEXT NOT NULL,
    event_type TEXT NOT NULL,
    client_payload TEXT NOT NULL,
    "key" TEXT NOT NULL,
    lane TEXT NOT NULL,
    accepted_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    due_at BIGINT,
    ended_at BIGINT,
    fence INTEGER NOT NULL,
    attempts_begun INTEGER NOT NULL,
    attempts_used INTEGER NOT NULL,
    doubts INTEGER NOT NULL,
    doubt_since BIGINT,
    possibly_duplicated BOOLEAN NOT NULL,
    reason TEXT,
    detail TEXT,
    run_url TEXT,
    overtakes BOOLEAN DEFAULT 0 NOT NULL,
    crashes INTEGER DEFAULT '0' NOT NULL,
    redeliveries INTEGER DEFAULT '0' NOT NULL,
    redelivered_at BIGINT,
    UNIQUE (repository, "key"),
    UNIQUE (id),
    FOREIGN KEY(delivery_id) REFERENCES deliveries (id)
);

CREATE INDEX dispatches_dead ON dispatches (seq) WHERE state = 'dead';

CREATE INDEX dispatches_due ON dispatches (due_at, seq) WHERE ended_at IS NULL;

CREATE INDEX dispatches_in_line ON dispatches (repository, lane, seq) WHERE ended_at IS NULL;

CREATE UNIQUE INDEX dispatches_sending ON dispatches (repository) WHERE state = 'sending';

CREATE INDEX ix_dispatches_delivery_id ON dispatches (delivery_id);

CREATE TABLE attempts (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    dispatch_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    outcome TEXT,
    reason TEXT,
    detail TEXT,
    status INTEGER,
    UNIQUE (dispatch_id, number),
    FOREIGN KEY(dispatch_id) REFERENCES dispatches (id)
);

CREATE INDEX attempts_by_start ON attempts (started_at);
