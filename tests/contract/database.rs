//! What is stored: an old database, a crash, a copy, another process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::sync::Mutex;
use transcription_tests::auth::{Auth, account};
use transcription_tests::client::PASSWORD;
use transcription_tests::files::binary;
use transcription_tests::process::{Process, eventually, run};
use transcription_tests::python::{old_database, python};

#[tokio::test]
async fn a_database_of_the_old_backend_opens_its_users_log_in_and_the_way_back_is_open() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("auth.db").display().to_string();
    old_database(Path::new(&file)).await;
    let long =
        "a name that is much longer than the sixty-four characters that are allowed now, at least";

    let mut auth = Auth::start_in(folder, [("BCRYPT_COST", "12")]).await;

    // The exact name goes first; of the pair that differs only in case, the lowest id holds the name without case.
    for (name, id) in [
        ("Ada", 1),
        ("ada", 2),
        ("ADA", 1),
        ("Ada@example.com", 1),
        ("ada@example.com", 2),
        ("ADA@EXAMPLE.COM", 1),
        (long, 3),
        ("at@sign", 4),
        ("X@example.com", 4),
    ] {
        let token = auth.token(name).await;
        assert_eq!(auth.me(&token).await.json["id"], id, "{name}");
    }
    auth.try_register("aDA")
        .await
        .assert_problem(409, "username_taken");
    assert_eq!(auth.register("bob").await, 5);

    // The old backend goes on with the file, as SQLAlchemy reads and writes it, and knows nothing of our columns.
    auth.process.terminate().await;
    let found = python(
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); \
         db.execute(\"INSERT INTO users (username, email, hashed_password) SELECT 'Carol', 'carol@example.com', hashed_password FROM users WHERE id = 1\"); \
         db.commit(); print(db.execute('SELECT users.id, users.username FROM users WHERE users.username = ?', ('bob',)).fetchone(), db.execute('PRAGMA integrity_check').fetchone())",
        &[&file],
    )
    .await;
    assert_eq!(found, "(5, 'bob') ('ok',)");

    // And whoever registered there is one of ours, in any case.
    auth.restart([]).await;
    auth.token("CAROL").await;
    auth.token("Carol@Example.com").await;
}

#[tokio::test]
async fn a_kill_during_registrations_loses_none_that_was_answered() {
    let mut auth = Auth::start().await;
    let answered = Arc::new(Mutex::new(Vec::new()));
    let clients = (0..8).map(|client| {
        let answered = Arc::clone(&answered);
        let (http, url) = (auth.http.clone(), auth.url.clone());
        tokio::spawn(async move {
            for number in 0.. {
                let name = format!("user-{client}-{number}");
                let request = http.post(format!("{url}/register")).json(&account(&name));
                match request.send().await {
                    Ok(answer) if answer.status() == StatusCode::CREATED => {
                        answered.lock().await.push(name);
                    }
                    _ => break,
                }
            }
        })
    });
    let clients = clients.collect::<Vec<_>>();
    eventually("there are 100 users", async || {
        answered.lock().await.len() >= 100
    })
    .await;

    auth.process.signal("KILL");
    auth.process.ended().await;
    for client in clients {
        client.await.unwrap();
    }
    auth.restart([]).await;

    let names = answered.lock().await;
    let stored = auth.succeed(&["user", "list"], "").await;
    let stored = stored
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect::<Vec<_>>();
    let lost = names
        .iter()
        .filter(|name| !stored.contains(&name.as_str()))
        .collect::<Vec<_>>();
    assert!(
        lost.is_empty(),
        "of {} answered users these are lost: {lost:?}",
        names.len()
    );
    auth.token(names.last().unwrap()).await;
    println!(
        "{} users were answered before the kill, all are there",
        names.len()
    );
}

