//! What a hundred thousand users cost those who log in and register.

use std::time::Instant;

use rand::random_range;
use sqlx::{Connection, SqliteConnection};
use transcription_tests::auth::{Auth, account, credentials};
use transcription_tests::client::PASSWORD;

use crate::table::{Goal, Round, Row, median, median_round, ratio};
use crate::{ROUNDS, is_first};

const FEW: u32 = 100;
const MANY: u32 = 100_000;
const LOG_INS: u32 = 400;
const REGISTRATIONS: u32 = 200;

/// Measures. At the least cost of bcrypt: at the usual one a log-in would take as long whatever the database did.
pub async fn measure() -> Vec<Row> {
    let (few, many) = (with_users(FEW).await, with_users(MANY).await);
    let (mut log_ins, mut registrations) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if is_first(round) {
            let of_many = (log_in(&many, MANY).await, register(&many, round).await);
            log_ins.push((of_many.0, log_in(&few, FEW).await));
            registrations.push((of_many.1, register(&few, round).await));
        } else {
            let of_few = (log_in(&few, FEW).await, register(&few, round).await);
            log_ins.push((log_in(&many, MANY).await, of_few.0));
            registrations.push((register(&many, round).await, of_few.1));
        }
    }
    vec![row("log-in", &log_ins), row("register", &registrations)]
}

fn row(what: &str, rounds: &[Round]) -> Row {
    let ((many, few), figure) = median_round(rounds, ratio);
    Row {
        case: format!("{what} among {MANY} users, bcrypt cost 4, p50"),
        ours: format!("{many:.2} ms"),
        against: format!("among {FEW}: {few:.2} ms"),
        figure,
        goal: Goal::AtMost(1.1),
        unit: "",
    }
}

/// A service whose database had so many users when it was started.
async fn with_users(count: u32) -> Auth {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.process.terminate().await;
    let url = format!("sqlite://{}", auth.database().display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    // As the old backend would have left them; the service makes their keys when it starts.
    let filled = sqlx::query(
        "WITH RECURSIVE numbers (number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?)
         INSERT INTO users (id, username, email, hashed_password)
         SELECT number, 'user' || number, 'user' || number || '@example.com', hashed_password FROM numbers, users WHERE users.id = 1",
    );
    filled.bind(count).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    auth.restart([]).await;
    auth
}

/// Users whom nobody has asked for before log in, for the most part.
async fn log_in(auth: &Auth, users: u32) -> f64 {
    let mut took = Vec::new();
    for _ in 0..LOG_INS {
        let name = format!("user{}", random_range(2..=users));
        let start = Instant::now();
        let answer = auth.post("/login", &credentials(&name, PASSWORD)).await;
        took.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    median(took)
}

async fn register(auth: &Auth, round: usize) -> f64 {
    let mut took = Vec::new();
    for number in 0..REGISTRATIONS {
        let start = Instant::now();
        let answer = auth
            .post("/register", &account(&format!("new-{round}-{number}")))
            .await;
        took.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    median(took)
}
