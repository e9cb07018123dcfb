-- Messages about alerts, each to one receiver: what waits to be sent, and what became of the last ones.
CREATE TABLE notices (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL, updated_at BIGINT NOT NULL);
