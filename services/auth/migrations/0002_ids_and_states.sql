-- A disabled user cannot log in. The old backend does not know the column: after a downgrade such a user can.
ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;

-- The highest id that a deleted user had. SQLite gives the id of a deleted last row again; a new user would then get the
-- old one's folder and tokens. The trigger also sees what other programs delete.
CREATE TABLE user_ids (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    highest INTEGER NOT NULL
);
INSERT INTO user_ids (one, highest) SELECT 1, ifnull(max(id), 0) FROM users;
CREATE TRIGGER users_keep_highest_id AFTER DELETE ON users BEGIN
    UPDATE user_ids SET highest = max(highest, OLD.id);
END;

-- The highest cost among the password hashes ($2b$12$ and 53 characters), which every log-in asks for. What only looks like
-- a hash must not make every log-in dear.
CREATE INDEX users_hash_cost ON users (substr(hashed_password, 5, 2))
    WHERE length(hashed_password) = 60 AND substr(hashed_password, 5, 2) BETWEEN '04' AND '31';
