-- People who come from an identity provider: its name and its own id of them.

-- +goose Up
ALTER TABLE accounts ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN email TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN login_at BIGINT NOT NULL DEFAULT 0;
-- An account that waits for its person has a provider and no subject yet.
CREATE UNIQUE INDEX accounts_by_subject ON accounts (provider, subject) WHERE subject <> '';

-- +goose Down
DROP INDEX accounts_by_subject;
ALTER TABLE accounts DROP COLUMN login_at;
ALTER TABLE accounts DROP COLUMN email;
ALTER TABLE accounts DROP COLUMN subject;
ALTER TABLE accounts DROP COLUMN provider;
