-- The audit log: entries as they were written, the hashes of their tree, and
-- signed checkpoints. docs/audit-log.md is the specification. Rows are only
-- ever added.

-- +goose Up
CREATE TABLE audit_entries (
    seq      BIGINT NOT NULL PRIMARY KEY,
    time     BIGINT NOT NULL,
    action   TEXT   NOT NULL,
    identity TEXT   NOT NULL,
    actor    TEXT   NOT NULL,
    resource TEXT   NOT NULL,
    session  TEXT   NOT NULL,
    outcome  TEXT   NOT NULL,
    rule     TEXT   NOT NULL,
    body     TEXT   NOT NULL
);
-- Each index costs every command. Other columns are filtered by scanning.
CREATE INDEX audit_entries_by_session ON audit_entries (session, seq);

-- One row for each commit: hashes in hexadecimal, one after the other, the
-- first of which has the index idx.
CREATE TABLE audit_hashes (
    idx    BIGINT NOT NULL PRIMARY KEY,
    hashes TEXT   NOT NULL
);

CREATE TABLE audit_checkpoints (
    size BIGINT NOT NULL PRIMARY KEY,
    note TEXT   NOT NULL
);

-- +goose Down
DROP TABLE audit_checkpoints;
DROP TABLE audit_hashes;
DROP TABLE audit_entries;
