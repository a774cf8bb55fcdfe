-- What statistics and requests are of: a tunnel, all tunnels of an owner (no tunnel), or all of the
-- relay (no owner either). `gone` is since when its owner is no user any more: what is kept of it is
-- shown to nobody, and removed bit by bit. Numbers are never given out again.
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    tunnel TEXT NOT NULL,
    gone INTEGER
) STRICT;

CREATE UNIQUE INDEX series_in_use ON series (owner, tunnel) WHERE gone IS NULL;

-- What has moved in a minute or an hour, which is its `step` in milliseconds. Several rows of one time
-- are parts of it, which different runs of relays have counted: each writes over its own and over no
-- other. `first_byte` is a histogram.
CREATE TABLE statistics (
    series INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    time INTEGER NOT NULL,
    part INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    visits INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    first_byte BLOB NOT NULL,
    PRIMARY KEY (series, step, time, part)
) STRICT, WITHOUT ROWID;

-- Requests and visits that are over, by when they came and a number that tells those of one moment
-- apart. `length` and `first_byte` are in microseconds. `count` is how many were left out, in a row
-- that stands for them.
CREATE TABLE history (
    time INTEGER NOT NULL,
    number INTEGER NOT NULL,
    series INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    visitor TEXT,
    method TEXT,
    host TEXT,
    path TEXT,
    status INTEGER,
    fault TEXT,
    outcome TEXT,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    length INTEGER NOT NULL,
    first_byte INTEGER,
    count INTEGER NOT NULL,
    PRIMARY KEY (time, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX history_of_series ON history (series, time, number);
