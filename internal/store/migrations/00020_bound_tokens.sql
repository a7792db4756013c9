-- What a token is bound to: the key that must be shown with it, the networks it
-- may come from (JSON), the login it ends with; and the SCRAM verifier of its
-- secret.

-- +goose Up
ALTER TABLE tokens ADD COLUMN bound_key TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN networks TEXT NOT NULL DEFAULT 'null';
ALTER TABLE tokens ADD COLUMN parent TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN verifier TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN comment TEXT NOT NULL DEFAULT '';
CREATE INDEX tokens_by_parent ON tokens (parent);

-- +goose Down
DROP INDEX tokens_by_parent;
ALTER TABLE tokens DROP COLUMN comment;
ALTER TABLE tokens DROP COLUMN verifier;
ALTER TABLE tokens DROP COLUMN parent;
ALTER TABLE tokens DROP COLUMN networks;
ALTER TABLE tokens DROP COLUMN bound_key;
