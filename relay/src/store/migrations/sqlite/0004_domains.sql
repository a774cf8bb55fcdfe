-- Host names that belong to somebody: whole ones, and labels (without a dot) in front of the relay's
-- domain. Several may say that one is theirs; who has proven it has it, and that is one alone. The
-- code is what the owner puts into DNS for that. `missing` is since when it is not found there.
CREATE TABLE domains (
    name TEXT NOT NULL,
    owner TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    code TEXT NOT NULL,
    created INTEGER NOT NULL,
    proven INTEGER,
    missing INTEGER,
    PRIMARY KEY (name, owner)
) STRICT, WITHOUT ROWID;

CREATE INDEX domains_of_owner ON domains (owner);
CREATE UNIQUE INDEX domains_proven ON domains (name) WHERE proven IS NOT NULL;

ALTER TABLE changes ADD COLUMN domain TEXT;
