-- Whether the trail still has to tell of it. What earlier versions wrote is taken to be told.
ALTER TABLE votes ADD COLUMN untold INTEGER NOT NULL DEFAULT 0;
ALTER TABLE votes ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX votes_untold ON votes (request, seq) WHERE untold = 1;
ALTER TABLE transitions ADD COLUMN untold INTEGER NOT NULL DEFAULT 0;
CREATE INDEX transitions_untold ON transitions (request, seq) WHERE untold = 1;
