-- Times are milliseconds since the beginning of 1970. Tokens are kept as public keys, which no token
-- can be made from.
CREATE TABLE users (
    name TEXT PRIMARY KEY NOT NULL,
    created BIGINT NOT NULL,
    disabled BIGINT
);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    verifier TEXT NOT NULL,
    rights TEXT NOT NULL,
    created BIGINT NOT NULL,
    last_used BIGINT,
    revoked BIGINT
);

CREATE INDEX tokens_of_owner ON tokens (owner);
CREATE UNIQUE INDEX tokens_in_use ON tokens (owner, name) WHERE revoked IS NULL;

-- What has moved under a quota, by account and start of the period in seconds since 1970.
CREATE TABLE traffic (
    account TEXT NOT NULL,
    period BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (account, period)
);

-- What has changed, for relays that run: a token by its id, or all of an owner's.
CREATE TABLE changes (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token TEXT,
    owner TEXT
);

-- Relays that run listen for it.
CREATE FUNCTION tell_change() RETURNS trigger AS $$
BEGIN
    PERFORM pg_notify('sallyport_changes', '');
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER changes_are_told AFTER INSERT ON changes
    FOR EACH STATEMENT EXECUTE FUNCTION tell_change();