#[tokio::test]
async fn a_full_disk_is_503_loses_none_that_was_answered_and_is_over_when_there_is_room() {
    let mut auth = Auth::start().await;
    auth.process.terminate().await;
    // No file may grow beyond 150 blocks of 512 bytes; a write beyond fails, as on a full disk.
    auth.restart_by("trap '' XFSZ; ulimit -S -f 150; exec \"$0\" serve")
        .await;
    let mut answered = Vec::new();
    let mut refused = 0;
    for number in 0..400 {
        let name = format!("user-{number}-{}", "x".repeat(40));
        let answer = auth.try_register(&name).await;
        if answer.status == StatusCode::CREATED {
            answered.push(name);
        } else {
            answer.assert_problem(503, "database_unavailable");
            refused += 1;
            if refused == 3 {
                break;
            }
        }
    }
    assert_eq!(refused, 3, "the disk was never full");
    let mut make_room = Command::new("prlimit");
    make_room.args(["--fsize=unlimited", "--pid", &auth.process.id().to_string()]);
    assert!(run(make_room, "").await.status.success());
    for name in ["after-1", "after-2"] {
        auth.register(name).await;
        answered.push(name.to_owned());
    }
    auth.process.signal("KILL");
    auth.process.ended().await;
    auth.restart([]).await;

    let stored = auth.succeed(&["user", "list"], "").await;
    let lost = answered
        .iter()
        .filter(|name| !stored.contains(name.as_str()));
    assert_eq!(lost.collect::<Vec<_>>(), [""; 0], "of {}", answered.len());
    assert_eq!(
        stored.lines().count() - 1,
        answered.len(),
        "none that was refused is there"
    );
}

#[tokio::test]
async fn a_backup_under_writes_opens_clean_and_has_every_user_from_before_it_began() {
    let auth = Auth::start().await;
    let written = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (http, url) = (auth.http.clone(), auth.url.clone());
        let (written, stop) = (Arc::clone(&written), Arc::clone(&stop));
        tokio::spawn(async move {
            for number in 0.. {
                let name = format!("user-{number}");
                let answer = http
                    .post(format!("{url}/register"))
                    .json(&account(&name))
                    .send()
                    .await
                    .unwrap();
                assert_eq!(answer.status(), StatusCode::CREATED);
                written.store(number + 1, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        })
    };
    eventually("there are users", async || {
        written.load(Ordering::SeqCst) > 20
    })
    .await;

    let (mut before, mut after) = (0, 0);
    let mut said = String::new();
    // On a machine that stalls a copy may be made between two writes; that one shows nothing.
    for _ in 0..20 {
        let _ = fs::remove_file(auth.folder.path().join("copy.db"));
        before = written.load(Ordering::SeqCst);
        said = auth.succeed(&["backup", "copy.db"], "").await;
        after = written.load(Ordering::SeqCst);
        if after > before {
            break;
        }
    }
    let to_output = auth.run(&["backup", "-"], "").await;
    stop.store(true, Ordering::SeqCst);
    writer.await.unwrap();

    assert!(said.starts_with("Backed up to copy.db: "), "{said}");
    assert!(after > before, "there were no writes meanwhile");
    let copy = auth.folder.path().join("copy.db");
    assert_eq!(
        fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let output = auth.folder.path().join("output.db");
    fs::write(&output, to_output.stdout).unwrap();
    for copy in [copy, output] {
        let found = python(
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); \
             names = {row[0] for row in db.execute('SELECT username FROM users')}; \
             print(db.execute('PRAGMA integrity_check').fetchone()[0], all(f'user-{n}' in names for n in range(int(sys.argv[2]))))",
            &[&copy.display().to_string(), &before.to_string()],
        )
        .await;
        assert_eq!(found, "ok True");
    }
    let line = auth.fail(&["backup", "copy.db"], "").await;
    assert!(line.contains("copy.db is there already"), "{line}");
}

#[tokio::test]
async fn a_restored_backup_serves_and_gives_no_id_that_was_given_since() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.succeed(&["backup", "copy.db"], "").await;
    assert_eq!(auth.register("later").await, 2);

    let line = auth.fail(&["restore", "copy.db"], "").await;
    assert!(line.contains("is served by another process"), "{line}");
    auth.process.terminate().await;
    let said = auth.succeed(&["restore", "copy.db"], "").await;
    auth.restart([]).await;

    assert!(said.contains("Restored 1 users"), "{said}");
    auth.token("ada").await;
    auth.login("later", PASSWORD)
        .await
        .assert_problem(401, "bad_credentials");
    assert_eq!(
        auth.register("new").await,
        3,
        "2 was later's, and so are its recordings"
    );
    let kept = fs::read_dir(auth.folder.path())
        .unwrap()
        .map(|file| file.unwrap().path());
    let kept = kept
        .filter(|path| {
            path.display()
                .to_string()
                .contains("auth.db.before-restore-")
        })
        .collect::<Vec<_>>();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let found = python(
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM users').fetchone()[0])",
        &[&kept[0].display().to_string()],
    )
    .await;
    assert_eq!(found, "2", "the old database stays beside");
}

