-- Word of reviews, on its way to where people are; and the signed messages that
-- came back, each of which counts once.

-- +goose Up
CREATE TABLE notifications (
    id         BIGINT  NOT NULL PRIMARY KEY,
    channel    TEXT    NOT NULL,
    review     TEXT    NOT NULL,
    step       TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    attempts   INTEGER NOT NULL,
    next_at    BIGINT  NOT NULL,
    problem    TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    body       TEXT    NOT NULL,
    UNIQUE (channel, review, step)
);
CREATE INDEX notifications_by_state ON notifications (state, next_at);

CREATE TABLE seen_messages (
    digest  TEXT   NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE seen_messages;
DROP TABLE notifications;
