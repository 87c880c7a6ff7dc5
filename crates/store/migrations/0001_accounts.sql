-- Local accounts. Times are milliseconds since 1970 (UTC). Portable: the same text runs on PostgreSQL.
CREATE TABLE account (
    -- The name in lower case: accounts differ in more than capitals.
    name_key      TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    -- A PHC string ($argon2id$...); never the password.
    password_hash TEXT   NOT NULL,
    -- A JSON array of group names, in the order given.
    group_names   TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    -- 0 or 1.
    disabled      BIGINT NOT NULL DEFAULT 0
);

-- Counters that move with each change of a kind of record, so that another process notices cheaply.
CREATE TABLE revision (
    topic  TEXT   NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL
);

INSERT INTO revision (topic, number) VALUES ('accounts', 0);
