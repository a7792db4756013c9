-- Access on request: by which grant a session was opened, and what rules in
-- shadow mode would have done.

-- +goose Up
ALTER TABLE sessions ADD COLUMN grant_id TEXT NOT NULL DEFAULT '';

CREATE TABLE shadows (
    rule          TEXT   NOT NULL,
    verdict       TEXT   NOT NULL,
    resource      TEXT   NOT NULL,
    identity      TEXT   NOT NULL,
    kind          TEXT   NOT NULL,
    verb          TEXT   NOT NULL,
    commands      BIGINT NOT NULL,
    first_at      BIGINT NOT NULL,
    last_at       BIGINT NOT NULL,
    last_session  TEXT   NOT NULL,
    last_n        BIGINT NOT NULL,
    PRIMARY KEY (rule, verdict, resource, kind, identity, verb)
);

-- +goose Down
DROP TABLE shadows;
ALTER TABLE sessions DROP COLUMN grant_id;