#[tokio::test]
async fn a_backup_is_restored_where_there_is_nothing_or_a_broken_file() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.succeed(&["backup", "copy.db"], "").await;
    auth.process.terminate().await;

    fs::remove_file(auth.database()).unwrap();
    auth.succeed(&["restore", "copy.db"], "").await;
    auth.restart([]).await;
    auth.token("ada").await;
    assert!(
        auth.register("bob").await > 1_000_000,
        "nobody knows which ids were given"
    );
    auth.process.terminate().await;

    fs::write(auth.database(), "this is no database any more").unwrap();
    auth.succeed(&["restore", "copy.db"], "").await;
    auth.restart([]).await;
    auth.token("ada").await;
}

#[tokio::test]
async fn a_backup_that_is_restored_on_a_new_machine_gives_no_id_that_may_have_been_given_since() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.succeed(&["backup", "copy.db"], "").await;
    auth.register("bob").await;
    auth.process.terminate().await;
    // There it was served already, and never had a user.
    fs::remove_file(auth.database()).unwrap();
    auth.restart([]).await;
    auth.process.terminate().await;

    auth.succeed(&["restore", "copy.db"], "").await;
    auth.restart([]).await;

    auth.token("ada").await;
    assert!(
        auth.register("carol").await > 1_000_000,
        "bob's folder is still in the bucket"
    );
}

#[tokio::test]
async fn a_database_behind_a_link_is_restored_where_it_is() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.succeed(&["backup", "copy.db"], "").await;
    auth.process.terminate().await;
    let volume = TempDir::new_in("/dev/shm").unwrap();
    let real = volume.path().join("real.db");
    fs::copy(auth.database(), &real).unwrap();
    fs::remove_file(auth.database()).unwrap();
    std::os::unix::fs::symlink(&real, auth.database()).unwrap();

    auth.succeed(&["restore", "copy.db"], "").await;
    auth.restart([]).await;

    auth.token("ada").await;
    assert!(auth.database().is_symlink());
    let kept = fs::read_dir(volume.path()).unwrap().filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy()
            .starts_with("real.db.before-restore-")
    });
    assert_eq!(kept.count(), 1);
}

#[tokio::test]
async fn a_restore_beside_a_program_that_has_the_database_changes_nothing() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.succeed(&["backup", "copy.db"], "").await;
    auth.register("bob").await;
    auth.process.terminate().await;
    // A reader in the middle of its work: the journal cannot be brought into the file.
    let mut reader = Command::new("python3");
    reader.current_dir(auth.folder.path()).args(["-c", "import sqlite3, time; db = sqlite3.connect('auth.db', isolation_level=None); db.execute(\"UPDATE users SET email = email\"); db.execute('BEGIN'); print(db.execute('SELECT count(*) FROM users').fetchone(), flush=True); other = sqlite3.connect('auth.db', isolation_level=None); other.execute(\"UPDATE users SET disabled = 0\"); print('open', flush=True); time.sleep(60)"]);
    let log = auth.folder.path().join("reader.log");
    let reader = Process::start(&mut reader, log);
    eventually("the reader reads", async || reader.log().contains("open")).await;

    let line = auth.fail(&["restore", "copy.db"], "").await;
    drop(reader);
    auth.restart([]).await;

    assert!(line.contains("another program has the database"), "{line}");
    auth.token("bob").await;
}

#[tokio::test]
async fn a_restore_beside_a_program_that_only_has_the_database_open_or_locked_changes_nothing_either()
 {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.succeed(&["backup", "copy.db"], "").await;
    auth.register("bob").await;
    auth.process.terminate().await;

    for work in [
        "db.execute('SELECT count(*) FROM users').fetchall()",
        "db.execute('PRAGMA locking_mode = EXCLUSIVE'); db.execute('UPDATE users SET email = email')",
    ] {
        let script = format!(
            "import sqlite3, time; db = sqlite3.connect('auth.db', isolation_level=None); {work}; print('open', flush=True); time.sleep(60)"
        );
        let mut other = Command::new("python3");
        other.current_dir(auth.folder.path()).args(["-c", &script]);
        let other = Process::start(&mut other, auth.folder.path().join("other.log"));
        eventually("it is open", async || other.log().contains("open")).await;
        let line = auth.fail(&["restore", "copy.db"], "").await;
        assert!(line.contains("another program has the database"), "{line}");
    }

    auth.restart([]).await;
    auth.token("bob").await;
}

