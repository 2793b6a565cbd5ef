-- Rows as a program of version 13 wrote them: a request that waits, an approval that was not used yet, one that was, a grant;
-- cards, a comment, a reason that was given later, a session of the page, and an answered call.
INSERT INTO requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, decided_at, outcome, shape, rules, justification)
VALUES ('00000000000000000000000131', 'PENDING', 1, 'alice', 'shop', x'8383838383838383838383838383838383838383838383838383838383838383', 'resubmit',
    '{"groups":["engineering"],"client_address":"local","application":"psql","statement":"DELETE FROM t","parameters":[{"type":"int4","value":"1"}],"summary":"delete on public.t","effects":["delete"],"rules":["writes"],"messages":[],"in_transaction":false,"rows_counted":true,"causes":["writes"],"shape":"03","justification":"ticket 17"}',
    0, 4102444800000000, NULL, NULL, '03', '["writes"]', NULL);
INSERT INTO demands (request, seq, grp, approvals, state, database, requester) VALUES ('00000000000000000000000131', 0, 'dba', 1, 'PENDING', 'shop', 'alice');
INSERT INTO transitions (request, seq, from_state, to_state, person, surface, at, reason, untold)
VALUES ('00000000000000000000000131', 0, NULL, 'PENDING', 'alice', 'wire', 0, NULL, 0);
INSERT INTO requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, decided_at, outcome, shape, rules, justification)
VALUES ('00000000000000000000000132', 'APPROVED', 2, 'alice', 'shop', x'8484848484848484848484848484848484848484848484848484848484848484', 'resubmit',
    '{"groups":["engineering"],"client_address":"local","application":"psql","statement":"DELETE FROM t","parameters":[{"type":"int4","value":"1"}],"summary":"delete on public.t","effects":["delete"],"rules":["writes"],"messages":[],"in_transaction":false,"rows_counted":true,"causes":["writes"],"shape":"03","justification":"ticket 17"}',
    0, 4102444800000000, 1, NULL, '03', '["writes"]', NULL);
INSERT INTO demands (request, seq, grp, approvals, state, database, requester) VALUES ('00000000000000000000000132', 0, 'dba', 1, 'APPROVED', 'shop', 'alice');
INSERT INTO votes (request, seq, person, groups, approve, reason, at, surface, offer, forced, edited, max_affected, version, untold)
VALUES ('00000000000000000000000132', 0, 'bob', '["dba"]', 1, 'fine', 1, 'api', '{"seconds":1800,"scope":"rules"}', 0, NULL, NULL, 2, 1);
INSERT INTO transitions (request, seq, from_state, to_state, person, surface, at, reason, untold)
VALUES ('00000000000000000000000132', 0, NULL, 'PENDING', 'alice', 'wire', 0, NULL, 1),
       ('00000000000000000000000132', 1, 'PENDING', 'APPROVED', 'bob', 'api', 1, NULL, 1);
INSERT INTO requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, decided_at, outcome, shape, rules, justification)
VALUES ('00000000000000000000000133', 'EXECUTED', 4, 'alice', 'shop', x'8585858585858585858585858585858585858585858585858585858585858585', 'resubmit',
    '{"groups":["engineering"],"client_address":"local","application":"psql","statement":"DELETE FROM t","parameters":[{"type":"int4","value":"1"}],"summary":"delete on public.t","effects":["delete"],"rules":["writes"],"messages":[],"in_transaction":false,"rows_counted":true,"causes":["writes"],"shape":"03","justification":"ticket 17"}',
    0, 4102444800000000, 1, 'DELETE 1', '03', '["writes"]', NULL);
INSERT INTO demands (request, seq, grp, approvals, state, database, requester) VALUES ('00000000000000000000000133', 0, 'dba', 1, 'EXECUTED', 'shop', 'alice');
INSERT INTO votes (request, seq, person, groups, approve, reason, at, surface, offer, forced, edited, max_affected, version, untold)
VALUES ('00000000000000000000000133', 0, 'bob', '["dba"]', 1, 'fine', 1, 'api', NULL, 1, 'DELETE FROM t WHERE id = 1', 100, 2, 0);
INSERT INTO transitions (request, seq, from_state, to_state, person, surface, at, reason, untold)
VALUES ('00000000000000000000000133', 0, NULL, 'PENDING', 'alice', 'wire', 0, NULL, 0),
       ('00000000000000000000000133', 1, 'PENDING', 'APPROVED', 'bob', 'api', 1, NULL, 0),
       ('00000000000000000000000133', 2, 'APPROVED', 'EXECUTING', 'alice', 'wire', 2, NULL, 0),
       ('00000000000000000000000133', 3, 'EXECUTING', 'EXECUTED', 'proxy', 'proxy', 3, NULL, 0);
