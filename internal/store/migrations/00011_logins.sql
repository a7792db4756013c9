-- Logins, from sign-in to end; what providers gave for them; what programs
-- exchange for one. Secrets are hashes, or sealed.

-- +goose Up
ALTER TABLE tokens ADD COLUMN login TEXT NOT NULL DEFAULT '';
CREATE INDEX tokens_by_login ON tokens (login) WHERE login <> '';
ALTER TABLE sessions ADD COLUMN login TEXT NOT NULL DEFAULT '';

CREATE TABLE grants (
    id         TEXT   NOT NULL PRIMARY KEY,
    kind       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    sid        TEXT   NOT NULL,
    refresh    TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    checked_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL
);
CREATE INDEX grants_by_identity ON grants (name, kind);
CREATE INDEX grants_due ON grants (checked_at) WHERE ended_at = 0 AND refresh <> '';

CREATE TABLE logins (
    id            TEXT    NOT NULL PRIMARY KEY,
    kind          TEXT    NOT NULL,
    identity_kind TEXT    NOT NULL,
    identity_name TEXT    NOT NULL,
    identity      TEXT    NOT NULL,
    grant_id      TEXT    NOT NULL,
    client        TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL,
    expires_at    BIGINT  NOT NULL,
    ended_at      BIGINT  NOT NULL,
    end_reason    TEXT    NOT NULL,
    generation    INTEGER NOT NULL
);
CREATE INDEX logins_by_identity ON logins (identity_name, identity_kind);
CREATE INDEX logins_by_grant ON logins (grant_id);
CREATE INDEX logins_by_expiry ON logins (expires_at);

CREATE TABLE refresh_tokens (
    hash       TEXT    NOT NULL PRIMARY KEY,
    login      TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    token      TEXT    NOT NULL
);
CREATE UNIQUE INDEX refresh_tokens_by_login ON refresh_tokens (login, generation);

CREATE TABLE login_codes (
    hash       TEXT   NOT NULL PRIMARY KEY,
    challenge  TEXT   NOT NULL,
    redirect   TEXT   NOT NULL,
    client     TEXT   NOT NULL,
    source     TEXT   NOT NULL,
    identity   TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    login      TEXT   NOT NULL
);

CREATE TABLE devices (
    hash       TEXT   NOT NULL PRIMARY KEY,
    user_code  TEXT   NOT NULL UNIQUE,
    state      TEXT   NOT NULL,
    client     TEXT   NOT NULL,
    source     TEXT   NOT NULL,
    identity   TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- What may be used once: a login attempt's state, the id of a signed token.
CREATE TABLE spent (
    what       TEXT   NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX spent_by_expiry ON spent (expires_at);

-- +goose Down
DROP TABLE spent;
DROP TABLE devices;
DROP TABLE login_codes;
DROP TABLE refresh_tokens;
DROP TABLE logins;
DROP TABLE grants;
ALTER TABLE sessions DROP COLUMN login;
DROP INDEX tokens_by_login;
ALTER TABLE tokens DROP COLUMN login;
