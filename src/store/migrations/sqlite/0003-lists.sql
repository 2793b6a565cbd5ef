ALTER TABLE demands ADD COLUMN state TEXT NOT NULL DEFAULT '';
ALTER TABLE demands ADD COLUMN database TEXT NOT NULL DEFAULT '';
ALTER TABLE demands ADD COLUMN requester TEXT NOT NULL DEFAULT '';
UPDATE demands SET (state, database, requester) =
    (SELECT r.state, r.database, r.requester FROM requests r WHERE r.id = demands.request);
CREATE INDEX demands_state ON demands (grp, state, request, database, requester);
CREATE INDEX demands_group ON demands (grp, request, database, requester);
CREATE INDEX requests_database ON requests (database, id);
CREATE INDEX requests_database_state ON requests (database, state, id);
