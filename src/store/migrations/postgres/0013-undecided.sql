-- What a user has undecided is counted before more is added.
CREATE INDEX requests_undecided ON countersign.requests (requester) WHERE state = 'PENDING';
CREATE INDEX grants_undecided ON countersign.grants (grantee) WHERE state = 'REQUESTED';

-- Who asks waits for all who have asked for the same user and have not committed yet; what is counted then is what there is.
-- Who has no room is not made to wait.
CREATE FUNCTION countersign.has_room(who text, since bigint, most bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    FOR look IN 1..2 LOOP
        IF (SELECT count(*) FROM (
                SELECT 1 FROM countersign.requests r WHERE r.requester = who AND r.state = 'PENDING' AND r.expires_at > since
                UNION ALL
                SELECT 1 FROM countersign.grants g WHERE g.grantee = who AND g.state = 'REQUESTED' AND g.expires_at > since
                LIMIT most) undecided) >= most THEN
            RETURN false;
        END IF;
        IF look = 1 THEN
            PERFORM pg_catalog.pg_advisory_xact_lock(1668641396, pg_catalog.hashtext(who));
        END IF;
    END LOOP;
    RETURN true;
END $$;
