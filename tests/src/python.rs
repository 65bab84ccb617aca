//! Python, as a witness: what others wrote has to understand us.

use std::path::Path;
use std::process::Command;

use crate::files::cached;
use crate::process::run;

/// What SQLAlchemy makes of the old backend's model. The hash is by Python's bcrypt 5.0.0, of [`PASSWORD`](crate::client::PASSWORD).
const OLD_BACKEND: &str = r"
import sqlite3, sys
hash = '$2b$12$cuT2/QtYHwrISly1ixGwmO8eRnF8b1DofogMVk0ccsyq0LrgYS2Yi'
db = sqlite3.connect(sys.argv[1])
db.executescript('''
CREATE TABLE users (
    id INTEGER NOT NULL,
    username VARCHAR,
    email VARCHAR,
    hashed_password VARCHAR,
    PRIMARY KEY (id)
);
CREATE INDEX ix_users_id ON users (id);
CREATE UNIQUE INDEX ix_users_username ON users (username);
CREATE UNIQUE INDEX ix_users_email ON users (email);
''')
long = 'a name that is much longer than the sixty-four characters that are allowed now, at least'
for name, email in [('Ada', 'Ada@example.com'), ('ada', 'ada@example.com'), (long, 'no e-mail at all'), ('at@sign', 'x@example.com')]:
    db.execute('INSERT INTO users (username, email, hashed_password) VALUES (?, ?, ?)', (name, email, hash))
db.commit()
";

/// Makes an `auth.db` as the old Python backend left it. Its users are `Ada`, `ada`, one with a name that is longer than names may be now,
/// and `at@sign`; their ids are 1 to 4, and their password is [`PASSWORD`](crate::client::PASSWORD).
pub async fn old_database(file: &Path) {
    python(OLD_BACKEND, &[&file.display().to_string()]).await;
}

/// Runs a script and gives what it prints.
pub async fn python(script: &str, args: &[&str]) -> String {
    let path = ["pyjwt-2.15.1", "boto3-1.44.5"].map(cached);
    let path = std::env::join_paths(path).unwrap();
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", path)
        .arg("-c")
        .arg(script)
        .args(args);
    let output = run(command, "").await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}