INSERT INTO grants (id, state, version, grantee, database, expires_at, record)
VALUES ('00000000000000000000000134', 'ACTIVE', 1, 'alice', 'shop', 4102444800000000,
    '{"id":"00000000000000000000000134","state":"ACTIVE","version":1,"user":"alice","database":"shop","scope":{"rules":["writes"],"shape":null,"relations":null},"seconds":1800,"reviewers":[{"group":"dba","approvals":1}],"request":"00000000000000000000000132","summary":"delete on public.t","created_at":"2026-11-01T00:00:00Z","expires_at":"2100-01-01T00:00:00Z","votes":[],"transitions":[{"from":null,"to":"ACTIVE","by":"bob","surface":"api","at":"2026-11-01T00:00:00Z","reason":null}]}');
INSERT INTO cards (request, card)
VALUES ('00000000000000000000000131', '{"format":1,"complete":true,"role":"shop_rw","search_path":["pg_catalog","public"],"statements":[],"relations":{"shown":[]},"sets_off":{"shown":{"triggers":[],"cascades":[]}},"plan":{"not_shown":"the text holds several statements"},"transaction":{"shown":{"open":false,"since":null,"has_written":false,"locks":[],"blocked":[]}}}');
INSERT INTO cards (request, card)
VALUES ('00000000000000000000000132', '{"format":1,"complete":true,"role":"shop_rw","search_path":["pg_catalog","public"],"statements":[],"relations":{"shown":[]},"sets_off":{"shown":{"triggers":[],"cascades":[]}},"plan":{"not_shown":"the text holds several statements"},"transaction":{"shown":{"open":false,"since":null,"has_written":false,"locks":[],"blocked":[]}}}');
INSERT INTO cards (request, card)
VALUES ('00000000000000000000000133', '{"format":1,"complete":true,"role":"shop_rw","search_path":["pg_catalog","public"],"statements":[],"relations":{"shown":[]},"sets_off":{"shown":{"triggers":[],"cascades":[]}},"plan":{"not_shown":"the text holds several statements"},"transaction":{"shown":{"open":false,"since":null,"has_written":false,"locks":[],"blocked":[]}}}');
INSERT INTO comments (request, seq, person, surface, at, comment)
VALUES ('00000000000000000000000131', 2, 'bob', 'api', 1, 'why?');
UPDATE requests SET justification = 'ticket 18' WHERE id = '00000000000000000000000131';
INSERT INTO page_sessions (key, person, credential, opened_at, ends_at)
VALUES (x'0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', 'bob', x'0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', 0, 4102444800000000);
INSERT INTO calls (caller, key, request, ends_at, status, answer)
VALUES ('bob', x'0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', x'0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', 4102444800000000, 201, '{}');
INSERT INTO people (person, credential, groups, ends_at)
VALUES ('bob', x'0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', '["their-dbas"]', 4102444800000000)
ON CONFLICT (person) DO UPDATE SET credential = excluded.credential, groups = excluded.groups, ends_at = excluded.ends_at;
INSERT INTO grant_tellings (grant_id, person, to_state, at)
VALUES ('00000000000000000000000134', NULL, 'ACTIVE', 1);
INSERT INTO passwords (person, credential, verifier, ends_at)
VALUES ('bob', x'0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', 'verifier of version 13', 4102444800000000)
ON CONFLICT (person) DO UPDATE SET credential = excluded.credential, verifier = excluded.verifier, ends_at = excluded.ends_at;
INSERT INTO password_codes (code, person, credential, ends_at)
VALUES (x'0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', 'bob', x'0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', 4102444800000000);
INSERT INTO deliveries (target, about, subject, what, person, at, since, state, attempts, due_at, leased_by, lease_until, tried_at, answer)
VALUES ('webhook siem', 'request', '00000000000000000000000133', 'EXECUTED', 'proxy', 3, 3, 'DELIVERED', 2, 0, 0, 0, 5, '200'),
       ('webhook siem', 'request', '00000000000000000000000131', 'PENDING', 'alice', 0, 0, 'WAITING', 0, 0, 0, 0, NULL, NULL);
INSERT INTO notify_messages (target, subject, place, reference, posted_at)
VALUES ('slack', '00000000000000000000000131', 'C0124', '1700000000.000100', 4);
INSERT INTO notify_subscriptions (target, place, database, person, at) VALUES ('slack', 'C0124', 'shop', 'bob', 4);
