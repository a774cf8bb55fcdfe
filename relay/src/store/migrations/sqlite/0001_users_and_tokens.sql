-- Times are milliseconds since the beginning of 1970. Tokens are kept as public keys, which no token
-- can be made from.
CREATE TABLE users (
    name TEXT PRIMARY KEY NOT NULL,
    created INTEGER NOT NULL,
    disabled INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    verifier TEXT NOT NULL,
    rights TEXT NOT NULL,
    created INTEGER NOT NULL,
    last_used INTEGER,
    revoked INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_of_owner ON tokens (owner);
CREATE UNIQUE INDEX tokens_in_use ON tokens (owner, name) WHERE revoked IS NULL;

-- What has moved under a quota, by account and start of the period in seconds since 1970.
CREATE TABLE traffic (
    account TEXT NOT NULL,
    period INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (account, period)
) STRICT, WITHOUT ROWID;

-- What has changed, for relays that run: a token by its id, or all of an owner's.
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT,
    owner TEXT
) STRICT;