#[tokio::test]
async fn a_backup_goes_through_a_pipe_into_another_database() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;

    let mut pipe = Command::new("sh");
    pipe.env_clear()
        .envs(&auth.environment)
        .current_dir(auth.folder.path())
        .args([
            "-c",
            "\"$0\" backup - | DATABASE_URL=sqlite:///other.db \"$0\" restore -",
        ])
        .arg(binary("auth-service"));
    let piped = run(pipe, "").await;

    assert!(piped.status.success(), "{piped:?}");
    let said = String::from_utf8(piped.stdout).unwrap();
    assert!(said.starts_with("Restored 1 users to other.db."), "{said}");
    auth.process.terminate().await;
    auth.restart([("DATABASE_URL", "sqlite:///other.db")]).await;
    auth.token("ada").await;
}

/// Talks with a program on a terminal: waits for a prompt, types an answer, and so on. Prints what the terminal showed.
const TERMINAL: &str = r"
import os, pty, sys, termios, time
program, folder, database, *answers = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.chdir(folder)
    os.execve(program, [program, 'user', 'add', 'ada', 'ada@example.com'], {'DATABASE_URL': database, 'BCRYPT_COST': '4'})
shown = b''
def read():
    try:
        return os.read(terminal, 1000)
    except OSError:
        return b''
for answer in answers:
    before = len(shown)
    while b': ' not in shown[before:]:
        shown += read()
    # The prompt is there a moment before the terminal stops showing what is typed.
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        time.sleep(0.01)
    os.write(terminal, answer.encode() + b'\n')
while more := read():
    shown += more
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode().replace('\r', '').strip())
";

#[tokio::test]
async fn on_a_terminal_a_password_is_asked_twice_and_not_shown() {
    let auth = Auth::start().await;
    let program = binary("auth-service").display().to_string();
    let folder = auth.folder.path().display().to_string();
    let add = async |again: &str| {
        let database = &auth.environment["DATABASE_URL"];
        python(TERMINAL, &[&program, &folder, database, PASSWORD, again]).await
    };

    let mistyped = add("correct horse battery stable").await;
    assert_eq!(auth.succeed(&["user", "list"], "").await.lines().count(), 1);
    let added = add(PASSWORD).await;

    assert!(mistyped.starts_with("1 Password:"), "{mistyped}");
    assert!(mistyped.contains("The same once more:"), "{mistyped}");
    assert!(mistyped.ends_with("the passwords differ"), "{mistyped}");
    assert!(added.starts_with("0 Password:"), "{added}");
    assert!(added.ends_with("Added: ada (id 1)"), "{added}");
    assert!(!added.contains(PASSWORD), "{added}");
    auth.token("ada").await;
}

#[tokio::test]
async fn a_command_that_is_not_to_make_a_database_makes_none() {
    let auth = Auth::start().await;
    for args in [
        &["user", "list"][..],
        &["user", "delete", "ada"],
        &["user", "disable", "ada"],
        &["backup", "copy.db"],
    ] {
        let mut command = auth.command(args);
        command.env("DATABASE_URL", "sqlite:///no/such.db");
        let output = run(command, "").await;
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(
            line.starts_with("there is no database no/such.db"),
            "{line}"
        );
    }
    assert!(!auth.folder.path().join("no").exists());
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_changes_nothing() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.succeed(&["backup", "good.db"], "").await;
    auth.process.terminate().await;
    let folder = auth.folder.path().to_owned();
    let good = fs::read(folder.join("good.db")).unwrap();
    fs::write(folder.join("text.db"), "not a database").unwrap();
    fs::write(folder.join("cut.db"), &good[..good.len() / 2]).unwrap();
    fs::write(folder.join("empty.db"), "").unwrap();
    let other = folder.join("other.db").display().to_string();
    python(
        "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE t (x)')",
        &[&other],
    )
    .await;
    // The rows are of one moment and an index is of another: SQLite's own check finds no fault with that.
    let torn = folder.join("torn.db");
    fs::write(&torn, &good).unwrap();
    python(
        "import sqlite3, sys\n\
         def schema(change, *values):\n\
         \x20   db = sqlite3.connect(sys.argv[1])\n\
         \x20   db.execute('PRAGMA writable_schema = ON')\n\
         \x20   found = db.execute(change, values).fetchall()\n\
         \x20   db.commit(); db.close()\n\
         \x20   return found\n\
         index = 'users_hash_cost'\n\
         row = schema('SELECT * FROM sqlite_schema WHERE name = ?', index)[0]\n\
         schema('DELETE FROM sqlite_schema WHERE name = ?', index)\n\
         schema('DELETE FROM users')\n\
         schema('INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)', *row)",
        &[&torn.display().to_string()],
    )
    .await;

    for (file, reason) in [
        ("text.db", "no SQLite database"),
        ("cut.db", "damaged"),
        (
            "torn.db",
            "wrong number of entries in index users_hash_cost",
        ),
        ("empty.db", "is empty"),
        ("other.db", "no users"),
        ("missing.db", "cannot be opened"),
    ] {
        let line = auth.fail(&["restore", file], "").await;
        assert!(line.contains(reason), "{line}");
    }
    assert!(
        auth.fail(&["restore", "-"], "")
            .await
            .contains("standard input is empty")
    );

    auth.restart([]).await;
    auth.token("ada").await;
}

