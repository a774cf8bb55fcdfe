-- When a token ends because another has taken its place, which may be a while after that. It is not
-- the one in use any more, so the name is the other one's.
ALTER TABLE tokens ADD COLUMN replaced INTEGER;
DROP INDEX tokens_in_use;
CREATE UNIQUE INDEX tokens_in_use ON tokens (owner, name) WHERE revoked IS NULL AND replaced IS NULL;
