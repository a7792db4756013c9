-- Emergency access that was issued ahead of time, for when nobody can sign in.

-- +goose Up
CREATE TABLE offline_grants (
    id        TEXT   NOT NULL PRIMARY KEY,
    hash      TEXT   NOT NULL UNIQUE, -- of its code
    issued_at BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    body      TEXT   NOT NULL
);
CREATE INDEX offline_grants_by_time ON offline_grants (issued_at, id);

-- +goose Down
DROP TABLE offline_grants;
