-- What a user has undecided is counted before more is added.
CREATE INDEX requests_undecided ON requests (requester) WHERE state = 'PENDING';
CREATE INDEX grants_undecided ON grants (grantee) WHERE state = 'REQUESTED';