#[tokio::test]
async fn a_backup_that_somebody_made_up_runs_nothing_of_its_own() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.succeed(&["backup", "evil.db"], "").await;
    auth.process.terminate().await;
    let folder = auth.folder.path().to_owned();
    // Whoever takes the name, or what follows a word of it, for SQL runs what is in it.
    let end = "; ATTACH 'made.db' AS made; CREATE TABLE made.by_the_backup (x); --";
    let names = [
        format!("users_hash_cost where id > 0) LIMIT 0{end}"),
        format!("users_hash_cost LIMIT 0){end}"),
        format!("users_hash_cost' LIMIT 0){end}"),
    ];
    for name in &names {
        python(
            "import sqlite3, sys\n\
             db = sqlite3.connect(sys.argv[1])\n\
             db.execute('CREATE INDEX \"%s\" ON users (id) WHERE id > 0' % sys.argv[2])\n\
             db.commit()",
            &[&folder.join("evil.db").display().to_string(), name],
        )
        .await;
    }

    let line = auth.succeed(&["restore", "evil.db"], "").await;

    assert!(line.starts_with("Restored 1 users"), "{line}");
    assert!(!folder.join("made.db").exists());

    python(
        "import sqlite3, sys\n\
         db = sqlite3.connect(sys.argv[1])\n\
         db.execute('CREATE TRIGGER take AFTER UPDATE ON users BEGIN DELETE FROM users; END')\n\
         db.commit()",
        &[&folder.join("evil.db").display().to_string()],
    )
    .await;
    let line = auth.fail(&["restore", "evil.db"], "").await;
    assert!(line.contains("does not make: \"take\""), "{line}");
    auth.restart([]).await;
    auth.token("ada").await;
}

#[tokio::test]
async fn a_second_serve_on_the_same_file_ends_with_one_sentence_also_by_another_name() {
    let mut auth = Auth::start().await;
    std::os::unix::fs::symlink(auth.database(), auth.folder.path().join("link.db")).unwrap();

    for url in [
        "sqlite:///auth.db",
        "sqlite:///./auth.db",
        "sqlite:///link.db",
    ] {
        let mut command = auth.command(&["serve"]);
        command
            .env("DATABASE_URL", url)
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("RUST_LOG", "error");
        let output = run(command, "").await;
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(
            line.contains("is served by another process: stop that one first"),
            "{line}"
        );
    }

    auth.process.signal("KILL");
    auth.process.ended().await;
    auth.restart([]).await;
}

