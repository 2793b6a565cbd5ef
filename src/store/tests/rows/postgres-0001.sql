-- Rows as a program of version 1 wrote them: a request that waits, an approval that was not used yet, one that was.
INSERT INTO countersign.requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, decided_at, outcome, reviewers)
VALUES ('00000000000000000000000011', 'PENDING', 1, 'alice', 'shop', '\x0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 'resubmit',
    '{"groups":["engineering"],"client_address":"local","application":"psql","statement":"DELETE FROM t","parameters":[{"type":"int4","value":"1"}],"summary":"delete on public.t","effects":["delete"],"rules":["writes"],"messages":[],"in_transaction":false}',
    0, 4102444800000000, NULL, NULL, '{dba}');
INSERT INTO countersign.demands (request, seq, grp, approvals) VALUES ('00000000000000000000000011', 1, 'dba', 1);
INSERT INTO countersign.transitions (request, seq, from_state, to_state, person, surface, at, reason)
VALUES ('00000000000000000000000011', 1, NULL, 'PENDING', 'alice', 'wire', 0, NULL);
INSERT INTO countersign.requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, decided_at, outcome, reviewers)
VALUES ('00000000000000000000000012', 'APPROVED', 2, 'alice', 'shop', '\x0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c', 'resubmit',
    '{"groups":["engineering"],"client_address":"local","application":"psql","statement":"DELETE FROM t","parameters":[{"type":"int4","value":"1"}],"summary":"delete on public.t","effects":["delete"],"rules":["writes"],"messages":[],"in_transaction":false}',
    0, 4102444800000000, 1, NULL, '{dba}');
INSERT INTO countersign.demands (request, seq, grp, approvals) VALUES ('00000000000000000000000012', 1, 'dba', 1);
INSERT INTO countersign.votes (request, seq, person, groups, approve, reason, at, surface)
VALUES ('00000000000000000000000012', 2, 'bob', '{dba}', true, 'fine', 1, 'api');
INSERT INTO countersign.transitions (request, seq, from_state, to_state, person, surface, at, reason)
VALUES ('00000000000000000000000012', 1, NULL, 'PENDING', 'alice', 'wire', 0, NULL),
       ('00000000000000000000000012', 2, 'PENDING', 'APPROVED', 'bob', 'api', 1, NULL);
INSERT INTO countersign.requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, decided_at, outcome, reviewers)
VALUES ('00000000000000000000000013', 'EXECUTED', 4, 'alice', 'shop', '\x0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', 'resubmit',
    '{"groups":["engineering"],"client_address":"local","application":"psql","statement":"DELETE FROM t","parameters":[{"type":"int4","value":"1"}],"summary":"delete on public.t","effects":["delete"],"rules":["writes"],"messages":[],"in_transaction":false}',
    0, 4102444800000000, 1, 'DELETE 1', '{dba}');
INSERT INTO countersign.demands (request, seq, grp, approvals) VALUES ('00000000000000000000000013', 1, 'dba', 1);
INSERT INTO countersign.votes (request, seq, person, groups, approve, reason, at, surface)
VALUES ('00000000000000000000000013', 2, 'bob', '{dba}', true, 'fine', 1, 'api');
INSERT INTO countersign.transitions (request, seq, from_state, to_state, person, surface, at, reason)
VALUES ('00000000000000000000000013', 1, NULL, 'PENDING', 'alice', 'wire', 0, NULL),
       ('00000000000000000000000013', 2, 'PENDING', 'APPROVED', 'bob', 'api', 1, NULL),
       ('00000000000000000000000013', 3, 'APPROVED', 'EXECUTING', 'alice', 'wire', 2, NULL),
       ('00000000000000000000000013', 4, 'EXECUTING', 'EXECUTED', 'proxy', 'proxy', 3, NULL);
