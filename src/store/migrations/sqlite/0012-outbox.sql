-- Who is to be told of what happens.
CREATE TABLE notify_targets (
    name     TEXT     NOT NULL PRIMARY KEY,
    seen_at  INTEGER  NOT NULL
) STRICT, WITHOUT ROWID;

-- What they are to be told, one row for each target, until some time after it was.
CREATE TABLE deliveries (
    id           INTEGER  NOT NULL PRIMARY KEY AUTOINCREMENT,
    target       TEXT     NOT NULL,
    about        TEXT     NOT NULL,
    subject      TEXT     NOT NULL,
    what         TEXT     NOT NULL,
    person       TEXT     NOT NULL,
    at           INTEGER  NOT NULL,
    -- Since when it is tried.
    since        INTEGER  NOT NULL,
    state        TEXT     NOT NULL DEFAULT 'WAITING',
    attempts     INTEGER  NOT NULL DEFAULT 0,
    due_at       INTEGER  NOT NULL DEFAULT 0,
    leased_by    INTEGER  NOT NULL DEFAULT 0,
    lease_until  INTEGER  NOT NULL DEFAULT 0,
    tried_at     INTEGER,
    answer       TEXT
) STRICT;
CREATE INDEX deliveries_waiting ON deliveries (target, id, due_at, lease_until) WHERE state = 'WAITING';
CREATE INDEX deliveries_in_order ON deliveries (target, subject, id) WHERE state = 'WAITING';
CREATE INDEX deliveries_ended ON deliveries (tried_at) WHERE state <> 'WAITING';
CREATE INDEX deliveries_state ON deliveries (state, target, at);
CREATE INDEX deliveries_subject ON deliveries (subject);

-- Whatever is written down is told, by whichever statement it was written.
CREATE TRIGGER transitions_to_tell AFTER INSERT ON transitions BEGIN
    INSERT INTO deliveries (target, about, subject, what, person, at, since)
    SELECT t.name, 'request', NEW.request, NEW.to_state, NEW.person, NEW.at, NEW.at FROM notify_targets t;
END;
CREATE TRIGGER votes_to_tell AFTER INSERT ON votes BEGIN
    INSERT INTO deliveries (target, about, subject, what, person, at, since)
    SELECT t.name, 'request', NEW.request, 'VOTED', NEW.person, NEW.at, NEW.at FROM notify_targets t;
END;
CREATE TRIGGER comments_to_tell AFTER INSERT ON comments BEGIN
    INSERT INTO deliveries (target, about, subject, what, person, at, since)
    SELECT t.name, 'request', NEW.request, 'COMMENTED', NEW.person, NEW.at, NEW.at FROM notify_targets t;
END;
CREATE TRIGGER grants_to_tell AFTER INSERT ON grant_tellings BEGIN
    INSERT INTO deliveries (target, about, subject, what, person, at, since)
    SELECT t.name, 'grant', NEW.grant_id, coalesce(NEW.to_state, 'VOTED'), coalesce(NEW.person, ''), NEW.at, NEW.at
    FROM notify_targets t;
END;

-- Messages that can be changed later: where they are, and what they are called there.
CREATE TABLE notify_messages (
    target     TEXT     NOT NULL,
    subject    TEXT     NOT NULL,
    place      TEXT     NOT NULL,
    reference  TEXT     NOT NULL,
    posted_at  INTEGER  NOT NULL,
    PRIMARY KEY (target, subject, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX notify_messages_posted ON notify_messages (posted_at);

-- Places that want to hear of a database, or of all ('*').
CREATE TABLE notify_subscriptions (
    target    TEXT     NOT NULL,
    place     TEXT     NOT NULL,
    database  TEXT     NOT NULL,
    person    TEXT     NOT NULL,
    at        INTEGER  NOT NULL,
    PRIMARY KEY (target, place, database)
) STRICT, WITHOUT ROWID;
