//! A database that cannot be written, is locked by another program, or was copied while it was written.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use transcription_tests::auth::{Auth, account};
use transcription_tests::client::PASSWORD;
use transcription_tests::files::binary;
use transcription_tests::process::{Process, eventually, run};
use transcription_tests::python::python;

/// Someone without any right of root's.
const NOBODY: u32 = 65534;

/// Runs the program as a user without rights; the one line with which it ends.
async fn refused(auth: &Auth, program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(&auth.environment)
        .env("RUST_LOG", "error")
        .current_dir("/")
        .args(arguments);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = run(command, "").await;
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

/// Root may write everything.
fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.contains("\nUid:\t0\t0\t")
}

#[tokio::test]
async fn a_file_or_folder_that_cannot_be_written_is_one_sentence_and_changes_nothing() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.process.signal("KILL");
    auth.process.ended().await;
    let folder = auth.folder.path().to_owned();
    // Where whoever has no rights finds it.
    let program = TempDir::new().unwrap();
    let copied = program.path().join("auth-service");
    fs::copy(binary("auth-service"), &copied).unwrap();
    fs::set_permissions(program.path(), Permissions::from_mode(0o755)).unwrap();
    let own = |path: &Path, mode: u32| {
        if is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let files = || {
        let files = fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().path());
        let mut files = files
            .filter(|file| !file.ends_with("log"))
            .collect::<Vec<_>>();
        files.sort();
        files
    };
    for file in files() {
        own(&file, 0o600);
    }
    let contents = || {
        files()
            .iter()
            .map(|file| fs::read(file).unwrap())
            .collect::<Vec<_>>()
    };
    let before = contents();

    // The folder: there is no place for a journal or a lock. The file: it is of another time, or of a volume for reading.
    own(&folder, 0o700);
    own(&auth.database(), 0o400);
    let of_file = refused(&auth, &copied, &["serve"]).await;
    own(&auth.database(), 0o600);
    fs::remove_file(folder.join("auth.db.lock")).unwrap();
    own(&folder, 0o500);
    let of_folder = refused(&auth, &copied, &["serve"]).await;
    own(&folder, 0o700);

    for line in [&of_file, &of_folder] {
        assert!(line.starts_with("auth-service cannot start: "), "{line}");
        assert!(line.contains("ermission denied"), "{line}");
        println!("{line}");
    }
    fs::write(folder.join("auth.db.lock"), "").unwrap();
    assert!(contents() == before, "nothing has changed");
    auth.restart([]).await;
    auth.token("ada").await;
}

/// Has a transaction open that writes, for as long as it runs.
const WRITER: &str = "import sqlite3, time; db = sqlite3.connect('auth.db', isolation_level=None); \
    db.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); time.sleep(60)";

#[tokio::test]
async fn while_another_program_has_it_locked_users_log_in_and_nobody_registers_or_hangs() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let token = auth.token("ada").await;
    let mut other = Command::new("python3");
    other.current_dir(auth.folder.path()).args(["-c", WRITER]);
    let other = Process::start(&mut other, auth.folder.path().join("other.log"));
    eventually("it is locked", async || other.log().contains("locked")).await;

    let start = Instant::now();
    let registrations = (0..12).map(|number| {
        let request = auth.http.post(format!("{}/register", auth.url));
        let request = request.json(&account(&format!("user-{number}")));
        tokio::spawn(async move { request.send().await.unwrap() })
    });
    let registrations = registrations.collect::<Vec<_>>();
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(auth.me(&token).await.status, StatusCode::OK);
        auth.token("ada").await;
        assert_eq!(auth.get("/readyz").await.status, StatusCode::OK);
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    for registration in registrations {
        let answer = registration.await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
        assert!(
            answer
                .text()
                .await
                .unwrap()
                .contains("database_unavailable")
        );
    }
    let took = start.elapsed();
    println!("12 registrations were refused within {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    drop(other);

    eventually("it is free", async || {
        auth.try_register("bob").await.status == StatusCode::CREATED
    })
    .await;
    let users = auth.succeed(&["user", "list"], "").await;
    assert_eq!(users.lines().count(), 3, "ada and bob: {users}");
}

