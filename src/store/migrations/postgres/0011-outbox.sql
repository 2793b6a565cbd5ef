-- Who is to be told of what happens.
CREATE TABLE countersign.notify_targets (
    name     text    NOT NULL PRIMARY KEY,
    seen_at  bigint  NOT NULL
);

-- What they are to be told, one row for each target, until some time after it was.
CREATE TABLE countersign.deliveries (
    id           bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target       text     NOT NULL,
    about        text     NOT NULL,
    subject      text     COLLATE "C" NOT NULL,
    what         text     NOT NULL,
    person       text     NOT NULL,
    at           bigint   NOT NULL,
    -- Since when it is tried.
    since        bigint   NOT NULL,
    state        text     NOT NULL DEFAULT 'WAITING',
    attempts     bigint   NOT NULL DEFAULT 0,
    due_at       bigint   NOT NULL DEFAULT 0,
    leased_by    bigint   NOT NULL DEFAULT 0,
    lease_until  bigint   NOT NULL DEFAULT 0,
    tried_at     bigint,
    answer       text
);
CREATE INDEX deliveries_waiting ON countersign.deliveries (target, id) WHERE state = 'WAITING';
CREATE INDEX deliveries_in_order ON countersign.deliveries (target, subject, id) WHERE state = 'WAITING';
CREATE INDEX deliveries_ended ON countersign.deliveries (tried_at) WHERE state <> 'WAITING';
CREATE INDEX deliveries_state ON countersign.deliveries (state, target, at);
CREATE INDEX deliveries_subject ON countersign.deliveries (subject);

-- Whatever is written down is told, by whichever statement, of whichever version of the program, it was written.
CREATE FUNCTION countersign.transitions_to_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO countersign.deliveries (target, about, subject, what, person, at, since)
    SELECT t.name, 'request', n.request, n.to_state, n.person, n.at, n.at
    FROM added n CROSS JOIN countersign.notify_targets t ORDER BY n.request, n.seq;
    RETURN NULL;
END $$;
CREATE TRIGGER transitions_to_tell AFTER INSERT ON countersign.transitions REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION countersign.transitions_to_tell();

CREATE FUNCTION countersign.votes_to_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO countersign.deliveries (target, about, subject, what, person, at, since)
    SELECT t.name, 'request', n.request, 'VOTED', n.person, n.at, n.at
    FROM added n CROSS JOIN countersign.notify_targets t ORDER BY n.request, n.seq;
    RETURN NULL;
END $$;
CREATE TRIGGER votes_to_tell AFTER INSERT ON countersign.votes REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION countersign.votes_to_tell();

CREATE FUNCTION countersign.comments_to_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO countersign.deliveries (target, about, subject, what, person, at, since)
    SELECT t.name, 'request', n.request, 'COMMENTED', n.person, n.at, n.at
    FROM added n CROSS JOIN countersign.notify_targets t ORDER BY n.request, n.seq;
    RETURN NULL;
END $$;
CREATE TRIGGER comments_to_tell AFTER INSERT ON countersign.comments REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION countersign.comments_to_tell();

CREATE FUNCTION countersign.grants_to_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO countersign.deliveries (target, about, subject, what, person, at, since)
    SELECT t.name, 'grant', n.grant_id, coalesce(n.to_state, 'VOTED'), coalesce(n.person, ''), n.at, n.at
    FROM added n CROSS JOIN countersign.notify_targets t;
    RETURN NULL;
END $$;
CREATE TRIGGER grants_to_tell AFTER INSERT ON countersign.grant_tellings REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION countersign.grants_to_tell();

-- Messages that can be changed later: where they are, and what they are called there.
CREATE TABLE countersign.notify_messages (
    target     text    NOT NULL,
    subject    text    COLLATE "C" NOT NULL,
    place      text    NOT NULL,
    reference  text    NOT NULL,
    posted_at  bigint  NOT NULL,
    PRIMARY KEY (target, subject, place)
);
CREATE INDEX notify_messages_posted ON countersign.notify_messages (posted_at);

-- Places that want to hear of a database, or of all ('*').
CREATE TABLE countersign.notify_subscriptions (
    target    text    NOT NULL,
    place     text    NOT NULL,
    database  text    NOT NULL,
    person    text    NOT NULL,
    at        bigint  NOT NULL,
    PRIMARY KEY (target, place, database)
);
