-- What providers' directories said through SCIM: people, groups and who is in
-- them, as they call them; and the tokens with which they say it.

-- +goose Up
CREATE TABLE scim_tokens (
    name       TEXT     NOT NULL PRIMARY KEY,
    hash       TEXT     NOT NULL UNIQUE,
    provider   TEXT     NOT NULL,
    subjects   TEXT     NOT NULL,
    created_by TEXT     NOT NULL,
    created_at BIGINT   NOT NULL,
    expires_at BIGINT   NOT NULL,
    revoked    SMALLINT NOT NULL
);

CREATE TABLE scim_users (
    id          TEXT     NOT NULL PRIMARY KEY,
    provider    TEXT     NOT NULL,
    user_name   TEXT     NOT NULL,
    external_id TEXT     NOT NULL,
    account     TEXT     NOT NULL,
    active      SMALLINT NOT NULL,
    disabled    SMALLINT NOT NULL,
    deleted     SMALLINT NOT NULL,
    attributes  TEXT     NOT NULL,
    created_at  BIGINT   NOT NULL,
    modified_at BIGINT   NOT NULL
);
CREATE INDEX scim_users_by_provider ON scim_users (provider, user_name);
CREATE INDEX scim_users_by_account ON scim_users (account);

CREATE TABLE scim_groups (
    id          TEXT   NOT NULL PRIMARY KEY,
    provider    TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    external_id TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);
CREATE INDEX scim_groups_by_name ON scim_groups (name);

CREATE TABLE scim_members (
    group_id TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX scim_members_by_user ON scim_members (user_id);

-- +goose Down
DROP TABLE scim_members;
DROP TABLE scim_groups;
DROP TABLE scim_users;
DROP TABLE scim_tokens;
