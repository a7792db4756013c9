-- What commands are searched by. No text is here: a word is the first 64 bits of
-- a keyed hash over itself and its scope, so that equal words of two scopes
-- differ. With a recording goes what was indexed of it.

-- +goose Up
CREATE TABLE search_scopes (
    resource TEXT NOT NULL,
    identity TEXT NOT NULL,
    kind     TEXT NOT NULL,
    actor    TEXT NOT NULL,
    PRIMARY KEY (resource, identity, kind, actor)
);
CREATE TABLE search_recordings (
    session TEXT    NOT NULL PRIMARY KEY,
    next    TEXT    NOT NULL, -- where in the recording what isn't indexed begins
    state   INTEGER NOT NULL  -- 0: there may be more, 1: done, 2: deleted, for good
);
CREATE TABLE search_parts (
    part    BIGINT NOT NULL PRIMARY KEY, -- when its first command came, in microseconds, or the next free number
    session TEXT   NOT NULL,
    begins  TEXT   NOT NULL,             -- where in the recording
    first   BIGINT NOT NULL,             -- numbers of commands
    last    BIGINT NOT NULL
);
CREATE INDEX search_parts_by_session ON search_parts (session);
CREATE TABLE search_words (
    word BIGINT NOT NULL,
    part BIGINT NOT NULL,
    PRIMARY KEY (word, part)
);
CREATE INDEX search_words_by_part ON search_words (part);

-- +goose Down
DROP TABLE search_words;
DROP TABLE search_parts;
DROP TABLE search_recordings;
DROP TABLE search_scopes;
