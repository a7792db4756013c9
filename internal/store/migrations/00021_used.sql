-- What counts once: the ids of tokens that others issued, until they expire.

-- +goose Up
CREATE TABLE used (
    id         TEXT   NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_by_expiry ON used (expires_at);

-- +goose Down
DROP TABLE used;
