-- The table of the old backend, as SQLAlchemy made it. Databases of that backend already have it, so nothing here may
-- fail on one, and later migrations only add: a downgrade must go on working.
CREATE TABLE IF NOT EXISTS users (
    id INTEGER NOT NULL PRIMARY KEY,
    username VARCHAR,
    email VARCHAR,
    hashed_password VARCHAR
);
CREATE UNIQUE INDEX IF NOT EXISTS ix_users_username ON users (username);
CREATE UNIQUE INDEX IF NOT EXISTS ix_users_email ON users (email);

-- Names without regard to case, in Unicode lower case. SQLite's own lower() knows ASCII only, so the service fills
-- them. They may be NULL: the old backend goes on inserting rows without them.
ALTER TABLE users ADD COLUMN username_key TEXT;
ALTER TABLE users ADD COLUMN email_key TEXT;
CREATE UNIQUE INDEX users_username_key ON users (username_key) WHERE username_key IS NOT NULL;
CREATE UNIQUE INDEX users_email_key ON users (email_key) WHERE email_key IS NOT NULL;
