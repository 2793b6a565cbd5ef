-- Rows as a program of version 1 wrote them: a request that waits, an approval that was not used yet, one that was.
INSERT INTO requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, decided_at, outcome)
VALUES ('00000000000000000000000011', 'PENDING', 1, 'alice', 'shop', x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 'resubmit',
    '{"groups":["engineering"],"client_address":"local","application":"psql","statement":"DELETE FROM t","parameters":[{"type":"int4","value":"1"}],"summary":"delete on public.t","effects":["delete"],"rules":["writes"],"messages":[],"in_transaction":false}',
    0, 4102444800000000, NULL, NULL);
INSERT INTO demands (request, seq, grp, approvals) VALUES ('00000000000000000000000011', 0, 'dba', 1);
INSERT INTO transitions (request, seq, from_state, to_state, person, surface, at, reason)
VALUES ('00000000000000000000000011', 0, NULL, 'PENDING', 'alice', 'wire', 0, NULL);
INSERT INTO requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, decided_at, outcome)
VALUES ('00000000000000000000000012', 'APPROVED', 2, 'alice', 'shop', x'0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c', 'resubmit',
    '{"groups":["engineering"],"client_address":"local","application":"psql","statement":"DELETE FROM t","parameters":[{"type":"int4","value":"1"}],"summary":"delete on public.t","effects":["delete"],"rules":["writes"],"messages":[],"in_transaction":false}',
    0, 4102444800000000, 1, NULL);
INSERT INTO demands (request, seq, grp, approvals) VALUES ('00000000000000000000000012', 0, 'dba', 1);
INSERT INTO votes (request, seq, person, groups, approve, reason, at, surface)
VALUES ('00000000000000000000000012', 0, 'bob', '["dba"]', 1, 'fine', 1, 'api');
INSERT INTO transitions (request, seq, from_state, to_state, person, surface, at, reason)
VALUES ('00000000000000000000000012', 0, NULL, 'PENDING', 'alice', 'wire', 0, NULL),
       ('00000000000000000000000012', 1, 'PENDING', 'APPROVED', 'bob', 'api', 1, NULL);
INSERT INTO requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, decided_at, outcome)
VALUES ('00000000000000000000000013', 'EXECUTED', 4, 'alice', 'shop', x'0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', 'resubmit',
    '{"groups":["engineering"],"client_address":"local","application":"psql","statement":"DELETE FROM t","parameters":[{"type":"int4","value":"1"}],"summary":"delete on public.t","effects":["delete"],"rules":["writes"],"messages":[],"in_transaction":false}',
    0, 4102444800000000, 1, 'DELETE 1');
INSERT INTO demands (request, seq, grp, approvals) VALUES ('00000000000000000000000013', 0, 'dba', 1);
INSERT INTO votes (request, seq, person, groups, approve, reason, at, surface)
VALUES ('00000000000000000000000013', 0, 'bob', '["dba"]', 1, 'fine', 1, 'api');
INSERT INTO transitions (request, seq, from_state, to_state, person, surface, at, reason)
VALUES ('00000000000000000000000013', 0, NULL, 'PENDING', 'alice', 'wire', 0, NULL),
       ('00000000000000000000000013', 1, 'PENDING', 'APPROVED', 'bob', 'api', 1, NULL),
       ('00000000000000000000000013', 2, 'APPROVED', 'EXECUTING', 'alice', 'wire', 2, NULL),
       ('00000000000000000000000013', 3, 'EXECUTING', 'EXECUTED', 'proxy', 'proxy', 3, NULL);