#[tokio::test]
async fn users_are_added_listed_changed_and_deleted_beside_a_running_server() {
    let auth = Auth::start().await;

    let said = auth
        .succeed(
            &["user", "add", "ada", "ada@example.com"],
            &format!("{PASSWORD}\n"),
        )
        .await;
    assert_eq!(said, "Added: ada (id 1)\n");
    let token = auth.token("ada").await;
    auth.succeed(
        &["user", "set-password", "ADA@example.com"],
        "another password",
    )
    .await;
    auth.login("ada", PASSWORD)
        .await
        .assert_problem(401, "bad_credentials");
    assert_eq!(
        auth.login("ada", "another password").await.status,
        StatusCode::OK
    );
    auth.succeed(&["user", "disable", "ada"], "").await;
    let list = auth.succeed(&["user", "list"], "").await;
    assert_eq!(
        list,
        "ID  USER NAME  E-MAIL           STATE\n1   ada        ada@example.com  disabled\n"
    );
    let said = auth.succeed(&["user", "delete", "ada"], "").await;
    assert!(said.contains("private/1/"), "{said}");
    auth.me(&token).await.assert_problem(401, "token_invalid");

    let cases = [
        (
            vec!["user", "add", "a@b", "b@example.com"],
            PASSWORD,
            "the user name must have no @",
        ),
        (
            vec!["user", "add", "bob", "nobody"],
            PASSWORD,
            "the e-mail address must be",
        ),
        (
            vec!["user", "add", "bob", "bob@example.com"],
            "short",
            "the password must have at least 8 characters",
        ),
        (
            vec!["user", "delete", "nobody"],
            "",
            "there is no such user",
        ),
    ];
    for (args, input, reason) in cases {
        let line = auth.fail(&args, input).await;
        assert!(line.starts_with(reason), "{line}");
    }
    auth.register("bob").await;
    let line = auth
        .fail(&["user", "add", "BOB", "other@example.com"], PASSWORD)
        .await;
    assert_eq!(line, "the user name is taken");
}

#[tokio::test]
async fn a_deleted_users_id_never_comes_again() {
    let mut auth = Auth::start().await;
    assert_eq!(auth.register("ada").await, 1);
    assert_eq!(auth.register("bob").await, 2);

    auth.succeed(&["user", "delete", "bob"], "").await;
    assert_eq!(auth.register("carol").await, 3);
    auth.succeed(&["user", "delete", "carol"], "").await;
    auth.process.terminate().await;
    auth.restart([]).await;
    assert_eq!(auth.register("dave").await, 4);
    // Also when another program deletes.
    auth.sql("DELETE FROM users").await;
    assert_eq!(auth.register("eve").await, 5);
}

#[tokio::test]
async fn a_database_that_fails_is_503_not_ready_and_told_by_part() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let token = auth.token("ada").await;

    auth.sql("ALTER TABLE users RENAME TO lost").await;

    let not_ready = auth.get("/readyz").await;
    let detail = not_ready.assert_problem(503, "not_ready");
    assert_eq!(detail, "database: it does not answer.");
    assert_eq!(not_ready.json["parts"]["database"], "it does not answer.");
    assert_eq!(
        auth.get("/healthz").await.status,
        StatusCode::OK,
        "alive all the same"
    );
    let answer = auth.login("ada", PASSWORD).await;
    let detail = answer.assert_problem(503, "database_unavailable");
    assert!(!detail.contains("users"), "no internals: {detail}");
    assert_eq!(answer.header("retry-after"), "1");
    auth.me(&token)
        .await
        .assert_problem(503, "database_unavailable");
    auth.try_register("bob")
        .await
        .assert_problem(503, "database_unavailable");
    assert_eq!(auth.count(r#"auth_logins_total{result="error"}"#).await, 1);

    auth.sql("ALTER TABLE lost RENAME TO users").await;
    assert_eq!(auth.get("/readyz").await.status, StatusCode::OK);
    auth.token("ada").await;
}

#[tokio::test]
async fn a_key_is_made_once_for_its_owner_alone_and_serves_by_file() {
    let mut auth = Auth::start().await;
    auth.process.terminate().await;

    let said = auth.succeed(&["make-key", "jwt.key"], "").await;
    let line = auth.fail(&["make-key", "jwt.key"], "").await;

    let file = auth.folder.path().join("jwt.key");
    let key = fs::read_to_string(&file).unwrap();
    assert!(!said.contains(key.trim_end()), "{said}");
    assert!(key.trim_end().len() >= 32);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(line.contains("never overwritten"), "{line}");
    auth.restart([("JWT_SECRET_KEY", ""), ("JWT_SECRET_KEY_FILE", "jwt.key")])
        .await;
    auth.register("ada").await;
    let token = auth.token("ada").await;
    assert_eq!(auth.me(&token).await.status, StatusCode::OK);
    let subject = python(
        "import jwt, sys; print(jwt.decode(sys.argv[1], sys.argv[2], algorithms=['HS256'])['sub'])",
        &[&token, key.trim_end()],
    )
    .await;
    assert_eq!(subject, "1");
}
