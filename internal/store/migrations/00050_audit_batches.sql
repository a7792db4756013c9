-- Entries of the audit log as runs of lines: what is committed together is
-- written together. A row for each entry, with columns and an index of its own,
-- cost an allowed command more than its decision. docs/audit-log.md is the
-- specification.

-- +goose Up
CREATE TABLE audit_batches (
    first BIGINT NOT NULL PRIMARY KEY, -- the number of the first line's entry
    last  BIGINT NOT NULL,             -- and of the last one's
    lines TEXT   NOT NULL              -- each ends in a line feed
);
INSERT INTO audit_batches (first, last, lines) SELECT seq, seq, body || '
' FROM audit_entries;
DROP TABLE audit_entries;

-- What is searched by: for each segment of the log, which of its entries have
-- which term, in base64. It can be made anew from the lines.
CREATE TABLE audit_segments (
    segment   BIGINT NOT NULL PRIMARY KEY, -- entries segment * 8192 + 1 and the next 8191
    from_time BIGINT NOT NULL,
    to_time   BIGINT NOT NULL
);
CREATE TABLE audit_terms (
    bucket   INTEGER NOT NULL,
    segment  BIGINT  NOT NULL,
    postings TEXT    NOT NULL,
    PRIMARY KEY (bucket, segment)
);

-- +goose Down
DROP TABLE audit_terms;
DROP TABLE audit_segments;
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
CREATE INDEX audit_entries_by_session ON audit_entries (session, seq);
DROP TABLE audit_batches;
