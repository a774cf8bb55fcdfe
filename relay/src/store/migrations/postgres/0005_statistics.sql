-- What statistics and requests are of: a tunnel, all tunnels of an owner (no tunnel), or all of the
-- relay (no owner either). `gone` is since when its owner is no user any more: what is kept of it is
-- shown to nobody, and removed bit by bit. Numbers are never given out again.
CREATE TABLE series (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner TEXT NOT NULL,
    tunnel TEXT NOT NULL,
    gone BIGINT
);

CREATE UNIQUE INDEX series_in_use ON series (owner, tunnel) WHERE gone IS NULL;

-- What has moved in a minute or an hour, which is its `step` in milliseconds. Several rows of one time
-- are parts of it, which different runs of relays have counted: each writes over its own and over no
-- other. `first_byte` is a histogram.
CREATE TABLE statistics (
    series BIGINT NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    step BIGINT NOT NULL,
    time BIGINT NOT NULL,
    part BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    visits BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    first_byte BYTEA NOT NULL,
    PRIMARY KEY (series, step, time, part)
);

-- Requests and visits that are over, by when they came and a number that tells those of one moment
-- apart. `length` and `first_byte` are in microseconds. `count` is how many were left out, in a row
-- that stands for them.
CREATE TABLE history (
    time BIGINT NOT NULL,
    number BIGINT NOT NULL,
    series BIGINT NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    visitor TEXT,
    method TEXT,
    host TEXT,
    path TEXT,
    status BIGINT,
    fault TEXT,
    outcome TEXT,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    length BIGINT NOT NULL,
    first_byte BIGINT,
    count BIGINT NOT NULL,
    PRIMARY KEY (time, number)
);

CREATE INDEX history_of_series ON history (series, time, number);
