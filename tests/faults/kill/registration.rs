//! Accounts: the auth service is killed at each step of a registration. `contract::database` kills it at random moments under load
//! (`a_kill_during_registrations_loses_none_that_was_answered`); here each moment is caused.

use std::os::unix::process::ExitStatusExt;

use reqwest::{Client, Method};
use sqlx::{Connection, SqliteConnection};
use tokio::task::JoinHandle;
use transcription_tests::auth::{Auth, account};
use transcription_tests::process::eventually;
use transcription_tests::s3_proxy::{Moment, S3Proxy};

use super::case::BROKEN;
use super::lab::{Answered, name_of_answer};
use super::table::Table;

/// A hash at this cost takes seconds.
const SLOW: &str = "15";
const FAST: &str = "4";
/// How many passwords have been hashed.
const HASHED: &str = "auth_password_hash_seconds_count";

/// When the service is killed.
#[derive(Clone, Copy)]
enum Killed {
    /// While its request is held on the way.
    At(Moment),
    /// While the password is hashed.
    Hashing,
    /// While another process has the database.
    Writing,
}

/// A line of the table: when it is killed, and what is expected.
struct Line {
    killed: Killed,
    expected: [&'static str; 5],
}

fn lines() -> Vec<Line> {
    let line = |killed, step, moment, left, again| Line {
        killed,
        expected: [step, moment, BROKEN, left, again],
    };
    let (before, during, after) = (Moment::Before, Moment::During, Moment::After);
    let nothing = "no user";
    vec![
        line(Killed::At(before), "request", "before", nothing, "201"),
        line(Killed::At(during), "request", "during", nothing, "201"),
        line(Killed::Hashing, "hash", "during", nothing, "201"),
        line(Killed::Writing, "write", "before", nothing, "201"),
        line(Killed::At(after), "write", "after", "the user", "409"),
    ]
}

#[tokio::test]
async fn a_registration_is_whole_or_not_there() {
    let mut auth = Auth::start().await;
    let proxy = S3Proxy::start(&auth.url).await;
    let mut table = Table::new(
        "Killed during a registration (at random moments: contract, a_kill_during_registrations_loses_none_that_was_answered)",
        [
            "step",
            "killed",
            "the client saw",
            "left in the database",
            "registering again after the restart",
        ],
    );
    for (number, Line { killed, expected }) in lines().into_iter().enumerate() {
        let name = format!("user-{number}");

        let answered = kill_at(killed, &mut auth, &proxy, &name).await;

        let left = if is_sound_and_has(&auth, &name).await {
            "the user"
        } else {
            "no user"
        };
        let again = auth.try_register(&name).await;
        // Whichever of the two it was, the password is the user's.
        auth.token(&name).await;
        let [step, moment, ..] = expected;
        let seen = [
            step.to_owned(),
            moment.to_owned(),
            name_of_answer(answered),
            left.to_owned(),
            again.status.as_u16().to_string(),
        ];
        table.add(expected, seen);
    }

    table.finish();
}

/// Registers somebody, kills the service at this moment and starts it again; what the client was answered.
async fn kill_at(killed: Killed, auth: &mut Auth, proxy: &S3Proxy, name: &str) -> Answered {
    let answered = match killed {
        Killed::At(moment) => {
            let stop = proxy.stop(Method::POST, "/register", 0, moment);
            let client = register(&auth.http, &proxy.endpoint, name);
            stop.held().await;
            kill(auth).await;
            stop.break_off();
            client.await
        }
        Killed::Hashing => {
            auth.process.terminate().await;
            restart(auth, SLOW).await;
            let client = register(&auth.http, &auth.url, name);
            eventually("it hashes", async || {
                auth.count("auth_hash_queue_seconds_count").await == 1
            })
            .await;
            let hashed = auth.count(HASHED).await;
            kill(auth).await;
            assert_eq!(hashed, 0, "it was too quick");
            client.await
        }
        Killed::Writing => {
            let mut other = connect(auth).await;
            let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let hashed = auth.count(HASHED).await;
            let client = register(&auth.http, &auth.url, name);
            eventually("it has hashed", async || auth.count(HASHED).await > hashed).await;
            kill(auth).await;
            lock.rollback().await.unwrap();
            client.await
        }
    };
    restart(auth, FAST).await;
    answered.unwrap()
}

fn register(http: &Client, url: &str, name: &str) -> JoinHandle<Answered> {
    let request = http.post(format!("{url}/register")).json(&account(name));
    tokio::spawn(async move {
        let response = request.send().await?;
        let status = response.status();
        Ok((status, response.json().await?))
    })
}

async fn kill(auth: &mut Auth) {
    auth.process.signal("KILL");
    let status = auth.process.ended().await;
    assert_eq!(status.signal(), Some(9), "it was killed: {status}");
}

/// Starts the service again, at its address: the proxy goes on asking there.
async fn restart(auth: &mut Auth, cost: &str) {
    auth.environment.insert("BCRYPT_COST", cost.to_owned());
    auth.restart_by("exec \"$0\" serve").await;
}

/// Whether the database has this user. It is as SQLite wants it, in any case.
async fn is_sound_and_has(auth: &Auth, name: &str) -> bool {
    let mut connection = connect(auth).await;
    let checked = sqlx::query_scalar::<_, String>("PRAGMA integrity_check");
    assert_eq!(checked.fetch_one(&mut connection).await.unwrap(), "ok");
    connection.close().await.unwrap();
    let users = auth.succeed(&["user", "list"], "").await;
    let mut names = users
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    names.any(|there| there == name)
}

async fn connect(auth: &Auth) -> SqliteConnection {
    let url = format!("sqlite://{}", auth.database().display());
    SqliteConnection::connect(&url).await.unwrap()
}