/// Registers users one after another; how many were answered so far.
struct Registrar {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Registrar {
    fn start(auth: &Auth) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (http, url) = (auth.http.clone(), auth.url.clone());
        let (count, stopped) = (Arc::clone(&answered), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            for number in 0.. {
                let name = format!("user-{number}-{}", "x".repeat(40));
                let request = http.post(format!("{url}/register")).json(&account(&name));
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::CREATED);
                count.store(number + 1, Ordering::SeqCst);
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        Self {
            answered,
            stop,
            task,
        }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
    }
}

/// Copies the files of the database, one after another.
fn copy(auth: &Auth, to: &Path) {
    for name in ["auth.db", "auth.db-wal", "auth.db-shm"] {
        fs::copy(auth.folder.path().join(name), to.join(name)).unwrap();
    }
}

/// What SQLite itself says of each of these folders' databases, and how many users there are.
async fn checked(folders: &[TempDir]) -> Vec<(String, usize)> {
    const CHECK: &str = "import sqlite3, sys\n\
        for folder in sys.argv[1:]:\n\
        \x20   try:\n\
        \x20       db = sqlite3.connect(folder + '/auth.db')\n\
        \x20       print(db.execute('PRAGMA integrity_check').fetchone()[0].split()[0], db.execute('SELECT count(*) FROM users').fetchone()[0])\n\
        \x20   except sqlite3.DatabaseError as error:\n\
        \x20       print('refused', 0)";
    let folders = folders.iter().map(|folder| folder.path().to_str().unwrap());
    let said = python(CHECK, &folders.collect::<Vec<_>>()).await;
    let lines = said.lines().map(|line| {
        let (state, users) = line.split_once(' ').unwrap();
        (state.to_owned(), users.parse().unwrap())
    });
    lines.collect()
}

#[tokio::test]
async fn a_snapshot_at_any_moment_opens_clean_and_has_everybody_who_was_answered_before() {
    let auth = Auth::start().await;
    let registrar = Registrar::start(&auth);
    eventually("there are users", async || registrar.answered() > 20).await;
    let mut copies = Vec::new();
    let mut before = Vec::new();

    for number in 0..25_u64 {
        sleep(Duration::from_millis(37 * (number % 7))).await;
        let folder = TempDir::new().unwrap();
        before.push(registrar.answered());
        // What the snapshot of a volume is: everything as it is at one moment, in the middle of whatever it was.
        auth.process.signal("STOP");
        copy(&auth, folder.path());
        auth.process.signal("CONT");
        copies.push(folder);
    }
    registrar.end().await;

    let found = checked(&copies).await;
    for ((state, users), before) in found.iter().zip(&before) {
        assert_eq!(state, "ok");
        assert!(users >= before, "{users} of {before}");
    }
    println!(
        "25 snapshots of {} to {} users are whole",
        before[0], before[24]
    );
    assert!(before[24] > before[0], "there were no writes meanwhile");
    let copy = copies.pop().unwrap();
    let on_copy = Auth::start_in(copy, []).await;
    assert_eq!(on_copy.get("/readyz").await.status, StatusCode::OK);
    let name = format!("user-{}-{}", before[24] - 1, "x".repeat(40));
    assert_eq!(on_copy.login(&name, PASSWORD).await.status, StatusCode::OK);
    on_copy.register("bob").await;
}

#[tokio::test]
async fn files_copied_one_after_another_are_never_restored_if_they_do_not_fit() {
    let mut auth = Auth::start().await;
    let registrar = Registrar::start(&auth);
    eventually("there are users", async || registrar.answered() > 20).await;
    let mut copies = Vec::new();
    for number in 0..25_u64 {
        let folder = TempDir::new().unwrap();
        for name in ["auth.db", "auth.db-wal"] {
            fs::copy(auth.folder.path().join(name), folder.path().join(name)).unwrap();
            // A large file takes its time.
            sleep(Duration::from_millis(20 * (number % 5))).await;
        }
        copies.push(folder);
    }
    registrar.end().await;
    auth.process.terminate().await;

    let mut whole = 0;
    for (folder, (state, users)) in copies.iter().zip(checked(&copies).await) {
        let file = folder.path().join("auth.db").display().to_string();
        // Looking at it has brought the journal into the file, if it belongs there.
        let mut restore = auth.command(&["restore", &file]);
        let to = folder.path().join("restored.db");
        restore.env("DATABASE_URL", format!("sqlite:///{}", to.display()));
        let output = run(restore, "").await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if state == "ok" {
            assert!(output.status.success(), "{said}");
            assert!(users > 20, "{users}");
            whole += 1;
        } else {
            assert_eq!(output.status.code(), Some(1), "{state}: {said}");
            assert!(said.contains("is not restored"), "{said}");
        }
    }
    println!("of 25 copies {whole} were whole, and the others were refused");
    auth.restart([]).await;
    assert_eq!(auth.get("/readyz").await.status, StatusCode::OK);
}
