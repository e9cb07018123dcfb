-- User data and SSH keys of instances, apart from what is shown and often written.
CREATE TABLE first_boots (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL, updated_at BIGINT NOT NULL);
