-- Entries of the audit log that were written in one transaction with the act
-- that they are about, until they are in the log: for milliseconds, or until the
-- next start.

-- +goose Up
CREATE TABLE audit_outbox (
    id    TEXT   NOT NULL PRIMARY KEY,
    time  BIGINT NOT NULL,
    entry TEXT   NOT NULL
);

-- +goose Down
DROP TABLE audit_outbox;
