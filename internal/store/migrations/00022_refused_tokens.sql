-- How often a token was refused to whoever presented it, and why last: from
-- elsewhere, with another key, after it was used up.

-- +goose Up
ALTER TABLE tokens ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN refused_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN refused_why TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE tokens DROP COLUMN refused_why;
ALTER TABLE tokens DROP COLUMN refused_at;
ALTER TABLE tokens DROP COLUMN refused;
