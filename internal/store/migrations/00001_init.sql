-- One text for SQLite and PostgreSQL. Times are microseconds since 1970 UTC, 0
-- for none; yes and no are 1 and 0; lists and nested values are JSON.

-- +goose Up
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE sealed (
    name       TEXT NOT NULL PRIMARY KEY,
    ciphertext TEXT NOT NULL
);

CREATE TABLE accounts (
    kind        TEXT     NOT NULL,
    name        TEXT     NOT NULL,
    groups      TEXT     NOT NULL,
    secret_hash TEXT     NOT NULL,
    disabled    SMALLINT NOT NULL,
    source      TEXT     NOT NULL,
    created_at  BIGINT   NOT NULL,
    rotated_at  BIGINT   NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE INDEX accounts_by_secret ON accounts (secret_hash);

CREATE TABLE tokens (
    id            TEXT     NOT NULL PRIMARY KEY,
    kind          TEXT     NOT NULL,
    hash          TEXT     NOT NULL UNIQUE,
    identity_kind TEXT     NOT NULL,
    identity_name TEXT     NOT NULL,
    actor_kind    TEXT     NOT NULL,
    actor_name    TEXT     NOT NULL,
    identity      TEXT     NOT NULL,
    resource      TEXT     NOT NULL,
    max_uses      INTEGER  NOT NULL,
    uses          INTEGER  NOT NULL,
    created_at    BIGINT   NOT NULL,
    expires_at    BIGINT   NOT NULL,
    revoked       SMALLINT NOT NULL
);
CREATE INDEX tokens_by_identity ON tokens (identity_name, identity_kind);
CREATE INDEX tokens_by_actor ON tokens (actor_name, actor_kind);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

CREATE TABLE sessions (
    id            TEXT   NOT NULL PRIMARY KEY,
    identity      TEXT   NOT NULL,
    kind          TEXT   NOT NULL,
    actor         TEXT   NOT NULL,
    resource      TEXT   NOT NULL,
    protocol      TEXT   NOT NULL,
    database      TEXT   NOT NULL,
    token         TEXT   NOT NULL,
    access        TEXT   NOT NULL,
    source        TEXT   NOT NULL,
    client        TEXT   NOT NULL,
    started_at    BIGINT NOT NULL,
    ended_at      BIGINT NOT NULL,
    commands      BIGINT NOT NULL,
    denied        BIGINT NOT NULL,
    masked_values BIGINT NOT NULL,
    end_reason    TEXT   NOT NULL,
    digest        TEXT   NOT NULL
);
CREATE INDEX sessions_by_start ON sessions (started_at, id);
CREATE INDEX sessions_by_identity ON sessions (identity, started_at);
CREATE INDEX sessions_by_resource ON sessions (resource, started_at);
CREATE INDEX sessions_unfinished ON sessions (id) WHERE ended_at = 0;

CREATE TABLE reviews (
    id         TEXT    NOT NULL PRIMARY KEY,
    state      TEXT    NOT NULL,
    identity   TEXT    NOT NULL,
    session    TEXT    NOT NULL,
    resource   TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    expires_at BIGINT  NOT NULL,
    version    INTEGER NOT NULL,
    body       TEXT    NOT NULL
);
CREATE INDEX reviews_by_creation ON reviews (created_at, id);
CREATE INDEX reviews_by_state ON reviews (state, created_at);

CREATE TABLE objects (
    kind       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    yaml       TEXT   NOT NULL,
    updated_by TEXT   NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

-- +goose Down
DROP TABLE objects;
DROP TABLE reviews;
DROP TABLE sessions;
DROP TABLE tokens;
DROP TABLE accounts;
DROP TABLE sealed;
DROP TABLE meta;
