-- How far each reader of the access log has come. Moves in the transaction that keeps what was read.
CREATE TABLE follower (
    name     TEXT   NOT NULL PRIMARY KEY,
    file     TEXT   NOT NULL,
    position BIGINT NOT NULL
);

-- What a person did that touches a theme, within a window of time.
CREATE TABLE alert (
    id             TEXT   NOT NULL PRIMARY KEY,
    -- 'user:' and the name in lower case, or 'address:' and the address: the key that alerts are grouped by.
    person         TEXT   NOT NULL,
    user_name      TEXT,
    client         TEXT   NOT NULL,
    group_name     TEXT,
    theme          TEXT   NOT NULL,
    level          TEXT   NOT NULL,
    first_at       BIGINT NOT NULL,
    last_at        BIGINT NOT NULL,
    window_ends_at BIGINT NOT NULL,
    exchanges      BIGINT NOT NULL
);

CREATE INDEX alert_by_person ON alert (person, theme, first_at);
CREATE INDEX alert_by_time ON alert (first_at);

-- The exchanges of an alert, the first so many of them; the access log has all.
CREATE TABLE alert_event (
    event_id TEXT   NOT NULL,
    theme    TEXT   NOT NULL,
    alert_id TEXT   NOT NULL REFERENCES alert (id) ON DELETE CASCADE,
    at       BIGINT NOT NULL,
    url      TEXT,
    verdict  TEXT   NOT NULL,
    -- The verdict that a monitor-only group was spared.
    spared   TEXT,
    category TEXT   NOT NULL,
    level    TEXT   NOT NULL,
    -- JSON: what was found, and what the person wrote.
    evidence TEXT   NOT NULL,
    written  TEXT   NOT NULL,
    PRIMARY KEY (event_id, theme)
);

CREATE INDEX alert_event_by_alert ON alert_event (alert_id, at);

-- The digests that were made: one for each period.
CREATE TABLE digest (
    id        TEXT   NOT NULL PRIMARY KEY,
    -- 'day' or 'week'.
    span      TEXT   NOT NULL,
    first_day TEXT   NOT NULL,
    made_at   BIGINT NOT NULL,
    UNIQUE (span, first_day)
);

-- What is to be sent to whom, and what became of it.
CREATE TABLE delivery (
    id         TEXT   NOT NULL PRIMARY KEY,
    -- 'alert' or 'digest', and its id.
    subject    TEXT   NOT NULL,
    subject_id TEXT   NOT NULL,
    -- 'email' and the address, or 'webhook' and nothing.
    channel    TEXT   NOT NULL,
    address    TEXT   NOT NULL,
    -- 'pending', 'sending', 'delivered' or 'dead'.
    state      TEXT   NOT NULL,
    attempts   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    settled_at BIGINT,
    -- Names no person.
    last_error TEXT,
    UNIQUE (subject, subject_id, channel, address)
);

CREATE INDEX delivery_by_turn ON delivery (channel, state, next_at);
