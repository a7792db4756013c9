-- What identity providers said: events that were taken, so that none counts
-- twice, and sessions that they ended.

-- +goose Up
CREATE TABLE security_events (
    issuer TEXT   NOT NULL,
    id     TEXT   NOT NULL,
    until  BIGINT NOT NULL,
    PRIMARY KEY (issuer, id)
);
CREATE INDEX security_events_by_end ON security_events (until);
CREATE INDEX grants_by_session ON grants (sid) WHERE sid <> '';

-- +goose Down
DROP INDEX grants_by_session;
DROP TABLE security_events;
