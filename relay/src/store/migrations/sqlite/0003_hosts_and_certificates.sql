-- Accounts at authorities that issue certificates, with their keys, by the URL of the authority's
-- directory.
CREATE TABLE acme_accounts (
    directory TEXT PRIMARY KEY NOT NULL,
    credentials TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What they have issued, with its key: the last one for each name, and when it is to be renewed.
CREATE TABLE certificates (
    directory TEXT NOT NULL,
    name TEXT NOT NULL,
    chain TEXT NOT NULL,
    private_key TEXT NOT NULL,
    expires INTEGER NOT NULL,
    renew INTEGER NOT NULL,
    PRIMARY KEY (directory, name)
) STRICT, WITHOUT ROWID;

-- What was ordered of late, so that relays keep within what authorities allow. Without an outcome the
-- order goes on, or whoever placed it was killed. `again`: not before then.
CREATE TABLE certificate_orders (
    directory TEXT NOT NULL,
    name TEXT NOT NULL,
    began INTEGER NOT NULL,
    outcome TEXT,
    again INTEGER,
    PRIMARY KEY (directory, name, began)
) STRICT, WITHOUT ROWID;

-- Host names that belong to somebody: whole ones, and labels (without a dot) in front of the relay's
-- domain. Several may say that one is theirs; who has proven it has it, and that is one alone. The
-- code is what the owner puts into DNS for that. `missing` is since when it is not found there, `asked`
-- the last day on which a client has asked for it: without one an operator has added it.
CREATE TABLE domains (
    name TEXT NOT NULL,
    owner TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    code TEXT NOT NULL,
    created INTEGER NOT NULL,
    proven INTEGER,
    missing INTEGER,
    asked INTEGER,
    PRIMARY KEY (name, owner)
) STRICT, WITHOUT ROWID;

CREATE INDEX domains_of_owner ON domains (owner);
CREATE UNIQUE INDEX domains_proven ON domains (name) WHERE proven IS NOT NULL;

ALTER TABLE changes ADD COLUMN domain TEXT;
