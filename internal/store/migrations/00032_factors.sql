-- Second factors of local users, and logins that need two people.

-- +goose Up
ALTER TABLE accounts ADD COLUMN break_glass SMALLINT NOT NULL DEFAULT 0;

CREATE TABLE factors (
    account    TEXT     NOT NULL,
    kind       TEXT     NOT NULL,
    sealed     TEXT     NOT NULL,
    confirmed  SMALLINT NOT NULL,
    last_step  BIGINT   NOT NULL,
    created_at BIGINT   NOT NULL,
    PRIMARY KEY (account, kind)
);

CREATE TABLE break_glass_logins (
    id           TEXT   NOT NULL PRIMARY KEY,
    account      TEXT   NOT NULL,
    hash         TEXT   NOT NULL UNIQUE,
    source       TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    confirmed_by TEXT   NOT NULL,
    used_at      BIGINT NOT NULL
);
CREATE INDEX break_glass_logins_by_expiry ON break_glass_logins (expires_at);

-- +goose Down
DROP TABLE break_glass_logins;
DROP TABLE factors;
ALTER TABLE accounts DROP COLUMN break_glass;
