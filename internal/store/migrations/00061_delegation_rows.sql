-- How many rows each delegation took, by the minute (since 1970), over all
-- gateways on this store.

-- +goose Up
CREATE TABLE delegation_rows (
    delegation TEXT   NOT NULL,
    minute     BIGINT NOT NULL,
    taken      BIGINT NOT NULL,
    PRIMARY KEY (delegation, minute)
);

-- +goose Down
DROP TABLE delegation_rows;
